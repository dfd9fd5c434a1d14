/* fault.c - a layer around any backend that makes its slots fail, wait, hang, answer late or end the process;
 * for tests only.
 *
 * The rules are one process-wide list, guarded by a mutex that is never held across a call of the backend.
 */
#include "layers/layer.h"

#include "layers/rules.h"
#include "util/mem.h"

#include <stdlib.h>
#include <string.h>

#define WRAPS_MAX 8 /* backends that can be wrapped in one process */

/* An open pool of the wrapped backend. */
struct fault_pool {
	const struct cleat_backend *inner;
	void *pool;
};

/* One wrapped backend.  `open` and `check` get no instance from which they could learn whom they wrap, so
 * each place has functions of its own. */
struct fault_wrap {
	struct cleat_backend table;
	const struct cleat_backend *inner;
};

static struct fault_wrap wraps[WRAPS_MAX];

/* ---- the pool ----------------------------------------------------------------------------------------- */

static enum cleat_code fault_check(size_t place, struct cleat_error *err)
{
	enum cleat_code code = cleat_rules_before("check", NULL, err);

	if (code == CLEAT_OK)
		code = wraps[place].inner->check(err);
	return cleat_rules_after("check", code, err);
}

static enum cleat_code fault_open(size_t place, const struct cleat_pool_options *opts, void **pool_out,
				  struct cleat_pool_identity *id_out, struct cleat_error *err)
{
	cleat_autofree struct fault_pool *p = calloc(1, sizeof(*p));
	enum cleat_code code;

	if (!p)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "open pool '%s': out of memory",
				       opts->name);
	p->inner = wraps[place].inner;
	code = cleat_rules_before("open", NULL, err);
	if (code != CLEAT_OK)
		return code;
	code = p->inner->open(opts, &p->pool, id_out, err);
	if (code != CLEAT_OK)
		return code;
	code = cleat_rules_after("open", CLEAT_OK, err);
	if (code != CLEAT_OK) {
		p->inner->close(p->pool);
		return code;
	}
	*pool_out = cleat_steal(p);
	return CLEAT_OK;
}

static void fault_close(void *pool)
{
	struct fault_pool *p = pool;

	enum cleat_code ignored = cleat_rules_before("close", NULL, NULL);

	(void)ignored; /* closing cannot fail; a delay, a hang or a crash has happened by now */
	p->inner->close(p->pool);
	free(p);
}

static enum cleat_code fault_probe(void *pool, struct cleat_error *err)
{
	struct fault_pool *p = pool;
	enum cleat_code code = cleat_rules_before("probe", NULL, err);

	if (code == CLEAT_OK)
		code = p->inner->probe(p->pool, err);
	return cleat_rules_after("probe", code, err);
}

static unsigned fault_capabilities(void *pool)
{
	struct fault_pool *p = pool;

	return p->inner->capabilities(p->pool);
}

static enum cleat_code fault_space(void *pool, struct cleat_pool_space *out, struct cleat_error *err)
{
	struct fault_pool *p = pool;
	enum cleat_code code = cleat_rules_before("space", NULL, err);

	if (code == CLEAT_OK)
		code = p->inner->space(p->pool, out, err);
	return cleat_rules_after("space", code, err);
}

static enum cleat_code fault_scan(void *pool, cleat_scan_fn fn, void *arg, struct cleat_error *err)
{
	struct fault_pool *p = pool;
	enum cleat_code code = cleat_rules_before("scan", NULL, err);

	if (code == CLEAT_OK)
		code = p->inner->scan(p->pool, fn, arg, err);
	return cleat_rules_after("scan", code, err);
}

static enum cleat_code pass_record(const char *slot, enum cleat_code code, struct cleat_record *made,
				   struct cleat_record **rec_out, struct cleat_error *err);

static enum cleat_code fault_find(void *pool, struct cleat_op *op, enum cleat_kind kind, const char *key,
				  const char *scope, const char *name, struct cleat_record **rec_out,
				  struct cleat_error *err)
{
	struct fault_pool *p = pool;
	struct cleat_record *found = NULL;
	enum cleat_code code = cleat_rules_before("find", op, err);

