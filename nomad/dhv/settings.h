/* settings.h - the file beside the program: which socket the daemon has, and what holds for volumes that do
 * not say otherwise.
 *
 * It has the program's own name and ".conf", so that a copy of the program under another name (another
 * plugin_id) has settings of its own.  Lines are "key: value"; "#" begins a comment.  It need not exist.
 */
#ifndef CLEAT_DHV_SETTINGS_H
#define CLEAT_DHV_SETTINGS_H

#include <cleat/error.h>

#include "util/kv.h"

#define DHV_DEFAULT_SOCKET "/run/cleat/cleat.sock"
#define DHV_SETTINGS_MAX_BYTES 65536
#define DHV_PATH_BYTES 4096

struct dhv_settings {
	char socket[108];	   /* as long as a Unix socket's path may be */
	struct cleat_kvs defaults; /* parameters for volumes that do not have them */
};

/* Where the file is: beside program, which is argv[0]; one without a slash lies in plugin_dir, which may be
 * "". */
void dhv_settings_path(const char *program, const char *plugin_dir, char out[DHV_PATH_BYTES]);
/* Takes the text of the file.  INVALID_ARGUMENT names line and key. */
enum cleat_code dhv_settings_parse(const char *text, size_t n, struct dhv_settings *out,
				   struct cleat_error *err) CLEAT_MUST_CHECK;
/* Reads the file, if there is one; $CLEAT_SOCKET, for trying out by hand, goes before it. */
enum cleat_code dhv_settings_load(const char *path, struct dhv_settings *out,
				  struct cleat_error *err) CLEAT_MUST_CHECK;
void dhv_settings_done(struct dhv_settings *s);

#endif
