/* wishes.c - the volumes that a container asks for: environment variables in the words of mesos-module-dvdi
 * (DVDI_VOLUME_*) and in ours (CLEAT_VOLUME_*), and volumes with the Docker volume driver `cleat`.
 *
 * A word alone is about volume 0, with a digit appended about that volume; a volume exists when it has a
 * name. An empty value is a variable that was not set.
 */
#include "module/request.h"

#include "util/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SLOTS 10
#define NAME_MAX_BYTES 128 /* of a volume, as the daemon has it */
#define PATH_MAX_BYTES 4095

enum word {
	WORD_NAME,
	WORD_DRIVER,
	WORD_OPTS,
	WORD_CONTAINERPATH,
	WORD_EXPLICITCREATE,
	WORD_DVDCLI,
	WORD_POOL,
	WORD_SIZE,
	WORD_FS,
	WORD_MODE,
	WORD_COUNT
};

static const char *const words[WORD_COUNT] = {
	[WORD_NAME] = "NAME",
	[WORD_DRIVER] = "DRIVER",
	[WORD_OPTS] = "OPTS",
	[WORD_CONTAINERPATH] = "CONTAINERPATH",
	[WORD_EXPLICITCREATE] = "EXPLICITCREATE",
	[WORD_DVDCLI] = "DVDCLI",
	[WORD_POOL] = "POOL",
	[WORD_SIZE] = "SIZE",
	[WORD_FS] = "FS",
	[WORD_MODE] = "MODE",
};

/* One of the two families of variables. */
struct family {
	const char *prefix;
	bool ours; /* all words but a Docker driver's; dvdi knows the first six */
};

static const struct family families[] = { { "DVDI_VOLUME_", false }, { "CLEAT_VOLUME_", true } };

/* What the variables of one family say; values are borrowed. */
struct slots {
	const char *value[SLOTS][WORD_COUNT];
};

static bool family_has(const struct family *f, enum word word)
{
	return f->ours ? word != WORD_DRIVER && word != WORD_DVDCLI : word <= WORD_DVDCLI;
}

/* Which word and slot a variable is about.  dvdi refused every variable that begins with one of its words and
 * goes on with more than a digit, and passed over all others; of ours nothing unknown is passed over. */
static enum cleat_code find_word(const struct family *f, const char *name, enum word *word_out,
				 size_t *slot_out, struct cleat_error *err)
{
	const char *rest = name + strlen(f->prefix);

	*word_out = WORD_COUNT;
	for (enum word w = 0; w < WORD_COUNT; w++) {
		const size_t n = strlen(words[w]);

		if (!family_has(f, w) || strncmp(rest, words[w], n) != 0)
			continue;
		const char *digit = rest + n;
		if (*digit && (*digit < '0' || *digit > '9' || digit[1]))
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "environment variable '%.100s': '%s%s' is followed by nothing "
					       "or by one digit",
					       name, f->prefix, words[w]);
		*word_out = w;
		*slot_out = *digit ? (size_t)(*digit - '0') : 0;
		return CLEAT_OK;
	}
	if (!f->ours)
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "environment variable '%.100s' is not known",
			       name);
}

static enum cleat_code read_slots(const struct cleat_mesos_request *r, const struct family *f,
				  struct slots *out, struct cleat_error *err)
{
	for (size_t i = 0; i < r->var_count; i++) {
		enum word word;
		size_t slot = 0;

		if (strncmp(r->vars[i].key, f->prefix, strlen(f->prefix)) != 0)
			continue;
		if (find_word(f, r->vars[i].key, &word, &slot, err))
			return err->code;
		if (word == WORD_DVDCLI)
			fprintf(stderr,
				"cleat-mesos: %.100s is ignored: a task does not choose what the agent "
				"runs\n",
				r->vars[i].key);
		else if (word != WORD_COUNT)
			out->value[slot][word] = *r->vars[i].value ? r->vars[i].value : NULL;
	}
	return CLEAT_OK;
}

/* ---- checks ---- */

/* dvdi's list; what has a meaning to a shell, a path or a URL has no place in a name. */
static bool is_plain(const char *text)
{
	return !text[strcspn(text, "%/:;<>|\\`$'?^& {\"}[]\n\t\v\b\r")];
}

static bool has_control(const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++)
		if (*p < 0x20 || *p == 0x7f)
			return true;
	return false;
}

static enum cleat_code check_text(const char *what, const char *text, bool plain, struct cleat_error *err)
{
	if (!text || (plain ? is_plain(text) : !has_control(text)))
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "%s '%.128s' has a character that is not allowed",
			       what, text);
}

