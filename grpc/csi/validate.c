/* validate.c - ValidateVolumeCapabilities: yes, with what was asked; or no, with the reason. */
#include "csi/internal.h"

#include <string.h>

/* Whether the volume was made with these parameters. */
static enum cleat_code check_params(const struct csi_params *p, const struct cleat_volume_state *v,
				    struct cleat_error *err)
{
	const struct cleat_record *r = v->record;

	if (p->pool[0] && strcmp(p->pool, v->pool) != 0)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION,
				       "the volume is in pool '%s', not in '%s'", v->pool, p->pool);
	for (size_t i = 0; i < p->params.count; i++) {
		const struct cleat_kv *kv = &p->params.items[i];
		const char *has = strcmp(kv->key, "fs") == 0 ? r->fs : cleat_kv_get(&r->params, kv->key);

		if (!has || strcmp(has, kv->value) != 0)
			return cleat_error_set(
				err, CLEAT_FAILED_PRECONDITION,
				"the volume was not made with the parameter '%s' that is asked for", kv->key);
	}
	return CLEAT_OK;
}

/* err: why not; INVALID_ARGUMENT only where the request itself is wrong. */
static enum cleat_code judge(struct cleat_csi *c, const Csi__V1__ValidateVolumeCapabilitiesRequest *in,
			     const struct cleat_volume_state *v, struct csi_access *access, bool *wrong_out,
			     struct cleat_error *err)
{
	csi_autoparams struct csi_params params = { .pool = "" };
	cleat_autokvs struct cleat_kvs mutable = { 0 };
	struct cleat_pool_state pool;

	*wrong_out = true;
	for (size_t i = 0; i < in->n_volume_capabilities; i++) {
		csi_access_done(access);
		*access = (struct csi_access){ 0 };
		if (csi_access_take(in->volume_capabilities[i], access, err))
			return err->code;
		*wrong_out = false;
		if (csi_access_check(c, access, v, CLEAT_FAILED_PRECONDITION, err))
			return err->code;
		*wrong_out = true;
	}
	if (csi_params_take((void *)in->parameters, in->n_parameters, &params, err) ||
	    cleat_pool_get(c->engine, v->pool, &pool, err))
		return err->code;
	*wrong_out = false;
	if (csi_params_take_mutable((void *)in->mutable_parameters, in->n_mutable_parameters, pool.backend,
				    &mutable, err))
		return err->code;
	return check_params(&params, v, err);
}

/* The entry types of all maps are alike. */
static void confirm(const Csi__V1__ValidateVolumeCapabilitiesRequest *in,
		    Csi__V1__ValidateVolumeCapabilitiesResponse__Confirmed *out)
{
	out->n_volume_context = in->n_volume_context;
	out->volume_context = (void *)in->volume_context;
	out->n_volume_capabilities = in->n_volume_capabilities;
	out->volume_capabilities = in->volume_capabilities;
	out->n_parameters = in->n_parameters;
	out->parameters = (void *)in->parameters;
	out->n_mutable_parameters = in->n_mutable_parameters;
	out->mutable_parameters = (void *)in->mutable_parameters;
}

static void reply(struct cleat_rpc_call *call, const Csi__V1__ValidateVolumeCapabilitiesRequest *in,
		  const char *why_not)
{
	Csi__V1__ValidateVolumeCapabilitiesResponse out =
		CSI__V1__VALIDATE_VOLUME_CAPABILITIES_RESPONSE__INIT;
	Csi__V1__ValidateVolumeCapabilitiesResponse__Confirmed confirmed =
		CSI__V1__VALIDATE_VOLUME_CAPABILITIES_RESPONSE__CONFIRMED__INIT;

	confirm(in, &confirmed);
	if (why_not)
		out.message = cleat_pb_text(why_not);
	else
		out.confirmed = &confirmed;
	cleat_rpc_call_reply(call, &out.base);
}

static void on_validate_volume_capabilities(Csi__V1__Controller_Service *base,
					    const Csi__V1__ValidateVolumeCapabilitiesRequest *in,
					    Csi__V1__ValidateVolumeCapabilitiesResponse_Closure done,
					    void *call)
{
	struct cleat_csi *c = csi_of_controller(base);
	csi_autoaccess struct csi_access access = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	const struct csi_hint hint = {
		.context = csi_map_get((void *)in->volume_context, in->n_volume_context, "node"),
	};
	struct cleat_volume_state v;
	bool wrong;

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "ValidateVolumeCapabilities") ||
	    csi_lacks(call, in->volume_id, "volume_id"))
		return;
	if (in->n_volume_capabilities == 0) {
		cleat_rpc_call_fail(call, CLEAT_INVALID_ARGUMENT, "volume_capabilities is missing");
		return;
	}
	if (!csi_found(c, call, in->volume_id, CLEAT_KIND_VOLUME, hint, &v))
		return;
	enum cleat_code code = judge(c, in, &v, &access, &wrong, &err);
	cleat_volume_state_done(&v);
	if (code && wrong)
		csi_fail_quietly(call, &access, &err);
	else
		reply(call, in, code ? err.msg : NULL);
}

void csi_set_validate(Csi__V1__Controller_Service *base)
{
	base->validate_volume_capabilities = on_validate_volume_capabilities;
}
