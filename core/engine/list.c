/* list.c - pages of volumes, snapshots and claims, in the order of their ids. */
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

#include "util/buf.h"
#include "util/ids.h"

#define PIECE 64 /* volumes listed under one hold of the lock */

/* A token is the last id that was given out and a check over it: it needs no memory here, and survives insertions and deletions. */
static uint32_t token_check(const char *what, const char *text)
{
	uint64_t h = cleat_id_hash(text, strlen(text), cleat_id_hash(what, strlen(what), 77));

	return (uint32_t)(h ^ (h >> 32));
}

static enum cleat_code token_read(const char *what, const char *token, const char **after_out, struct cleat_error *err)
{
	unsigned check;
	int used = 0;

	*after_out = NULL;
	if (!token || !*token)
		return CLEAT_OK;
	if (sscanf(token, "%8x:%n", &check, &used) == 1 && used == 9 && check == token_check(what, token + used)) {
		*after_out = token + used;
		return CLEAT_OK;
	}
	return cleat_error_set(err, CLEAT_ABORTED, "'%.60s' is not a page token that was given out for %s", token, what);
}

static void token_write(const char *what, const char *last, char *out, size_t out_bytes)
{
	snprintf(out, out_bytes, "%08x:%s", token_check(what, last), last);
}

/* ---- volumes and snapshots -------------------------------------------------------------------------------------------------------- */

static int by_stored_name(const void *a, const void *b)
{
	const struct pool *const *x = a, *const *y = b;

	return strcmp((*x)->id.stored_name, (*y)->id.stored_name);
}

static bool matches(const struct cleat_list_query *q, const struct entry *en, const char *source)
{
	const struct cleat_record *r = en->rec;

	return r->kind == q->kind && (!q->scope || strcmp(q->scope, r->scope) == 0) &&
	       (!q->name || !*q->name || strcmp(q->name, r->name) == 0) && (!source || strcmp(source, r->source) == 0);
}

/* First index position after the id `after`, which may name a volume that no longer exists. */
static size_t first_after(const struct pool *p, const char *after)
{
	const char *dot = after ? strchr(after, '.') : NULL;
	bool found;

	if (!dot)
		return 0;
	char stored[CLEAT_POOL_NAME_MAX_BYTES + 1];
	snprintf(stored, sizeof(stored), "%.*s", (int)(dot - after), after);
	int d = strcmp(p->id.stored_name, stored);
	if (d != 0)
		return d < 0 ? p->index.count : 0;
	size_t at = index_position(&p->index, dot + 1, &found);
	return found ? at + 1 : at;
}

/* With the lock: fills the page from one pool; true when the page is full and more may follow. */
static bool fill_from(struct cleat_engine *e, struct pool *p, const struct cleat_list_query *q, const char *source,
		      const char *after, size_t page, struct cleat_volume_list *out)
{
	for (size_t at = first_after(p, after); at < p->index.count; at++) {
		struct entry *en = p->index.by_key[at];
		if (!matches(q, en, source))
			continue;
		if (out->count == page)
			return true;
		state_fill(e, p, en, &out->items[out->count++]);
	}
	return false;
}

static enum cleat_code source_id(struct cleat_engine *e, const struct cleat_list_query *q, char id[CLEAT_ID_MAX_BYTES + 1],
				 struct cleat_error *err)
{
	struct pool *p;
	struct entry *en;

	if (resolve_volume(e, q->source, NULL, CLEAT_KIND_VOLUME, &p, &en, err) == CLEAT_OK && en)
		pool_make_id(p, en->rec->key, id);
	else /* a deleted volume's snapshots are still found by its id; what never was has none */
		snprintf(id, CLEAT_ID_MAX_BYTES + 1, "%.*s", CLEAT_ID_MAX_BYTES, q->source);
	return CLEAT_OK;
}

static enum cleat_code list_locked(struct cleat_engine *e, const struct cleat_list_query *q, const char *after, size_t page,
				   struct cleat_volume_list *out, struct cleat_error *err)
{
	struct pool *pools[MAX_POOLS];
	struct pool *only = NULL;
	char id[CLEAT_ID_MAX_BYTES + 1] = "";
	const char *source = q->source && *q->source ? id : NULL;