	if (code != CLEAT_OK)
		return code;
	code = p->inner->find(p->pool, op, kind, key, scope, name, &found, err);
	return pass_record("find", code, found, rec_out, err);
}

static enum cleat_code fault_recover(void *pool, bool (*in_use)(const char *key, void *arg),
				     cleat_report_fn report, void *arg, struct cleat_error *err)
{
	struct fault_pool *p = pool;
	enum cleat_code code = cleat_rules_before("recover", NULL, err);

	if (code == CLEAT_OK)
		code = p->inner->recover(p->pool, in_use, report, arg, err);
	return cleat_rules_after("recover", code, err);
}

static enum cleat_code fault_leftovers(void *pool, bool (*in_use)(const char *key, void *arg),
				       cleat_report_fn report, void *arg, struct cleat_error *err)
{
	struct fault_pool *p = pool;
	enum cleat_code code = cleat_rules_before("leftovers", NULL, err);

	if (code == CLEAT_OK)
		code = p->inner->leftovers(p->pool, in_use, report, arg, err);
	return cleat_rules_after("leftovers", code, err);
}

/* ---- volumes ------------------------------------------------------------------------------------------ */

/* Hands the backend's record on, or drops it when its answer is to be lost. */
static enum cleat_code pass_record(const char *slot, enum cleat_code code, struct cleat_record *made,
				   struct cleat_record **rec_out, struct cleat_error *err)
{
	bool answered = code == CLEAT_OK;

	code = cleat_rules_after(slot, code, err);
	if (code == CLEAT_OK)
		*rec_out = made;
	else if (answered)
		cleat_record_unref(made);
	return code;
}

static enum cleat_code fault_create(void *pool, struct cleat_op *op, const struct cleat_record *rec,
				    const struct cleat_record *source, const struct cleat_where *where,
				    struct cleat_record **rec_out, struct cleat_error *err)
{
	struct fault_pool *p = pool;
	struct cleat_record *made = NULL;
	enum cleat_code code = cleat_rules_before("create", op, err);

	if (code != CLEAT_OK)
		return code;
	code = p->inner->create(p->pool, op, rec, source, where, &made, err);
	return pass_record("create", code, made, rec_out, err);
}

static enum cleat_code fault_adopt(void *pool, struct cleat_op *op, const struct cleat_record *rec,
				   const char *what, struct cleat_record **rec_out, struct cleat_error *err)
{
	struct fault_pool *p = pool;
	struct cleat_record *made = NULL;
	enum cleat_code code = cleat_rules_before("adopt", op, err);

	if (code != CLEAT_OK)
		return code;
	code = p->inner->adopt(p->pool, op, rec, what, &made, err);
	return pass_record("adopt", code, made, rec_out, err);
}

static enum cleat_code fault_update(void *pool, struct cleat_op *op, const struct cleat_record *rec,
				    struct cleat_error *err)
{
	struct fault_pool *p = pool;
	enum cleat_code code = cleat_rules_before("update", op, err);

	if (code == CLEAT_OK)
		code = p->inner->update(p->pool, op, rec, err);
	return cleat_rules_after("update", code, err);
}

static enum cleat_code fault_remove(void *pool, struct cleat_op *op, const struct cleat_record *rec,
				    struct cleat_error *err)
{
	struct fault_pool *p = pool;
	enum cleat_code code = cleat_rules_before("remove", op, err);

	if (code == CLEAT_OK)
		code = p->inner->remove(p->pool, op, rec, err);
	return cleat_rules_after("remove", code, err);
}

static enum cleat_code fault_expand(void *pool, struct cleat_op *op, const struct cleat_record *rec,
				    uint64_t bytes, const struct cleat_where *where,
				    struct cleat_record **rec_out, struct cleat_error *err)
{
	struct fault_pool *p = pool;
	struct cleat_record *made = NULL;
	enum cleat_code code = cleat_rules_before("expand", op, err);

