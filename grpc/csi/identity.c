/* identity.c - who we are, what we can do, and whether we are ready. */
#include "csi/internal.h"

#define SERVICE(name) CSI__V1__PLUGIN_CAPABILITY__SERVICE__TYPE__##name
#define EXPANSION(name) CSI__V1__PLUGIN_CAPABILITY__VOLUME_EXPANSION__TYPE__##name

static void on_get_plugin_info(Csi__V1__Identity_Service *base, const Csi__V1__GetPluginInfoRequest *in,
			       Csi__V1__GetPluginInfoResponse_Closure done, void *call)
{
	Csi__V1__GetPluginInfoResponse out = CSI__V1__GET_PLUGIN_INFO_RESPONSE__INIT;

	(void)in;
	(void)done;
	out.name = csi_of_identity(base)->driver_name;
	out.vendor_version = cleat_pb_text(cleat_version());
	cleat_rpc_call_reply(call, &out.base);
}

#define MAX_CAPABILITIES 6

struct plugin_capabilities {
	Csi__V1__PluginCapability caps[MAX_CAPABILITIES], *list[MAX_CAPABILITIES];
	Csi__V1__PluginCapability__Service services[MAX_CAPABILITIES];
	Csi__V1__PluginCapability__VolumeExpansion expansion;
	size_t n;
};

static Csi__V1__PluginCapability *next(struct plugin_capabilities *p)
{
	Csi__V1__PluginCapability *cap = &p->caps[p->n];

	csi__v1__plugin_capability__init(cap);
	p->list[p->n++] = cap;
	return cap;
}

static void add_service(struct plugin_capabilities *p, bool have,
			Csi__V1__PluginCapability__Service__Type type)
{
	Csi__V1__PluginCapability__Service *s = &p->services[p->n];

	if (!have)
		return;
	csi__v1__plugin_capability__service__init(s);
	s->type = type;
	Csi__V1__PluginCapability *cap = next(p);
	cap->type_case = CSI__V1__PLUGIN_CAPABILITY__TYPE_SERVICE;
	cap->service = s;
}

static void add_expansion(struct plugin_capabilities *p, const struct csi_abilities *have)
{
	if (!have->expand)
		return;
	csi__v1__plugin_capability__volume_expansion__init(&p->expansion);
	p->expansion.type = have->expand_online ? EXPANSION(ONLINE) : EXPANSION(OFFLINE);
	Csi__V1__PluginCapability *cap = next(p);
	cap->type_case = CSI__V1__PLUGIN_CAPABILITY__TYPE_VOLUME_EXPANSION;
	cap->volume_expansion = &p->expansion;
}

static void on_get_plugin_capabilities(Csi__V1__Identity_Service *base,
				       const Csi__V1__GetPluginCapabilitiesRequest *in,
				       Csi__V1__GetPluginCapabilitiesResponse_Closure done, void *call)
{
	struct cleat_csi *c = csi_of_identity(base);
	Csi__V1__GetPluginCapabilitiesResponse out = CSI__V1__GET_PLUGIN_CAPABILITIES_RESPONSE__INIT;
	struct plugin_capabilities p = { .n = 0 };

	(void)done;
	if (cleat_gate_wait(c->gate, call, &base->base, &in->base, "GetPluginCapabilities"))
		return;
	const struct csi_abilities have = csi_abilities(c);
	add_service(&p, true, SERVICE(CONTROLLER_SERVICE));
	add_service(&p, have.placed, SERVICE(VOLUME_ACCESSIBILITY_CONSTRAINTS));
	add_service(&p, have.group, SERVICE(GROUP_CONTROLLER_SERVICE));
	add_service(&p, have.placed && have.snapshot, SERVICE(SNAPSHOT_ACCESSIBILITY_CONSTRAINTS));
	add_expansion(&p, &have);
	out.capabilities = p.list;
	out.n_capabilities = p.n;
	cleat_rpc_call_reply(call, &out.base);
}

/* Asked every few seconds by everybody: looks at nothing that could be busy.  A pool that is away does not
 * make the plugin unhealthy: what is published must still be released through it (NodeGetStorageHealth
 * tells). */
static void on_probe(Csi__V1__Identity_Service *base, const Csi__V1__ProbeRequest *in,
		     Csi__V1__ProbeResponse_Closure done, void *call)
{
	Google__Protobuf__BoolValue ready = GOOGLE__PROTOBUF__BOOL_VALUE__INIT;
	Csi__V1__ProbeResponse out = CSI__V1__PROBE_RESPONSE__INIT;

	(void)in;
	(void)done;
	ready.value = cleat_gate_is_open(csi_of_identity(base)->gate);
	out.ready = &ready;
	cleat_rpc_call_reply(call, &out.base);
}

void csi_set_identity(Csi__V1__Identity_Service *base)
{
	base->get_plugin_info = on_get_plugin_info;
	base->get_plugin_capabilities = on_get_plugin_capabilities;
	base->probe = on_probe;
}