	if (q->pool && *q->pool && !(only = pool_by_name(e, q->pool)))
		return cleat_error_set(err, CLEAT_NOT_FOUND, "this node has no pool '%s'", q->pool);
	if (source && source_id(e, q, id, err))
		return err->code;
	memcpy(pools, e->pools, sizeof(pools));
	qsort(pools, e->pool_count, sizeof(struct pool *), by_stored_name);
	for (size_t i = 0; i < e->pool_count; i++) {
		if (only && pools[i] != only)
			continue;
		if (fill_from(e, pools[i], q, source, after, page, out)) {
			token_write("volumes", out->items[out->count - 1].id, out->next_token, sizeof(out->next_token));
			break;
		}
	}
	return CLEAT_OK;
}

/* Fills the page piece by piece, as its reader could have asked for it: a large page keeps nobody off the lock for long. */
static enum cleat_code list_in_pieces(struct cleat_engine *e, const struct cleat_list_query *q, const char *after, size_t page,
				      struct cleat_volume_list *out, struct cleat_error *err)
{
	enum cleat_code code;

	do {
		const size_t left = page - out->count;

		out->next_token[0] = '\0';
		pthread_mutex_lock(&e->lock);
		code = list_locked(e, q, after, out->count + (left < PIECE ? left : PIECE), out, err);
		pthread_mutex_unlock(&e->lock);
		after = out->count ? out->items[out->count - 1].id : after;
	} while (code == CLEAT_OK && out->next_token[0] && out->count < page);
	return code;
}

enum cleat_code cleat_volume_list(struct cleat_engine *e, const struct cleat_list_query *query, struct cleat_volume_list *out,
				  struct cleat_error *err)
{
	struct cleat_error own = CLEAT_ERROR_INIT;
	const size_t page = query->page && query->page < CLEAT_PAGE_MAX ? query->page : CLEAT_PAGE_MAX;
	const char *after;
	struct cleat_volume_list list = { 0 };

	if (token_read("volumes", query->token, &after, err))
		return CLEAT_ABORTED;
	list.items = malloc(page * sizeof(*list.items));
	if (!list.items)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	enum cleat_code code = list_in_pieces(e, query, after, page, &list, &own);
	if (code) {
		cleat_volume_list_done(&list);
		if (err)
			*err = own;
		return code;
	}
	*out = list;
	return CLEAT_OK;
}

void cleat_volume_list_done(struct cleat_volume_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		cleat_volume_state_done(&list->items[i]);
	free(list->items);
	*list = (struct cleat_volume_list){ 0 };
}

/* ---- claims -------------------------------------------------------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
	const struct node_volume *const *x = a, *const *y = b;

	return strcmp((*x)->id, (*y)->id);
}

/* With the lock: the node's volumes with claims (only that one, if id is not NULL), sorted; to be freed. */
static struct node_volume **sorted_nodes(struct cleat_engine *e, const char *id, size_t *count_out)
{
	struct node_volume **all = malloc(((id ? 0 : e->claim_count) + 1) * sizeof(struct node_volume *));
	size_t n = 0;

	if (id && all) {
		all[0] = node_find(e, id);
		*count_out = all[0] ? 1 : 0;
		return all;
	}
	for (size_t i = 0; all && i < NODE_BUCKETS; i++)
		for (struct node_volume *nv = e->nodes[i]; nv; nv = nv->next)
			if (nv->claims)
				all[n++] = nv;
	if (all)
		qsort(all, n, sizeof(*all), by_id);
	*count_out = n;
	return all;
}

static void claim_fill(const struct node_volume *nv, const struct claim *c, struct cleat_claim *out)
{
	char witness[64] = "";

	if (c->pid)
		snprintf(witness, sizeof(witness), "pid %lld", (long long)c->pid);
	snprintf(out->volume, sizeof(out->volume), "%s", nv->id);
	out->target = strdup(c->target);
	out->owner = strdup(c->owner);
	out->witness = strdup(c->cgroup ? c->cgroup : witness);
	out->mode = c->mode;
	out->read_only = c->read_only;
	out->staging = c->staging;
	out->state = c->stale ? CLEAT_CLAIM_STALE : CLEAT_CLAIM_ACTIVE;
	out->since_ms = c->since_ms;
}

