/* main.c - the command `dvdcli`: see dvdcli.h. */
#include "dvdcli/dvdcli.h"

#include <signal.h>
#include <stdio.h>

/* "dvdcli: mount 'db': text", in one line whatever the words are. */
static void print_error(const struct dvdcli *c, struct cleat_error *err)
{
	if (c->command && c->name)
		cleat_error_wrap(err, "%s '%s'", c->command, c->name);
	else if (c->command)
		cleat_error_wrap(err, "%s", c->command);
	fprintf(stderr, "dvdcli: %s\n", err->msg);
}

int main(int argc, char **argv)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct dvdcli c;

	signal(SIGPIPE, SIG_IGN);
	if (dvdcli_parse(&c, argc, argv, &err) == CLEAT_OK)
		(void)!dvdcli_run(&c, &err);
	if (fflush(stdout) != 0 && err.code == CLEAT_OK)
		cleat_error_set(&err, CLEAT_UNKNOWN, "cannot write to standard output");
	if (err.code)
		print_error(&c, &err);
	dvdcli_done(&c);
	return err.code ? 1 : 0;
}
