/* config_fuzz.c - arbitrary bytes as a configuration file: it is either refused with reasons, one per line
 * and bounded, or what came out can be relied on. */
#include "fuzz.h"

#include "cleatd/config.h"
#include "util/kv.h"

#include <stdlib.h>
#include <string.h>

#define MUST(condition)                                                                                      \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			abort();                                                                             \
	} while (0)

static void check_report(const struct cleatd_report *r)
{
	const char *text = cleatd_report_text(r);
	unsigned lines = 0;

	for (const char *end; (end = strchr(text, '\n')); text = end + 1) {
		MUST(strncmp(text, "f:", 2) == 0);
		for (const char *p = text; p < end; p++)
			MUST((unsigned char)*p >= ' ' && *p != 0x7f);
		lines++;
	}
	MUST(*text == '\0');
	MUST(lines == (r->count <= CLEATD_REPORT_MAX ? r->count : CLEATD_REPORT_MAX + 1));
}

static void must_not_differ(const struct cleatd_key *key, void *arg)
{
	(void)key;
	(void)arg;
	abort();
}

static void check_pools(const struct cleatd_config *c)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	MUST(c->pool_count <= CLEATD_MAX_POOLS);
	for (size_t i = 0; i < c->pool_count; i++) {
		const struct cleat_pool_config *p = &c->pools[i];
		const struct cleat_backend *b = cleat_backend_find(p->backend);

		MUST(b && strlen(p->name) <= 31 && p->lane_threads <= 64);
		const struct cleat_param *const tables[] = { b->pool_params };
		MUST(cleat_param_check(tables, 1, &p->config, &err) == CLEAT_OK);
		for (size_t k = 0; k < i; k++)
			MUST(strcmp(p->name, c->pools[k].name) != 0);
	}
}

static void check_accepted(struct cleatd_config *c)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	MUST(c->state_dir[0] == '/' && c->runtime_dir[0] == '/' && c->socket_mode <= 0777);
	MUST(!c->socket_path || strlen(c->socket_path) <= 107);
	MUST(!c->listen_address || (c->listen_cert && c->listen_key && c->listen_client_ca));
	for (char **p = c->target_prefixes; p && *p; p++)
		MUST((*p)[0] == '/');
	check_pools(c);
	cleatd_config_compare(c, c, must_not_differ, NULL);
	if (cleatd_config_finish(c, &err) == CLEAT_OK)
		MUST(c->socket_path && c->pool_count > 0);
	else
		MUST(err.code == CLEAT_INVALID_ARGUMENT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct cleatd_report report;
	struct cleatd_config config;

	MUST(cleatd_config_init(&config, &err) == CLEAT_OK);
	cleatd_report_init(&report, "f");
	bool good = cleatd_config_parse(&config, (const char *)data, n, &report);
	MUST(good == (report.count == 0));
	check_report(&report);
	if (good)
		check_accepted(&config);
	cleatd_report_done(&report);
	cleatd_config_done(&config);
	return 0;
}
