/* witness.c - `witness`: ties a container's claims to its first process, which is known only after they were
 * made. */
#include "helper/helper.h"

#include <string.h>

struct collect {
	struct helper *h;
	int64_t pid;
	size_t prefix_len;
	char prefix[HELPER_CONTAINER_BYTES + 1];
	struct cleat_error *err;
};

/* The same publication again, with the witness. */
static bool tie(const Cleat__V1__Claim *claim, void *arg)
{
	struct collect *c = arg;
	const struct cleat_door_publish p = {
		.volume = claim->volume,
		.target = claim->target,
		.owner = claim->owner,
		.mode = (int)claim->mode,
		.read_only = claim->read_only,
		.witness_pid = c->pid,
	};

	if (strncmp(claim->target, c->prefix, c->prefix_len) != 0)
		return true;
	return cleat_door_publish(c->h->door, &p, NULL, c->err) == CLEAT_OK;
}

enum cleat_code helper_witness(struct helper *h, struct cleat_error *err)
{
	helper_autocontainer struct helper_container container = { .fd = -1 };
	struct collect c = { .h = h, .pid = h->args->pid, .err = err };

	if (helper_root_open(h, false, err) || h->root_fd < 0 ||
	    helper_container_open(h, h->args->key, false, &container, err) || container.fd < 0)
		return err->code;
	c.prefix_len = strlen(container.path) + 1;
	memcpy(c.prefix, container.path, c.prefix_len - 1);
	c.prefix[c.prefix_len - 1] = '/';
	(void)!cleat_door_claims(h->door, "", tie, &c, err);
	return err->code;
}
