/* greeter.c - a whole go-plugin plugin: one service with one method.  docs/goplugin.md explains it. */
#include <stdio.h>
#include <stdlib.h>

#include "goplugin/plugin.h"
#include "greeter.descset.h"
#include "greeter.pb-c.h"
#include "util/log.h"

static void greet(Example__V1__Greeter_Service *service, const Example__V1__GreetRequest *in,
		  Example__V1__GreetResponse_Closure done, void *call)
{
	Example__V1__GreetResponse out = EXAMPLE__V1__GREET_RESPONSE__INIT;
	char text[128];

	(void)service;
	if (!*in->name) {
		cleat_rpc_call_fail(call, CLEAT_INVALID_ARGUMENT, "name: is empty");
		return;
	}
	printf("greeting %s\n", in->name);			    /* goes to the host, as a stream */
	cleat_log_kv(CLEAT_LOG_INFO, "greeting", "name", in->name); /* goes into the host's own log */
	snprintf(text, sizeof(text), "Hello, %.100s!", in->name);
	out.text = text;
	done(&out, call);
}

static const unsigned versions[] = { 1 };

/* The cookie is the host's: a plugin of Nomad has Nomad's. */
static const struct cleat_goplugin_config config = {
	.program = "greeter-plugin",
	.host = "the greeting host",
	.cookie_key = "GREETER_PLUGIN",
	.cookie_value = "0e1f2a3b",
	.versions = versions,
	.version_count = 1,
};

static enum cleat_code serve(struct cleat_goplugin *plugin, struct cleat_error *err)
{
	static const struct cleat_rpc_method methods[] = { { .lane = CLEAT_RPC_INLINE } };
	static Example__V1__Greeter_Service greeter = EXAMPLE__V1__GREETER__INIT();

	greeter.greet = greet;
	if (cleat_rpc_role_add(cleat_goplugin_role(plugin), &greeter.base, methods, 1, err) ||
	    cleat_goplugin_describe(plugin, greeter_descset, greeter_descset_len, err))
		return err->code;
	setvbuf(stdout, NULL, _IOLBF, 0);
	return cleat_goplugin_serve(plugin, err);
}

int main(void)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleat_goplugin *plugin = NULL;

	cleat_log_setup(CLEAT_LOG_INFO, CLEAT_LOG_HCLOG, 2);
	if (cleat_goplugin_open(&config, &plugin, &err)) {
		fprintf(stderr, "%s\n", err.msg);
		return EXIT_FAILURE;
	}
	enum cleat_code code = serve(plugin, &err);
	if (code)
		cleat_log_kv(CLEAT_LOG_ERROR, "the plugin ends", "error", err.msg);
	if (code == CLEAT_DEADLINE_EXCEEDED) /* a call is stuck: what it uses must not be freed */
		_Exit(EXIT_FAILURE);
	cleat_goplugin_free(plugin);
	return code ? EXIT_FAILURE : EXIT_SUCCESS;
}
