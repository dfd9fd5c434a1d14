/* parameters.c - keys of the configuration, and parameters of backends and file systems, from the tables that
 * check them. */
#include "mdoc.h"

#include "cleatd/config.h"
#include "util/size.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A default in parentheses is a description of one. */
static void default_text(const char *def, const char *before, const char *after)
{
	size_t n = strlen(def);
	bool described = n > 2 && def[0] == '(';

	fputs(before, stdout);
	mdoc_escape(def + described, n - 2 * described);
	fputs(after, stdout);
}

static void daemon_table(const struct cleatd_key *k)
{
	puts(".Bl -tag -width Ds");
	for (; k->name; k++) {
		printf(".It Ic %s\n", k->name);
		mdoc_line(k->text);
		printf("Takes %s.\n", cleatd_key_type_text(k->type));
		if (k->def)
			default_text(k->def, "Default: ", ".\n");
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
		[CLEAT_PARAM_TEXT] = "text",
		[CLEAT_PARAM_BOOL] = "true or false",
		[CLEAT_PARAM_SIZE] = "a size",
		[CLEAT_PARAM_UINT] = "a number",
		[CLEAT_PARAM_MODE] = "an octal mode",
		[CLEAT_PARAM_CHOICE] = "one of",
		[CLEAT_PARAM_PATH] = "an absolute path",
		[CLEAT_PARAM_DECIMAL] = "a decimal number",
		[CLEAT_PARAM_SECRET] = "a reference to a secret, file:PATH or env:NAME",
	};

	return texts[type];
}

static void number_text(const struct cleat_param *p, uint64_t n, char buf[CLEAT_SIZE_TEXT_BYTES])
{
	if (p->type == CLEAT_PARAM_SIZE)
		cleat_size_format(n, buf);
	else
		snprintf(buf, CLEAT_SIZE_TEXT_BYTES, "%" PRIu64, n);
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
	char min[CLEAT_SIZE_TEXT_BYTES], max[CLEAT_SIZE_TEXT_BYTES];
	number_text(p, p->min, min);
	number_text(p, p->max, max);
	if (p->max)
		printf(" from %s to %s", min, max);
	else if (p->min)
		printf(" of at least %s", min);
	if (p->unit && p->type == CLEAT_PARAM_UINT)
		printf(" (%s)", p->unit);
}

/* `changes` is what to say of a parameter that may change; NULL: nothing. */
static void table(const struct cleat_param *p, const char *changes)
{
	for (; p && p->key; p++) {
		printf(".It Ic %s\n", p->key);
		mdoc_line(p->text);
		printf("Takes %s", type_text(p->type));
		limits(p);
		if (p->def)
			default_text(p->def, "; default ", "");
		puts(".");
		if (p->changeable && changes)
			puts(changes);
	}
}

static void list(const char *title, const struct cleat_param *a, const struct cleat_param *b,
		 const char *changes)
{
	if ((!a || !a->key) && (!b || !b->key))
		return;
	printf(".Pp\n%s\n.Bl -tag -width Ds\n", title);
	table(a, changes);
	table(b, changes);
	puts(".El");
}

/* The manual knows them all, whatever this machine's pools name.  CLEAT_MODULES is the list of the build. */
static void load_modules(void)
{
	static const char *const modules[] = { CLEAT_MODULES NULL };
	struct cleat_error err = CLEAT_ERROR_INIT;

	for (size_t i = 0; modules[i]; i++) {
		if (cleat_backend_load(modules[i], NULL, &err)) {
			fprintf(stderr, "%s\n", err.msg);
			exit(1);
		}
	}
}

void manual_parameters(void)
{
	const struct cleat_param *make, *mount;
	const struct cleat_backend *b;
	const char *name;

	load_modules();
	for (size_t i = 0; (b = cleat_backend_at(i)); i++) {
		printf(".Ss \"Backend %s\"\n", b->name);
		printf("%c", toupper((unsigned char)b->summary[0]));
		mdoc_escape(b->summary + 1, strlen(b->summary + 1));
		puts(".");
		list("Of a pool, in the configuration file:", b->pool_params, NULL, "A reload changes it.");
		list("Of a volume, at its creation:", b->volume_params, cleat_param_common,
		     "May be changed later.");
		if (b->uses_fs)
			puts(".Pp\nBesides\n.Ic fs ,\nits volumes take the creation parameters of that file "
			     "system, below.");
	}
	for (size_t i = 0; cleat_param_fs_at(i, &name, &make, &mount); i++) {
		printf(".Ss \"File system %s\"\n", name);
		list("Of a volume, at its creation:", make, NULL, "May be changed later.");
		list("Of a mount (mount options):", mount, NULL, NULL);
	}
}
