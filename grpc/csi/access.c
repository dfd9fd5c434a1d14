/* access.c - volume capabilities: what a CO wants to do with a volume, and whether that is possible. */
#include "csi/internal.h"

#include "util/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAME(wire, ours) _Static_assert((int)(wire) == (int)(ours), #ours)
#define MODE(name) SAME(CSI__V1__VOLUME_CAPABILITY__ACCESS_MODE__MODE__##name, CLEAT_MODE_##name)
MODE(UNKNOWN);
MODE(SINGLE_NODE_WRITER);
MODE(SINGLE_NODE_READER_ONLY);
MODE(MULTI_NODE_READER_ONLY);
MODE(MULTI_NODE_SINGLE_WRITER);
MODE(MULTI_NODE_MULTI_WRITER);
MODE(SINGLE_NODE_SINGLE_WRITER);
MODE(SINGLE_NODE_MULTI_WRITER);

static const char *const mode_names[] = {
	[CLEAT_MODE_MULTI_NODE_READER_ONLY] = "MULTI_NODE_READER_ONLY",
	[CLEAT_MODE_MULTI_NODE_SINGLE_WRITER] = "MULTI_NODE_SINGLE_WRITER",
	[CLEAT_MODE_MULTI_NODE_MULTI_WRITER] = "MULTI_NODE_MULTI_WRITER",
};

void csi_access_done(struct csi_access *a)
{
	cleat_kv_done(&a->flags);
}

/* ---- taking ---- */

/* "noatime", "commit=30"; several in one text, separated by commas, as people write them. */
static enum cleat_code take_flag(const char *flag, struct cleat_kvs *out, struct cleat_error *err)
{
	char text[CSI_FLAGS_MAX_BYTES + 1];
	char *save = NULL;

	snprintf(text, sizeof(text), "%s", flag);
	for (char *word = strtok_r(text, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		char *value = strchr(word, '=');

		if (value)
			*value++ = '\0';
		/* The engine's own words would name the value. */
		if (cleat_kv_set(out, word, value ? value : "", NULL))
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "mount_flags: more than %d, or one that is not acceptable",
					       CLEAT_KV_MAX);
	}
	return CLEAT_OK;
}

static enum cleat_code take_mount(const Csi__V1__VolumeCapability__MountVolume *mount, struct csi_access *out,
				  struct cleat_error *err)
{
	size_t total = 0;

	out->fs = mount->fs_type;
	if (strlen(out->fs) > CSI_TEXT_MAX_BYTES)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "fs_type is longer than %d bytes",
				       CSI_TEXT_MAX_BYTES);
	if (mount->volume_mount_group[0])
		return cleat_error_set(
			err, CLEAT_INVALID_ARGUMENT,
			"volume_mount_group: this plugin does not have VOLUME_MOUNT_GROUP; use the "
			"parameters uid, gid and mode");
	for (size_t i = 0; i < mount->n_mount_flags; i++) {
		total += strlen(mount->mount_flags[i]);
		if (total > CSI_FLAGS_MAX_BYTES)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "mount_flags: more than %d bytes",
					       CSI_FLAGS_MAX_BYTES);
		if (take_flag(mount->mount_flags[i], &out->flags, err))
			return err->code;
	}
	return CLEAT_OK;
}

enum cleat_code csi_access_take(const Csi__V1__VolumeCapability *cap, struct csi_access *out,
				struct cleat_error *err)
{
	out->fs = "";
	if (!cap)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "volume_capability is missing");
	if (!cap->access_mode || (int)cap->access_mode->mode <= 0 ||
	    (int)cap->access_mode->mode > CLEAT_MODE_SINGLE_NODE_MULTI_WRITER)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "volume_capability: access_mode is missing or not known");
	out->mode = (enum cleat_access_mode)cap->access_mode->mode;
	switch (cap->access_type_case) {
	case CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_BLOCK:
		out->type = CLEAT_ACCESS_BLOCK;
		return CLEAT_OK;
	case CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_MOUNT:
		out->type = CLEAT_ACCESS_MOUNT;
		return take_mount(cap->mount, out, err);
	default:
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "volume_capability: neither mount nor block");
	}
}

/* ---- judging ---- */

static bool is_multi_node(enum cleat_access_mode mode)
{
	return mode == CLEAT_MODE_MULTI_NODE_READER_ONLY || mode == CLEAT_MODE_MULTI_NODE_SINGLE_WRITER ||
	       mode == CLEAT_MODE_MULTI_NODE_MULTI_WRITER;
}

