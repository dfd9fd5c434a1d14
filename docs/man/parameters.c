/* parameters.c - keys of the configuration, and parameters of backends and file systems, from the tables that check them. */
#include "mdoc.h"

#include "cleatd/config.h"
#include "fs/fs.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void daemon_table(const struct cleatd_key *k)
{
	puts(".Bl -tag -width Ds");
	for (; k->name; k++) {
		printf(".It Ic %s\n", k->name);
		mdoc_line(k->text);
		printf("Takes %s.\n", cleatd_key_type_text(k->type));
		if (k->def) {
			fputs("Default: ", stdout);
			mdoc_escape(k->def, strlen(k->def));
			puts(".");
		}
		if (k->reload)
			puts("A reload changes it.");
	}
	puts(".El");
}

void manual_daemon_keys(void)
{
	daemon_table(cleatd_config_keys);
	puts(".Ss \"Keys of a pool\"\nBelow\n.Ic pools . Ns Ar NAME ,\nbeside those of its backend:");
	daemon_table(cleatd_pool_keys);
}

/* ---- backends and file systems ---- */

static const char *type_text(enum cleat_param_type type)
{
	static const char *const texts[] = {
		[CLEAT_PARAM_TEXT] = "text",	  [CLEAT_PARAM_BOOL] = "true or false",
		[CLEAT_PARAM_SIZE] = "a size",	  [CLEAT_PARAM_UINT] = "a number",
		[CLEAT_PARAM_MODE] = "an octal mode", [CLEAT_PARAM_CHOICE] = "one of",
		[CLEAT_PARAM_PATH] = "an absolute path", [CLEAT_PARAM_DECIMAL] = "a decimal number",
		[CLEAT_PARAM_SECRET] = "a reference to a secret, file:PATH or env:NAME",
	};

	return texts[type];
}

static void limits(const struct cleat_param *p)
{
	if (p->type == CLEAT_PARAM_CHOICE)
		for (size_t i = 0; p->choices && p->choices[i]; i++) {
			fputs(i ? ", " : " ", stdout);
			mdoc_escape(p->choices[i], strlen(p->choices[i]));
		}
	if (p->type != CLEAT_PARAM_UINT && p->type != CLEAT_PARAM_SIZE)
		return;
	if (p->max)
		printf(" from %" PRIu64 " to %" PRIu64, p->min, p->max);
	else if (p->min)
		printf(" of at least %" PRIu64, p->min);
	if (p->unit)
		printf(" (%s)", p->unit);
}

static void table(const struct cleat_param *p)
{
	for (; p && p->key; p++) {
		printf(".It Ic %s\n", p->key);
		mdoc_line(p->text);
		printf("Takes %s", type_text(p->type));
		limits(p);
		if (p->def) {
			fputs("; default ", stdout);
			mdoc_escape(p->def, strlen(p->def));
		}
		puts(".");
		if (p->changeable)
			puts("May be changed later.");
	}
}

static void list(const char *title, const struct cleat_param *a, const struct cleat_param *b)
{
	if ((!a || !a->key) && (!b || !b->key))
		return;
	printf(".Pp\n%s\n.Bl -tag -width Ds\n", title);
	table(a);
	table(b);
	puts(".El");
}

void manual_parameters(void)
{
	const struct cleat_backend *b;

	for (size_t i = 0; (b = cleat_backend_at(i)); i++) {
		printf(".Ss \"Backend %s\"\n", b->name);
		mdoc_line(b->summary);
		list("Of a pool, in the configuration file:", b->pool_params, NULL);
		list("Of a volume, at its creation:", b->volume_params, cleat_param_owner);
		if (b->uses_fs)
			puts(".Pp\nBesides\n.Ic fs ,\nits volumes take the creation parameters of that file system, below.");
	}
	for (const struct cleat_fs *const *fs = cleat_fs_list(); *fs; fs++) {
		printf(".Ss \"File system %s\"\n", (*fs)->name);
		list("Of a volume, at its creation:", (*fs)->make_params, NULL);
		list("Of a mount (mount options):", (*fs)->mount_params, NULL);
	}
}