	if (code != CLEAT_OK)
		return code;
	code = p->inner->expand(p->pool, op, rec, bytes, where, &made, err);
	return pass_record("expand", code, made, rec_out, err);
}

static enum cleat_code fault_snapshot(void *pool, struct cleat_op *op,
				      const struct cleat_record *const *sources,
				      const struct cleat_where *wheres,
				      const struct cleat_record *const *recs, size_t count,
				      struct cleat_record **recs_out, struct cleat_error *err)
{
	struct fault_pool *p = pool;
	enum cleat_code code = cleat_rules_before("snapshot", op, err);

	if (code != CLEAT_OK)
		return code;
	code = p->inner->snapshot(p->pool, op, sources, wheres, recs, count, recs_out, err);
	if (code != CLEAT_OK)
		return code;
	code = cleat_rules_after("snapshot", CLEAT_OK, err);
	for (size_t i = 0; code != CLEAT_OK && i < count; i++) {
		cleat_record_unref(recs_out[i]);
		recs_out[i] = NULL;
	}
	return code;
}

/* ---- on this node ------------------------------------------------------------------------------------- */

static enum cleat_code fault_attach(void *pool, struct cleat_op *op, const struct cleat_record *rec,
				    const char *node, bool read_only, struct cleat_error *err)
{
	struct fault_pool *p = pool;
	enum cleat_code code = cleat_rules_before("attach", op, err);

	if (code == CLEAT_OK)
		code = p->inner->attach(p->pool, op, rec, node, read_only, err);
	return cleat_rules_after("attach", code, err);
}

static enum cleat_code fault_detach(void *pool, struct cleat_op *op, const struct cleat_record *rec,
				    const char *node, struct cleat_error *err)
{
	struct fault_pool *p = pool;
	enum cleat_code code = cleat_rules_before("detach", op, err);

	if (code == CLEAT_OK)
		code = p->inner->detach(p->pool, op, rec, node, err);
	return cleat_rules_after("detach", code, err);
}

static enum cleat_code fault_evict(void *pool, struct cleat_op *op, const struct cleat_record *rec,
				   const char *node, struct cleat_error *err)
{
	struct fault_pool *p = pool;
	enum cleat_code code = cleat_rules_before("evict", op, err);

	if (code == CLEAT_OK)
		code = p->inner->evict(p->pool, op, rec, node, err);
	return cleat_rules_after("evict", code, err);
}

static enum cleat_code fault_map(void *pool, struct cleat_op *op, const struct cleat_record *rec,
				 bool read_only, struct cleat_source *source_out, struct cleat_error *err)
{
	struct fault_pool *p = pool;
	struct cleat_source source = { .fd = -1 };
	enum cleat_code code = cleat_rules_before("map", op, err);

	if (code == CLEAT_OK)
		code = p->inner->map(p->pool, op, rec, read_only, &source, err);
	if (code != CLEAT_OK)
		return code;
	code = cleat_rules_after("map", CLEAT_OK, err);
	if (code == CLEAT_OK)
		*source_out = source;
	else
		cleat_cleanup_close(&source.fd);
	return code;
}

static enum cleat_code fault_unmap(void *pool, struct cleat_op *op, const struct cleat_record *rec,
				   struct cleat_error *err)
{
	struct fault_pool *p = pool;
	enum cleat_code code = cleat_rules_before("unmap", op, err);

	if (code == CLEAT_OK)
		code = p->inner->unmap(p->pool, op, rec, err);
	return cleat_rules_after("unmap", code, err);
}

static enum cleat_code fault_usage(void *pool, struct cleat_op *op, const struct cleat_record *rec,
				   const struct cleat_where *where, struct cleat_usage *out,
				   struct cleat_error *err)
{
	struct fault_pool *p = pool;
	enum cleat_code code = cleat_rules_before("usage", op, err);

	if (code == CLEAT_OK)
		code = p->inner->usage(p->pool, op, rec, where, out, err);
	return cleat_rules_after("usage", code, err);
}

static enum cleat_code fault_health(void *pool, struct cleat_op *op, const struct cleat_record *rec,
				    struct cleat_error *err)
{
	struct fault_pool *p = pool;
	enum cleat_code code = cleat_rules_before("health", op, err);

