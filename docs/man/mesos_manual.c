/* mesos_manual.c - prints what the manual pages of dvdcli, cleat-mesos and drivers.conf have from the tables
 * that parse it, while the tree is built. */
#include "mdoc.h"

#include "doors/drivers.h"
#include "dvdcli/dvdcli.h"
#include "helper/helper.h"
#include "module/module.h"

#include <stdio.h>
#include <string.h>

static void begin_list(void)
{
	puts(".Bl -tag -width Ds");
}

static void end_list(void)
{
	puts(".El");
}

/* "The text." */
static void sentence(const char *text)
{
	mdoc_escape(text, strlen(text));
	puts(".");
}

/* The arguments of a macro, whose words must not be taken for macros themselves. */
static void argument(const char *macro, const char *text)
{
	printf(".%s \"", macro);
	for (; *text; text++) {
		if (*text == '-')
			fputs("\\-", stdout);
		else
			putchar(*text);
	}
	puts("\"");
}

static void print_commands(void)
{
	begin_list();
	for (const struct dvdcli_word *w = dvdcli_commands; w->name; w++) {
		printf(".It Cm %s\n", w->name);
		sentence(w->text);
	}
	end_list();
}

static void print_option(const char *name, const char *between, const char *value, const char *text)
{
	char word[200];

	snprintf(word, sizeof(word), "--%s%s%s", name, value ? between : "", value ? value : "");
	argument("It Li", word);
	sentence(text);
}

static void print_flags(void)
{
	const struct dvdcli_word *w;

	begin_list();
	for (size_t i = 0; (w = dvdcli_flag_at(i)); i++)
		print_option(w->name, "=", w->value, w->text);
	end_list();
}

static void print_verbs(void)
{
	const struct helper_word *w;
	char word[200];

	begin_list();
	for (size_t i = 0; (w = helper_verb_at(i)); i++) {
		snprintf(word, sizeof(word), "%s %s", w->name, w->value);
		argument("It Li", word);
		sentence(w->text);
	}
	end_list();
}

static void print_options(void)
{
	const struct helper_word *w;

	begin_list();
	for (size_t i = 0; (w = helper_option_at(i)); i++)
		print_option(w->name, " ", w->value, w->text);
	end_list();
}

static void print_parameters(void)
{
	begin_list();
	for (const struct cleat_mesos_parameter *p = cleat_mesos_parameters; p->key; p++) {
		printf(".It Cm %s\n", p->key);
		sentence(p->text);
		if (*p->value) {
			printf("Default: ");
			sentence(p->value);
		}
	}
	end_list();
}

static void print_keys(void)
{
	begin_list();
	for (const struct cleat_door_driver_key *k = cleat_door_driver_keys; k->name; k++) {
		printf(".It Ic %s\n", k->name);
		mdoc_line(k->text);
	}
	end_list();
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*print)(void);
	} parts[] = {
		{ "dvdcli-commands", print_commands },	  { "dvdcli-flags", print_flags },
		{ "mesos-verbs", print_verbs },		  { "mesos-options", print_options },
		{ "mesos-parameters", print_parameters }, { "driver-keys", print_keys },
	};

	for (size_t i = 0; argc == 2 && i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strcmp(argv[1], parts[i].name) == 0) {
			parts[i].print();
			return fflush(stdout) == 0 ? 0 : 1;
		}
	fprintf(stderr, "usage: cleat_mesos_manual PART\n");
	return 2;
}
