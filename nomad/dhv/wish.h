/* wish.h - what the parameters of a volume specification ask for: words of the plugin's own, and parameters
 * of backend and file system, which the daemon knows and checks. */
#ifndef CLEAT_DHV_WISH_H
#define CLEAT_DHV_WISH_H

#include <cleat/error.h>
#include <stdbool.h>

#include "util/kv.h"

/* Texts are borrowed from the parameters; NULL when they are not given. */
struct dhv_wish {
	const char *pool;
	const char *volume; /* an existing volume of Cleat to be used: an id, a name, or pool/name */
	const char *source; /* volume or snapshot that the new volume is a copy of */
	bool hard_size;
	int access_mode; /* number of the API's enum; 0: not given */
	bool read_only;
	bool on_delete_given, keep;	/* on_delete, and whether it says keep */
	struct cleat_kvs params;	/* for the creation: fs, uid, gid, mode, and so on */
	struct cleat_kvs mount_options; /* values may be "" */
};

/* A parameter of the plugin's own, for help and manual. */
struct dhv_word {
	const char *key, *values, *text;
};
extern const struct dhv_word dhv_words[]; /* ends with a NULL key */

/* The parameters, and behind them the defaults (may be NULL) for keys that are not there.  INVALID_ARGUMENT
 * names key and value.  On success free with dhv_wish_done(); params and defaults must live as long. */
enum cleat_code dhv_wish_read(const struct cleat_kvs *params, const struct cleat_kvs *defaults,
			      struct dhv_wish *out, struct cleat_error *err) CLEAT_MUST_CHECK;
void dhv_wish_done(struct dhv_wish *w);

#endif
