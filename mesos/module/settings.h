/* settings.h - the module's parameters, as the manifest gives them. */
#ifndef CLEAT_MESOS_SETTINGS_H
#define CLEAT_MESOS_SETTINGS_H

#include "module/module.h"

struct mesos_settings {
	char *helper;		 /* path of cleat-mesos */
	char *enter;		 /* path of cleat-mesos-enter */
	char *socket, *config;	 /* for cleat-mesos; NULL: its own defaults */
	char *root;		 /* where containers' volumes are mounted */
	char *scope;		 /* of all volumes; "" */
	char *sandbox_directory; /* the agent's flag of that name */
	int timeout_s;		 /* of one program */
};

/* On failure nothing needs to be freed. */
enum cleat_code mesos_settings_read(const struct cleat_mesos_parameter *params, size_t count,
				    struct mesos_settings *out, struct cleat_error *err) CLEAT_MUST_CHECK;
void mesos_settings_done(struct mesos_settings *s);

#endif
