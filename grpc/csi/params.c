/* params.c - the parameters of classes and volume specifications. */
#include "csi/internal.h"

#include <stdio.h>
#include <string.h>

void csi_params_done(struct csi_params *p)
{
	cleat_kv_done(&p->params);
	cleat_kv_done(&p->labels);
}

/* What a sidecar with --extra-create-metadata says becomes a label for people: "pvc/name" is
 * "kubernetes.pvc.name".  What else Kubernetes adds is for its own parts. */
static enum cleat_code take_kubernetes(const char *rest, const char *value, struct cleat_kvs *labels,
				       struct cleat_error *err)
{
	static const char *const known[] = { "pvc/name",
					     "pvc/namespace",
					     "pv/name",
					     "volumesnapshot/name",
					     "volumesnapshot/namespace",
					     "volumesnapshotcontent/name",
					     "volumegroupsnapshot/name",
					     "volumegroupsnapshot/namespace",
					     "volumegroupsnapshotcontent/name" };
	char label[64];

	for (size_t i = 0; i < CLEAT_COUNT(known); i++) {
		if (strcmp(rest, known[i]) != 0)
			continue;
		snprintf(label, sizeof(label), "kubernetes.%s", rest);
		*strchr(label, '/') = '.';
		return cleat_kv_set(labels, label, value, err);
	}
	return CLEAT_OK;
}

static enum cleat_code take_bool(const char *key, const char *value, bool *out, struct cleat_error *err)
{
	*out = strcmp(value, "true") == 0;
	if (*out || strcmp(value, "false") == 0)
		return CLEAT_OK;
	return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "parameter '%s' is neither 'true' nor 'false'",
			       key);
}

static enum cleat_code take_one(const struct cleat_kv *kv, struct csi_params *out, struct cleat_error *err)
{
	const size_t prefix = strlen(CSI_KUBERNETES_PREFIX);

	if (strncmp(kv->key, CSI_KUBERNETES_PREFIX, prefix) == 0)
		return take_kubernetes(kv->key + prefix, kv->value, &out->labels, err);
	if (strcmp(kv->key, "pool") == 0) {
		out->pool = kv->value;
		return CLEAT_OK;
	}
	if (strcmp(kv->key, "hard_size") == 0)
		return take_bool(kv->key, kv->value, &out->hard_size, err);
	return cleat_kv_set(&out->params, kv->key, kv->value, err);
}

enum cleat_code csi_params_take(ProtobufCMessage **entries, size_t n, struct csi_params *out,
				struct cleat_error *err)
{
	struct cleat_wire_kvs all;

	out->pool = "";
	if (cleat_wire_kvs(entries, n, "parameters", &all, err))
		return err->code;
	for (size_t i = 0; i < all.kvs.count; i++)
		if (take_one(&all.kvs.items[i], out, err))
			return err->code;
	return CLEAT_OK;
}

static const struct cleat_param *find(const struct cleat_param *table, const char *key)
{
	for (; table && table->key; table++)
		if (strcmp(table->key, key) == 0)
			return table;
	return NULL;
}

bool csi_is_changeable(const char *backend, const char *key)
{
	const struct cleat_backend *b = cleat_backend_find(backend);
	const struct cleat_param *p = b ? find(b->volume_params, key) : NULL;

	if (!p)
		p = find(cleat_param_common, key);
	return p && p->changeable;
}

enum cleat_code csi_params_take_mutable(ProtobufCMessage **entries, size_t n, const char *backend,
					struct cleat_kvs *params, struct cleat_error *err)
{
	struct cleat_wire_kvs all;

	if (cleat_wire_kvs(entries, n, "mutable_parameters", &all, err))
		return err->code;
	for (size_t i = 0; i < all.kvs.count; i++) {
		const struct cleat_kv *kv = &all.kvs.items[i];

		if (strncmp(kv->key, CSI_KUBERNETES_PREFIX, strlen(CSI_KUBERNETES_PREFIX)) == 0)
			continue;
		if (!csi_is_changeable(backend, kv->key))
			return cleat_error_set(
				err, CLEAT_INVALID_ARGUMENT,
				"mutable parameter '%s': not one that volumes of backend '%s' can change",
				kv->key, backend);
		if (cleat_kv_set(params, kv->key, kv->value, err))
			return err->code;
	}
	return CLEAT_OK;
}

enum cleat_code csi_params_take_snapshot(ProtobufCMessage **entries, size_t n, struct csi_params *out,
					 struct cleat_error *err)
{
	if (csi_params_take(entries, n, out, err))
		return err->code;
	if (out->pool[0] || out->hard_size || out->params.count)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "snapshots take no parameter '%s'",
				       out->params.count ? out->params.items[0].key
				       : out->pool[0]	 ? "pool"
							 : "hard_size");
	return CLEAT_OK;
}

const char *csi_map_get(ProtobufCMessage **entries, size_t n, const char *key)
{
	const char *value = NULL;

	for (size_t i = 0; i < n; i++) {
		const ProtobufCFieldDescriptor *f = entries[i]->descriptor->fields;
		const char *at = (const char *)entries[i];

		if (strcmp(*(char *const *)(const void *)(at + f[0].offset), key) == 0)
			value = *(char *const *)(const void *)(at + f[1].offset); /* the last one counts */
	}
	return value;
}