enum cleat_code csi_access_possible(const struct cleat_csi *c, const struct csi_access *a,
				    const struct cleat_pool_state *pool, enum cleat_code code,
				    struct cleat_error *err)
{
	const bool known = pool->capabilities != 0; /* 0: never opened */

	if (known && a->type == CLEAT_ACCESS_BLOCK && !(pool->capabilities & CLEAT_CAN_BLOCK))
		return cleat_error_set(err, code, "pool '%s' (%s) cannot give block access", pool->name,
				       pool->backend);
	if (known && a->type == CLEAT_ACCESS_MOUNT && !(pool->capabilities & CLEAT_CAN_MOUNT))
		return cleat_error_set(err, code, "pool '%s' (%s) cannot give mount access", pool->name,
				       pool->backend);
	if (!is_multi_node(a->mode) || pool->shared || (pool->capabilities & CLEAT_CAN_MULTI_NODE) ||
	    c->local_multi_node)
		return CLEAT_OK;
	return cleat_error_set(
		err, code,
		"access mode %s: pool '%s' is on this node only; tasks of one node share a volume with "
		"SINGLE_NODE_MULTI_WRITER or SINGLE_NODE_READER_ONLY, or the operator sets "
		"csi.local_multi_node",
		mode_names[a->mode], pool->name);
}

enum cleat_code csi_access_fits(const struct csi_access *a, const struct cleat_volume_state *v,
				enum cleat_code code, struct cleat_error *err)
{
	const struct cleat_record *rec = v->record;

	if (a->type != rec->access_type)
		return cleat_error_set(err, code, "volume '%s' is for %s access", v->id,
				       rec->access_type == CLEAT_ACCESS_BLOCK ? "block" : "mount");
	if (a->type == CLEAT_ACCESS_BLOCK)
		return CLEAT_OK;
	if (a->fs[0] && strcmp(a->fs, rec->fs) != 0)
		return cleat_error_set(err, code, "volume '%s' has %s%s, not '%s'", v->id,
				       rec->fs[0] ? "the file system " : "no file system of its own", rec->fs,
				       a->fs);
	return cleat_volume_check_mount_options(rec->fs, &a->flags, err);
}

enum cleat_code csi_access_check(struct cleat_csi *c, const struct csi_access *a,
				 const struct cleat_volume_state *v, enum cleat_code code,
				 struct cleat_error *err)
{
	struct cleat_pool_state pool;

	if (cleat_pool_get(c->engine, v->pool, &pool, err) || csi_access_possible(c, a, &pool, code, err))
		return err->code;
	return csi_access_fits(a, v, code, err);
}

/* ---- failing ---- */

#define SHOWN_BYTES 40 /* the engine cuts longer values */

/* 'value' becomes '***' wherever it stands in quotes, cut or not. */
static void hide(char *msg, const char *value)
{
	const bool cut = strlen(value) > SHOWN_BYTES;
	char quoted[SHOWN_BYTES + 3];
	size_t n;

	snprintf(quoted, sizeof(quoted), "'%.*s%s", cleat_text_cut(value, SHOWN_BYTES), value,
		 cut ? "" : "'");
	n = strlen(quoted);
	for (char *at = msg; (at = strstr(at, quoted)); at += strlen("'***'")) {
		char rest[CLEAT_ERROR_TEXT_BYTES];
		const char *end = cut ? strchr(at + n, '\'') : at + n - 1;

		snprintf(rest, sizeof(rest), "'***'%s", end ? end + 1 : "");
		snprintf(at, (size_t)(msg + CLEAT_ERROR_TEXT_BYTES - at), "%s", rest);
	}
}

void csi_fail_quietly(struct cleat_rpc_call *call, const struct csi_access *a, const struct cleat_error *err)
{
	static const char *const instead = "(not logged: the text names mount options)";
	struct cleat_error shown = *err;
	struct cleat_pending *p = cleat_rpc_call_data(call);

	for (size_t i = 0; i < a->flags.count; i++)
		if (a->flags.items[i].value[0])
			hide(shown.msg, a->flags.items[i].value);
	if (strstr(err->msg, "option") || strstr(err->msg, "mount_flags")) {
		if (!p)
			p = cleat_pending_new(call, sizeof(*p), NULL, NULL, NULL);
		if (!p)
			return; /* answered */
		p->note.text = instead;
	}
	cleat_rpc_call_fail_error(call, &shown);
}
