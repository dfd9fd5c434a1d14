/* verbs.h - every verb of the command, one line each; the help lists them in this order. */
#ifndef CLEAT_CLI_VERBS_H
#define CLEAT_CLI_VERBS_H

#include "cli/cli.h"

extern const struct cli_verb cli_pool_list;
extern const struct cli_verb cli_pool_show;
extern const struct cli_verb cli_volume_create;
extern const struct cli_verb cli_volume_list;
extern const struct cli_verb cli_volume_show;
extern const struct cli_verb cli_volume_expand;
extern const struct cli_verb cli_volume_clone;
extern const struct cli_verb cli_volume_adopt;
extern const struct cli_verb cli_volume_modify;
extern const struct cli_verb cli_volume_delete;
extern const struct cli_verb cli_volume_publish;
extern const struct cli_verb cli_volume_unpublish;
extern const struct cli_verb cli_volume_stage;
extern const struct cli_verb cli_volume_unstage;
extern const struct cli_verb cli_volume_attach;
extern const struct cli_verb cli_volume_detach;
extern const struct cli_verb cli_volume_usage;
extern const struct cli_verb cli_volume_health;
extern const struct cli_verb cli_snapshot_create;
extern const struct cli_verb cli_snapshot_list;
extern const struct cli_verb cli_snapshot_show;
extern const struct cli_verb cli_snapshot_delete;
extern const struct cli_verb cli_claim_list;
extern const struct cli_verb cli_claim_release;
extern const struct cli_verb cli_operation_list;
extern const struct cli_verb cli_watch;
extern const struct cli_verb cli_doctor;
extern const struct cli_verb cli_params;
extern const struct cli_verb cli_version;

#endif