	if (code == CLEAT_OK)
		code = p->inner->health(p->pool, op, rec, err);
	return cleat_rules_after("health", code, err);
}

static bool fault_find_mount(void *pool, const struct cleat_mount_entry *entry,
			     char key_out[CLEAT_KEY_MAX_BYTES + 1])
{
	struct fault_pool *p = pool;

	return p->inner->find_mount(p->pool, entry, key_out);
}

/* ---- tables ------------------------------------------------------------------------------------------- */

#define PLACE(i)                                                                                             \
	static enum cleat_code check_##i(struct cleat_error *err)                                            \
	{                                                                                                    \
		return fault_check(i, err);                                                                  \
	}                                                                                                    \
	static enum cleat_code open_##i(const struct cleat_pool_options *opts, void **pool_out,              \
					struct cleat_pool_identity *id_out, struct cleat_error *err)         \
	{                                                                                                    \
		return fault_open(i, opts, pool_out, id_out, err);                                           \
	}
PLACE(0)
PLACE(1)
PLACE(2)
PLACE(3)
PLACE(4)
PLACE(5)
PLACE(6)
PLACE(7)

static const struct {
	enum cleat_code (*check)(struct cleat_error *err);
	enum cleat_code (*open)(const struct cleat_pool_options *opts, void **pool_out,
				struct cleat_pool_identity *id_out, struct cleat_error *err);
} places[WRAPS_MAX] = {
	{ check_0, open_0 }, { check_1, open_1 }, { check_2, open_2 }, { check_3, open_3 },
	{ check_4, open_4 }, { check_5, open_5 }, { check_6, open_6 }, { check_7, open_7 },
};

/* A slot that the backend leaves empty stays empty, so that the engine gives the same UNIMPLEMENTED. */
#define WRAP_SLOT(table, slot)                                                                               \
	do {                                                                                                 \
		if ((table)->slot)                                                                           \
			(table)->slot = fault_##slot;                                                        \
	} while (0)

static void wrap_table(size_t place)
{
	struct cleat_backend *t = &wraps[place].table;

	*t = *wraps[place].inner;
	if (t->check)
		t->check = places[place].check;
	t->open = places[place].open;
	WRAP_SLOT(t, close);
	WRAP_SLOT(t, probe);
	WRAP_SLOT(t, capabilities);
	WRAP_SLOT(t, space);
	WRAP_SLOT(t, scan);
	WRAP_SLOT(t, find);
	WRAP_SLOT(t, recover);
	WRAP_SLOT(t, leftovers);
	WRAP_SLOT(t, create);
	WRAP_SLOT(t, adopt);
	WRAP_SLOT(t, update);
	WRAP_SLOT(t, remove);
	WRAP_SLOT(t, expand);
	WRAP_SLOT(t, snapshot);
	WRAP_SLOT(t, attach);
	WRAP_SLOT(t, detach);
	WRAP_SLOT(t, evict);
	WRAP_SLOT(t, map);
	WRAP_SLOT(t, unmap);
	WRAP_SLOT(t, usage);
	WRAP_SLOT(t, health);
	WRAP_SLOT(t, find_mount);
}

const struct cleat_backend *cleat_layer_fault(const struct cleat_backend *inner)
{
	const struct cleat_backend *found = NULL;

	cleat_rules_lock();
	for (size_t i = 0; i < WRAPS_MAX && !found; i++) {
		if (!wraps[i].inner) {
			wraps[i].inner = inner;
			wrap_table(i);
		}
		if (wraps[i].inner == inner)
			found = &wraps[i].table;
	}
	cleat_rules_unlock();
	return found;
}

const struct cleat_backend *cleat_layer_find(const char *name, const struct cleat_backend *inner)
{
	return strcmp(name, "fault") == 0 ? cleat_layer_fault(inner) : NULL;
}

enum cleat_code cleat_layer_fault_set(const char *rules, struct cleat_error *err)
{
	return cleat_rules_set(rules, err);
}
