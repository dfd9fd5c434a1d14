/* csi.c - see csi.h. */
#include "csi/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void init_services(struct cleat_csi *c)
{
	c->identity.base = (ProtobufCService){ &csi__v1__identity__descriptor,
					       protobuf_c_service_invoke_internal, NULL };
	c->controller.base = (ProtobufCService){ &csi__v1__controller__descriptor,
						 protobuf_c_service_invoke_internal, NULL };
	c->group.base = (ProtobufCService){ &csi__v1__group_controller__descriptor,
					    protobuf_c_service_invoke_internal, NULL };
	c->node.base =
		(ProtobufCService){ &csi__v1__node__descriptor, protobuf_c_service_invoke_internal, NULL };
	csi_set_identity(&c->identity);
	csi_set_controller(&c->controller);
	csi_set_lists(&c->controller);
	csi_set_snapshots(&c->controller);
	csi_set_validate(&c->controller);
	csi_set_controller_health(&c->controller);
	csi_set_group(&c->group);
	csi_set_node(&c->node);
	csi_set_node_look(&c->node);
	csi_set_node_health(&c->node);
}

enum cleat_code cleat_csi_new(struct cleat_engine *engine, struct cleat_rpc_server *server,
			      const struct cleat_csi_config *config, struct cleat_csi **csi_out,
			      struct cleat_error *err)
{
	struct cleat_csi *c = calloc(1, sizeof(*c));

	if (!c)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no memory for the service");
	c->engine = engine;
	snprintf(c->driver_name, sizeof(c->driver_name), "%s", config->driver_name);
	c->max_volumes = config->max_volumes;
	c->attach = config->attach;
	c->stage = config->stage;
	c->local_multi_node = config->local_multi_node;
	c->node_expand = config->node_expand;
	init_services(c);
	if (!(c->whereabouts = csi_whereabouts_new())) {
		cleat_csi_free(c);
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no memory for the service");
	}
	if (cleat_gate_new(engine, server, &c->gate, err)) {
		cleat_csi_free(c);
		return err->code;
	}
	*csi_out = c;
	return CLEAT_OK;
}

enum cleat_code cleat_csi_add(struct cleat_csi *c, struct cleat_rpc_role *role, struct cleat_error *err)
{
	/* No handler blocks: requests go to the engine, what is read is in its memory. */
	static const struct cleat_rpc_method inline_methods[] = {
		{ .name = NULL, .lane = CLEAT_RPC_INLINE, .kind = CLEAT_RPC_UNARY },
	};
	/* The members of a group are looked for among all snapshots: not on the poller. */
	static const struct cleat_rpc_method group_methods[] = {
		{ .name = NULL, .lane = CLEAT_RPC_WORKER, .kind = CLEAT_RPC_UNARY },
	};
	ProtobufCService *const inline_services[] = { &c->identity.base, &c->controller.base, &c->node.base };

	for (size_t i = 0; i < CLEAT_COUNT(inline_services); i++)
		if (cleat_rpc_role_add(role, inline_services[i], inline_methods, 1, err))
			return err->code;
	return cleat_rpc_role_add(role, &c->group.base, group_methods, 1, err);
}

void cleat_csi_free(struct cleat_csi *c)
{
	if (!c)
		return;
	cleat_gate_free(c->gate);
	csi_whereabouts_free(c->whereabouts);
	free(c);
}

/* ---- fields ---- */

bool csi_lacks(struct cleat_rpc_call *call, const char *text, const char *field)
{
	if (text[0])
		return false;
	cleat_rpc_call_fail(call, CLEAT_INVALID_ARGUMENT, "%s is missing", field);
	return true;
}

bool csi_negative(struct cleat_rpc_call *call, int32_t max_entries)
{
	if (max_entries >= 0)
		return false;
	cleat_rpc_call_fail(call, CLEAT_INVALID_ARGUMENT, "max_entries is negative");
	return true;
}

enum cleat_code csi_take_range(const Csi__V1__CapacityRange *range, uint64_t *bytes_out, uint64_t *limit_out,
			       struct cleat_error *err)
{
	*bytes_out = *limit_out = 0;
	if (!range)
		return CLEAT_OK;
	if (range->required_bytes < 0 || range->limit_bytes < 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "capacity_range is negative");
	*bytes_out = (uint64_t)range->required_bytes;
	*limit_out = (uint64_t)range->limit_bytes;
	return CLEAT_OK;
}