static bool climbs(const char *path)
{
	for (const char *p = path; *p; p += strcspn(p, "/"), p += *p == '/')
		if (p[0] == '.' && p[1] == '.' && (!p[2] || p[2] == '/'))
			return true;
	return false;
}

static enum cleat_code check_path(const struct cleat_mesos_request *r, const struct mesos_wish *w,
				  bool absolute, struct cleat_error *err)
{
	const char *why = NULL;

	if (!w->path)
		why = r->rootfs || r->hidden_rootfs
			      ? "needs a container path: the container has an image, which hides "
				"the host's paths"
			      : NULL;
	else if (r->hidden_rootfs)
		why = "can have no container path: this release of Mesos does not tell a module where a "
		      "container's "
		      "image is";
	else if (absolute && *w->path != '/')
		why = "has a container path that does not begin with '/'";
	else if (strlen(w->path) > PATH_MAX_BYTES)
		why = "has a container path that is too long";
	else if (climbs(w->path) || has_control(w->path) || !w->path[strspn(w->path, "/.")])
		why = "has a container path that is not allowed";
	else if (*w->path != '/' && !r->sandbox)
		why = "has a relative container path, but the container has no sandbox";
	return why ? cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "volume '%s' %s", w->name, why) : CLEAT_OK;
}

static enum cleat_code check(const struct cleat_mesos_request *r, const struct mesos_wish *w, bool absolute,
			     struct cleat_error *err)
{
	if (strlen(w->name) > NAME_MAX_BYTES)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "the name of volume '%.40s...' has more than %d bytes", w->name,
				       NAME_MAX_BYTES);
	if (check_text("volume", w->name, true, err) || check_text("volume driver", w->driver, true, err) ||
	    check_text("pool", w->pool, true, err) || check_text("size", w->size, false, err) ||
	    check_text("file system", w->fs, true, err) || check_text("mode", w->mode, true, err))
		return err->code;
	for (size_t i = 0; i < w->opt_count; i++)
		if (check_text("volume option", w->opts[i], !w->driver ? false : true, err))
			return err->code;
	return check_path(r, w, absolute, err);
}

/* ---- making wishes ---- */

static void wish_done(struct mesos_wish *w)
{
	free(w->name);
	free(w->driver);
	free(w->pool);
	free(w->size);
	free(w->fs);
	free(w->mode);
	free(w->path);
	for (size_t i = 0; i < w->opt_count; i++)
		free(w->opts[i]);
	memset(w, 0, sizeof(*w));
}

void mesos_wishes_done(struct mesos_wishes *w)
{
	for (size_t i = 0; i < w->count; i++)
		wish_done(&w->items[i]);
	w->count = 0;
}

static bool copy(char **field, const char *text)
{
	if (!text)
		return true;
	free(*field);
	return (*field = strdup(text)) != NULL;
}

static enum cleat_code add_opt(struct mesos_wish *w, const char *text, size_t n, struct cleat_error *err)
{
	const char *equals = memchr(text, '=', n);

	if (!n)
		return CLEAT_OK;
	if (!equals || equals == text)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "volume '%s': option '%.*s' is not of the form key=value", w->name,
				       n > 64 ? 64 : (int)n, text);
	if (w->opt_count == MESOS_MAX_OPTS)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "volume '%s' has more than %d options",
				       w->name, MESOS_MAX_OPTS);
	if (!(w->opts[w->opt_count] = strndup(text, n)))
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	w->opt_count++;
	return CLEAT_OK;
}

static enum cleat_code split_opts(struct mesos_wish *w, const char *text, struct cleat_error *err)
{
	for (const char *p = text; p && *p; p += *p == ',') {
		const size_t n = strcspn(p, ",");

		if (add_opt(w, p, n, err))
			return err->code;
		p += n;
	}
	return CLEAT_OK;
}

static enum cleat_code wish_from_slot(struct mesos_wish *w, const struct family *f,
				      const char *const value[WORD_COUNT], struct cleat_error *err)
{
	const char *driver = f->ours ? NULL : value[WORD_DRIVER] ? value[WORD_DRIVER] : "rexray";

	if (!copy(&w->name, value[WORD_NAME]) || !copy(&w->driver, driver) ||
	    !copy(&w->pool, value[WORD_POOL]) || !copy(&w->size, value[WORD_SIZE]) ||
	    !copy(&w->fs, value[WORD_FS]) || !copy(&w->mode, value[WORD_MODE]) ||
	    !copy(&w->path, value[WORD_CONTAINERPATH]))
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	w->no_create = value[WORD_EXPLICITCREATE] && strcmp(value[WORD_EXPLICITCREATE], "true") == 0;
	w->own = !f->ours && w->path;
	return split_opts(w, value[WORD_OPTS], err);
}

