/* verbs.c - the table of verbs, and finding one in it. */
#include "cli/verbs.h"

#include <string.h>

const struct cli_verb *const cli_verbs[] = {
	&cli_pool_list,	      &cli_pool_show,	   &cli_volume_create,
	&cli_volume_list,     &cli_volume_show,	   &cli_volume_expand,
	&cli_volume_clone,    &cli_volume_adopt,   &cli_volume_modify,
	&cli_volume_delete,   &cli_volume_publish, &cli_volume_unpublish,
	&cli_volume_stage,    &cli_volume_unstage, &cli_volume_attach,
	&cli_volume_detach,   &cli_volume_usage,   &cli_volume_health,
	&cli_snapshot_create, &cli_snapshot_list,  &cli_snapshot_show,
	&cli_snapshot_delete, &cli_claim_list,	   &cli_claim_release,
	&cli_operation_list,  &cli_watch,	   &cli_doctor,
	&cli_params,	      &cli_version,	   NULL,
};

const struct cli_verb *cli_verb_find(const char *noun, const char *name)
{
	for (size_t i = 0; cli_verbs[i]; i++) {
		const struct cli_verb *v = cli_verbs[i];
		bool same_noun = noun ? v->noun && strcmp(v->noun, noun) == 0 : !v->noun;
		if (same_noun && strcmp(v->name, name) == 0)
			return v;
	}
	return NULL;
}

bool cli_noun_exists(const char *noun)
{
	for (size_t i = 0; cli_verbs[i]; i++)
		if (cli_verbs[i]->noun && strcmp(cli_verbs[i]->noun, noun) == 0)
			return true;
	return false;
}
