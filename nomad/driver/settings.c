/* settings.c - see settings.h. */
#include "driver/settings.h"

#include <stdlib.h>
#include <string.h>

#include "driver/caps.h"
#include "util/log.h"

#define AT(field) offsetof(struct driver_settings, field)

/* Every key needs a default: without a  plugin  block Nomad sends an empty configuration, and a required key
 * would end the agent. */
const struct driver_key driver_settings_keys[] = {
	{ "socket", DRIVER_KEY_TEXT, false, "\"/run/cleat/cleat.sock\"", AT(socket), 0, 0, NULL, 0,
	  "Socket of the volume daemon." },
	{ "state_dir", DRIVER_KEY_TEXT, false, "\"/var/lib/nomad-driver-cleat\"", AT(state_dir), 0, 0, NULL,
	  0,
	  "Directory of running tasks and of what is to be released. It must survive a restart of the "
	  "plugin, and is private to one agent." },
	{ "default_pool", DRIVER_KEY_TEXT, false, NULL, AT(default_pool), 0, 0, NULL, 0,
	  "Pool of volumes that name none. Without it the daemon's default pool." },
	{ "volumes", DRIVER_KEY_BOOL, false, "true", AT(volumes), 0, 0, NULL, 0,
	  "Whether jobs may have volumes. Without them the driver needs no daemon, and its health does not "
	  "depend on one." },
	{ "allow_caps", DRIVER_KEY_LIST, false,
	  "[\"audit_write\",\"chown\",\"dac_override\",\"fowner\",\"fsetid\",\"kill\",\"mknod\",\"net_bind_"
	  "service\",\"setfcap\",\"setgid\","
	  "\"setpcap\",\"setuid\",\"sys_chroot\"]",
	  AT(allow_caps), 0, 0, NULL, 0,
	  "Capabilities that tasks may have at most; [\"all\"] are all of them." },
	{ "allow_rootfs", DRIVER_KEY_LIST, false, NULL, AT(allow_rootfs), 0, 0, NULL, 0,
	  "Directories under which the rootfs of a job may lie. Without any no job may name one." },
	{ "allow_unconfined", DRIVER_KEY_BOOL, false, "false", AT(allow_unconfined), 0, 0, NULL, 0,
	  "Whether jobs may switch the seccomp profile off." },
	{ "dynamic_users", DRIVER_KEY_BOOL, false, "false", AT(dynamic_users), 0, 0, NULL, 0,
	  "Whether tasks without a user run as one that the agent makes up for each start. Then what a task "
	  "has written to a volume belongs to "
	  "nobody at its next start, so volumes need a mode that permits everybody. Otherwise such tasks run "
	  "as root without most of root's "
	  "capabilities." },
	{ "pids_limit", DRIVER_KEY_NUMBER, false, "0", AT(pids_limit), 0, 4194304, NULL, 0,
	  "Most processes of a task that names no limit itself; 0 is none." },
	{ "crun", DRIVER_KEY_TEXT, false, "\"crun\"", AT(crun), 0, 0, NULL, 0,
	  "The OCI runtime, a path or a name." },
	{ "conmon", DRIVER_KEY_TEXT, false, "\"conmon\"", AT(conmon), 0, 0, NULL, 0,
	  "The container monitor, a path or a name." },
	{ "helper", DRIVER_KEY_TEXT, false, NULL, AT(helper), 0, 0, NULL, 0,
	  "Path of cleat-run-helper, which some machines need. Without it $CLEAT_LIBEXEC, the plugin's own "
	  "directory and the place "
	  "of installation are looked at." },
	{ "log_level", DRIVER_KEY_TEXT, false, "\"info\"", AT(log_level), 0, 0, NULL, 0,
	  "Least level of log lines: debug, info, warn or error." },
	{ NULL, DRIVER_KEY_TEXT, false, NULL, 0, 0, 0, NULL, 0, NULL },
};

static enum cleat_code check_path(const char *key, const char *path, struct cleat_error *err)
{
	if (!path || path[0] != '/')
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "config: %s: '%s' is no absolute path",
				       key, path ? path : "");
	return CLEAT_OK;
}

/* What Nomad fills in, for callers that send less. */
static enum cleat_code fill_text(char **field, const char *text, struct cleat_error *err)
{
	if (!*field)
		*field = strdup(text);
	return *field ? CLEAT_OK : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

static enum cleat_code fill(struct driver_settings *s, struct cleat_error *err)
{
	if (fill_text(&s->socket, "/run/cleat/cleat.sock", err) ||
	    fill_text(&s->state_dir, "/var/lib/nomad-driver-cleat", err) ||
	    fill_text(&s->crun, "crun", err) || fill_text(&s->conmon, "conmon", err) ||
	    fill_text(&s->log_level, "info", err))
		return err->code;
	if (!s->allow_caps)
		s->allow_caps = driver_caps_default();
	return s->allow_caps ? CLEAT_OK : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

static enum cleat_code check(const struct driver_settings *s, struct cleat_error *err)
{
	enum cleat_log_level level;

	if (check_path("socket", s->socket, err) || check_path("state_dir", s->state_dir, err))
		return err->code;
	if (s->helper && check_path("helper", s->helper, err))
		return err->code;
	if (strlen(s->socket) > 107)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "config: socket: '%s' is longer than 107 bytes", s->socket);
	for (char **p = s->allow_rootfs; p && *p; p++)
		if (check_path("allow_rootfs", *p, err))
			return err->code;
	for (char **p = s->allow_caps; *p; p++)
		if (!driver_cap_known(*p))
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "config: allow_caps: '%s' is no capability", *p);
	if (!cleat_log_parse_level(s->log_level, &level))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "config: log_level: '%s' is none of debug, info, warn, error",
				       s->log_level);
	return CLEAT_OK;
}

enum cleat_code driver_settings_read(const uint8_t *bytes, size_t n, struct driver_settings *out,
				     struct cleat_error *err)
{
	struct cleat_error own = CLEAT_ERROR_INIT;
	struct driver_settings s = { .volumes = true };

	err = err ? err : &own;
	if (driver_keys_decode(driver_settings_keys, bytes, n, &s, err))
		return err->code;
	if (fill(&s, err) || check(&s, err)) {
		driver_settings_done(&s);
		return err->code;
	}
	*out = s;
	return CLEAT_OK;
}

void driver_settings_done(struct driver_settings *s)
{
	driver_keys_done(driver_settings_keys, s);
}
