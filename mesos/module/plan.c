/* plan.c - see plan.h. */
#include "module/plan.h"

#include "util/buf.h"
#include "util/mem.h"

#include <ctype.h>
#include <string.h>

#define WORD_MAX_BYTES (64u << 10)

void mesos_plan_helper(struct mesos_args *out, const struct mesos_settings *s, const char *verb)
{
	mesos_args_add(out, s->helper);
	mesos_args_option(out, "--socket", s->socket);
	mesos_args_option(out, "--config", s->config);
	mesos_args_option(out, "--root", s->root);
	mesos_args_add(out, "--timeout");
	mesos_args_addf(out, "%d", s->timeout_s);
	mesos_args_add(out, verb);
}

static void add_volume(struct mesos_args *out, const struct cleat_mesos_request *r,
		       const struct mesos_wish *w)
{
	mesos_args_option(out, "--volume", w->name);
	mesos_args_option(out, "--driver", w->driver);
	mesos_args_option(out, "--pool", w->pool);
	mesos_args_option(out, "--size", w->size);
	mesos_args_option(out, "--fs", w->fs);
	mesos_args_option(out, "--mode", w->mode);
	for (size_t i = 0; i < w->opt_count; i++)
		mesos_args_option(out, "--opt", w->opts[i]);
	if (w->no_create)
		mesos_args_add(out, "--no-create");
	if (!w->own)
		mesos_args_option(out, "--user", r->user);
	if (!w->path)
		mesos_args_add(out, "--host");
	else if (*w->path == '/' && !r->rootfs && strncmp(w->path, "/tmp/", 5) != 0)
		mesos_args_option(out, "--require", w->path);
}

void mesos_plan_publish(struct mesos_args *out, const struct mesos_settings *s,
			const struct cleat_mesos_request *r, const struct mesos_wishes *w, const char *key)
{
	mesos_plan_helper(out, s, "publish");
	mesos_args_add(out, key);
	mesos_args_add(out, "--owner");
	mesos_args_addf(out, "mesos container %s", key);
	if (*s->scope)
		mesos_args_option(out, "--scope", s->scope);
	for (size_t i = 0; i < w->count; i++)
		add_volume(out, r, &w->items[i]);
}

/* ---- inside ---- */

bool mesos_plan_is_plain(unsigned char c)
{
	return c < 0x80 && c && (isalnum(c) || strchr("/_.:=,+@-", c));
}

static void add_encoded(struct mesos_args *out, const char *word)
{
	cleat_autobuf struct cleat_buf b = CLEAT_BUF_INIT(WORD_MAX_BYTES);

	for (const unsigned char *p = (const unsigned char *)word; *p; p++) {
		if (mesos_plan_is_plain(*p))
			cleat_buf_add(&b, p, 1);
		else
			cleat_buf_addf(&b, "%%%02X", *p);
	}
	out->failed |= !cleat_buf_ok(&b);
	mesos_args_add(out, cleat_buf_text(&b));
}

static void add_encoded_option(struct mesos_args *out, const char *option, const char *word)
{
	if (!word)
		return;
	mesos_args_add(out, option);
	add_encoded(out, word);
}

/* A nested container's sandbox is <outer sandbox>/containers/<its id>, and the outer container's tasks can
 * write there: where that begins is marked by "//" for cleat-mesos-enter. */
static void mark_nested(char *path, const struct cleat_mesos_request *r)
{
	char *cut = path + strlen(path);

	for (size_t i = r->id_count - 1; i > 0; i--) {
		const size_t id = strlen(r->ids[i]), whole = id + strlen("/containers/");

		if ((size_t)(cut - path) <= whole || strncmp(cut - whole, "/containers/", whole - id) != 0 ||
		    strncmp(cut - id, r->ids[i], id) != 0)
			return;
		cut -= whole;
	}
	if (!*cut)
		return;
	memmove(cut + 1, cut, strlen(cut) + 1);
}

static char *make_base(const struct cleat_mesos_request *r)
{
	const size_t n = strlen(r->sandbox);
	char *base = malloc(n + 2), *to = base;

	if (!base)
		return NULL;
	for (const char *p = r->sandbox; *p; p++)
		if (*p != '/' || (p[1] && p[1] != '/'))
			*to++ = *p;
	*to = '\0';
	mark_nested(base, r);
	return base;
}

static void add_mount(struct mesos_args *out, const struct cleat_mesos_request *r, const struct mesos_wish *w,
		      const char *source)
{
	cleat_autofree char *base = NULL;
	const bool read_only = w->mode && (strcmp(w->mode, "ro") == 0 || strstr(w->mode, "reader-only"));

	mesos_args_add(out, read_only ? "ro" : w->own ? "rw,own" : "rw");
	add_encoded(out, source);
	if (*w->path != '/') {
		base = make_base(r);
		out->failed |= !base;
		mesos_args_add(out, "sandbox");
		add_encoded(out, base ? base : "");
	} else {
		mesos_args_add(out, r->rootfs ? "rootfs" : "host");
		add_encoded(out, r->rootfs ? r->rootfs : "/");
	}
	add_encoded(out, w->path);
}

void mesos_plan_enter(struct mesos_args *out, const struct mesos_settings *s,
		      const struct cleat_mesos_request *r, const struct mesos_wishes *w, char *const *paths,
		      unsigned long ns_dev, unsigned long ns_ino)
{
	mesos_args_add(out, s->enter);
	mesos_args_add(out, "--not-ns");
	mesos_args_addf(out, "%lu:%lu", ns_dev, ns_ino);
	add_encoded_option(out, "--user", r->user);
	add_encoded_option(out, "--rootfs", r->rootfs);
	if (r->rootfs)
		add_encoded_option(out, "--sandbox-at", s->sandbox_directory);
	for (size_t i = 0; i < w->count; i++)
		if (w->items[i].path)
			add_mount(out, r, &w->items[i], paths[i]);
}

bool mesos_plan_enters(const struct mesos_wishes *w)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->items[i].path)
			return true;
	return false;
}
