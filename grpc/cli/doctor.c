/* doctor.c - `cleat doctor`: compares records, mounts, loop devices and storage; explains and repairs. */
#include "cli/cli.h"

#include <stdio.h>

static void print_finding(const Cleat__V1__Finding *f)
{
	char safe[CLI_SAFE_BYTES];

	printf("%s: ", cli_safe(f->subject, safe));
	printf("%s\n", cli_safe(f->problem, safe));
	if (f->fixed)
		printf("  repaired: %s\n", cli_safe(f->remedy, safe));
	else if (f->fixable)
		printf("  --fix would: %s\n", cli_safe(f->remedy, safe));
	else if (*f->remedy)
		printf("  %s\n", cli_safe(f->remedy, safe));
	else
		printf("  needs a person\n");
}

static enum cleat_code run(struct cli *cli, struct cleat_error *err)
{
	Cleat__V1__DoctorRequest req = CLEAT__V1__DOCTOR_REQUEST__INIT;
	cleat_autopb Cleat__V1__DoctorResponse *res = NULL;
	unsigned open = 0;

	req.fix = cli->v.fix;
	if (cli_change(cli, "Doctor", &req.base, "doctor", &res, err) != CLEAT_OK)
		return err->code;
	for (size_t i = 0; i < res->n_findings; i++) {
		open += !res->findings[i]->fixed;
		if (!cli->v.json)
			print_finding(res->findings[i]);
	}
	if (cli->v.json && cli_json_print(&res->base, err) != CLEAT_OK)
		return err->code;
	if (open > 0)
		return cleat_error_set(err, CLEAT_UNKNOWN, "%u problem%s left", open,
				       open == 1 ? " is" : "s are");
	cli_say(cli, "%s", res->n_findings ? "everything is repaired" : "no problems found");
	return CLEAT_OK;
}

static const struct cli_use options[] = { { CLI_OPT_FIX, NULL }, { CLI_OPT_END, NULL } };

const struct cli_verb cli_doctor = {
	.name = "doctor",
	.summary = "Compare records, mounts, loop devices and storage; explain what does not fit",
	.more = "Changes nothing without --fix. Exit code 1 while problems are left.",
	.options = options,
	.run = run,
};
