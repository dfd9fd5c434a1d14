/* request.h - a container as it was described to the module, and the volumes that it asks for. */
#ifndef CLEAT_MESOS_REQUEST_H
#define CLEAT_MESOS_REQUEST_H

#include "module/module.h"

#include "module/helper.h"

#define MESOS_MAX_IDS 32
#define MESOS_MAX_VARIABLES 4096
#define MESOS_MAX_TEXT_BYTES (1u << 20)
#define MESOS_MAX_OPTS 32

/* One volume as asked for; every text is owned and NULL when it was not given. */
struct mesos_wish {
	char *name;
	char *driver; /* of Docker; NULL: in our own words */
	char *pool, *size, *fs, *mode;
	char *path; /* where the container sees it; NULL: at the host's path only */
	char *opts[MESOS_MAX_OPTS];
	size_t opt_count;
	bool no_create; /* it must exist */
	bool own;	/* its root directory gets owner and mode of what is at the container path */
};

struct mesos_wishes {
	struct mesos_wish items[CLEAT_MESOS_MAX_VOLUMES];
	size_t count;
};

struct mesos_pair {
	char *key, *value;
};

struct mesos_docker_volume {
	char *driver, *name, *path;
	bool read_only;
	struct mesos_pair opts[MESOS_MAX_OPTS];
	size_t opt_count;
};

struct cleat_mesos_request {
	char *ids[MESOS_MAX_IDS];
	size_t id_count;
	char *sandbox, *rootfs, *user;
	bool hidden_rootfs, debug;
	struct mesos_pair *vars; /* only those that are ours */
	size_t var_count;
	struct mesos_docker_volume *volumes; /* only ours, at most CLEAT_MESOS_MAX_VOLUMES */
	size_t volume_count;
	bool in_other_volume;	/* the last volume was somebody else's: so are the options that follow */
	struct cleat_error err; /* the first thing that was wrong */
};

/* Whether both name one volume; dvdi took no notice of case. */
bool mesos_wish_same(const struct mesos_wish *a, const struct mesos_wish *b);
void mesos_wishes_done(struct mesos_wishes *w);
/* From DVDI_VOLUME_*, CLEAT_VOLUME_* and the volumes; out must be zero. */
enum cleat_code mesos_wishes_read(const struct cleat_mesos_request *r, struct mesos_wishes *out,
				  struct cleat_error *err) CLEAT_MUST_CHECK;

/* The container's key of helper.h. */
enum cleat_code mesos_key(const struct cleat_mesos_request *r, char out[CLEAT_MESOS_KEY_MAX_BYTES + 1],
			  struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