/* The options pool, size, fs and mode of a volume are what the variables of these names are. */
static enum cleat_code wish_take_option(struct mesos_wish *w, const struct mesos_pair *opt,
					struct cleat_error *err)
{
	const struct {
		const char *key;
		char **field;
	} own[] = { { "pool", &w->pool }, { "size", &w->size }, { "fs", &w->fs }, { "mode", &w->mode } };
	cleat_autofree char *text = NULL;

	for (size_t i = 0; i < CLEAT_COUNT(own); i++)
		if (strcmp(opt->key, own[i].key) == 0)
			return copy(own[i].field, opt->value)
				       ? CLEAT_OK
				       : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (asprintf(&text, "%s=%s", opt->key, opt->value) < 0) {
		text = NULL;
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	}
	return add_opt(w, text, strlen(text), err);
}

static enum cleat_code wish_from_volume(struct mesos_wish *w, const struct mesos_docker_volume *v,
					struct cleat_error *err)
{
	if (!copy(&w->name, v->name) || !copy(&w->path, *v->path ? v->path : NULL))
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	if (!*w->name || !w->path)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "a volume of driver '%s' has no %s",
				       v->driver, *w->name ? "container path" : "name");
	for (size_t i = 0; i < v->opt_count; i++)
		if (wish_take_option(w, &v->opts[i], err))
			return err->code;
	if (v->read_only && !copy(&w->mode, "ro"))
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	return CLEAT_OK;
}

/* ---- all of a container ---- */

bool mesos_wish_same(const struct mesos_wish *a, const struct mesos_wish *b)
{
	const char *left = a->driver ? a->driver : a->pool ? a->pool : "";
	const char *right = b->driver ? b->driver : b->pool ? b->pool : "";

	return strcasecmp(a->name, b->name) == 0 && strcasecmp(left, right) == 0;
}

/* Keeps the wish just made, which is items[count], unless it repeats one: dvdi passed over the second of two
 * that are the same, and refused it when it has a container path. */
static enum cleat_code keep(const struct cleat_mesos_request *r, struct mesos_wishes *out, bool absolute,
			    struct cleat_error *err)
{
	struct mesos_wish *w = &out->items[out->count];

	if (check(r, w, absolute, err)) {
		wish_done(w);
		return err->code;
	}
	for (size_t i = 0; i < out->count; i++) {
		if (mesos_wish_same(w, &out->items[i]) && w->path)
			cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "volume '%s' is asked for twice",
					w->name);
		else if (w->path && out->items[i].path && strcmp(w->path, out->items[i].path) == 0)
			cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					"volumes '%s' and '%s' have the same container path",
					out->items[i].name, w->name);
		else if (!mesos_wish_same(w, &out->items[i]))
			continue;
		const bool refused = w->path;
		wish_done(w);
		return refused ? err->code : CLEAT_OK;
	}
	out->count++;
	return CLEAT_OK;
}

static enum cleat_code too_many(struct cleat_error *err)
{
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "more than %d volumes", CLEAT_MESOS_MAX_VOLUMES);
}

static enum cleat_code add_family(const struct cleat_mesos_request *r, const struct family *f,
				  struct mesos_wishes *out, struct cleat_error *err)
{
	struct slots slots = { 0 };

	if (read_slots(r, f, &slots, err))
		return err->code;
	for (size_t i = 0; i < SLOTS; i++) {
		if (!slots.value[i][WORD_NAME])
			continue;
		if (out->count == CLEAT_MESOS_MAX_VOLUMES)
			return too_many(err);
		if (wish_from_slot(&out->items[out->count], f, slots.value[i], err)) {
			wish_done(&out->items[out->count]);
			return err->code;
		}
		if (keep(r, out, !f->ours, err))
			return err->code;
	}
	return CLEAT_OK;
}

enum cleat_code mesos_wishes_read(const struct cleat_mesos_request *r, struct mesos_wishes *out,
				  struct cleat_error *err)
{
	for (size_t i = 0; i < CLEAT_COUNT(families); i++)
		if (add_family(r, &families[i], out, err))
			return err->code;
	for (size_t i = 0; i < r->volume_count; i++) {
		if (out->count == CLEAT_MESOS_MAX_VOLUMES)
			return too_many(err);
		if (wish_from_volume(&out->items[out->count], &r->volumes[i], err)) {
			wish_done(&out->items[out->count]);
			return err->code;
		}
		if (keep(r, out, false, err))
			return err->code;
	}
	return CLEAT_OK;
}