/* "<id> <target>" orders claims as they are listed. */
static bool is_after(const struct node_volume *nv, const struct claim *c, const char *after)
{
	if (!after)
		return true;
	const char *space = strchr(after, ' ');
	size_t n = space ? (size_t)(space - after) : strlen(after);
	int d = strncmp(nv->id, after, n);
	if (d == 0 && nv->id[n] != '\0')
		d = 1;
	if (d == 0 && space)
		d = strcmp(c->target, space + 1);
	return d > 0;
}

static enum cleat_code claims_locked(struct cleat_engine *e, const char *id, const char *after, size_t page,
				     struct cleat_claim_list *out, char **last_out, struct cleat_error *err)
{
	size_t n;
	cleat_autofree struct node_volume **all = sorted_nodes(e, id, &n);
	const struct node_volume *last_nv = NULL;
	const struct claim *last = NULL;

	if (!all)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	for (size_t i = 0; i < n; i++) {
		for (const struct claim *c = all[i]->claims; c; c = c->next) {
			if (!is_after(all[i], c, after))
				continue;
			if (out->count == page) {
				cleat_autobuf struct cleat_buf b = CLEAT_BUF_INIT(8192);
				cleat_buf_addf(&b, "%s %s", last_nv->id, last->target);
				*last_out = cleat_buf_steal(&b);
				return CLEAT_OK;
			}
			claim_fill(all[i], c, &out->items[out->count++]);
			last_nv = all[i];
			last = c;
		}
	}
	return CLEAT_OK;
}

enum cleat_code cleat_claim_list(struct cleat_engine *e, const char *volume, const char *token, size_t page,
				 struct cleat_claim_list *out, struct cleat_error *err)
{
	struct cleat_error own = CLEAT_ERROR_INIT;
	struct cleat_claim_list list = { 0 };
	cleat_autofree char *last = NULL;
	const char *after;
	char id[CLEAT_ID_MAX_BYTES + 1] = "";

	if (token_read("claims", token, &after, err))
		return CLEAT_ABORTED;
	pthread_mutex_lock(&e->lock);
	enum cleat_code code = CLEAT_OK;
	if (volume && *volume) {
		struct pool *p;
		struct entry *en;
		code = resolve_volume(e, volume, NULL, CLEAT_KIND_VOLUME, &p, &en, &own);
		if (code == CLEAT_OK && en)
			pool_make_id(p, en->rec->key, id);
		else if (node_find(e, volume))
			snprintf(id, sizeof(id), "%.*s", CLEAT_ID_MAX_BYTES, volume), code = CLEAT_OK;
		else if (code == CLEAT_OK)
			code = cleat_error_set(&own, CLEAT_NOT_FOUND, "volume '%s' does not exist", volume);
	}
	size_t most = page && page < CLEAT_PAGE_MAX ? page : CLEAT_PAGE_MAX;
	if (code == CLEAT_OK) {
		/* Most volumes have a claim or two: a whole page for them would cost more than they do. */
		size_t there = *id ? node_claim_total(node_find(e, id), true) : e->claim_count;
		list.items = calloc((there < most ? there : most) + 1, sizeof(*list.items));
		code = list.items ? claims_locked(e, *id ? id : NULL, after, most, &list, &last, &own)
				  : cleat_error_set(&own, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	}
	pthread_mutex_unlock(&e->lock);
	if (code) {
		cleat_claim_list_done(&list);
		if (err)
			*err = own;
		return code;
	}
	if (last)
		token_write("claims", last, list.next_token, sizeof(list.next_token));
	*out = list;
	return CLEAT_OK;
}

void cleat_claim_list_done(struct cleat_claim_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->items[i].target);
		free(list->items[i].owner);
		free(list->items[i].witness);
	}
	free(list->items);
	*list = (struct cleat_claim_list){ 0 };
}
