/* request.c - from what people write to what the API takes: names, references, maps. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *cli_scratch(struct cli *cli, size_t bytes)
{
	void *p = cleat_pb_arena_get(&cli->scratch, bytes);

	if (!p) {
		fprintf(stderr, "cleat: out of memory\n");
		exit(CLI_EXIT_FAILURE);
	}
	return memset(p, 0, bytes);
}

char *cli_text(char *text)
{
	static char empty[1];

	return text ? text : empty;
}

/* Where entry's field of that name lies: generated map entries all have `key` and `value`. */
static char **entry_field(void *entry, const ProtobufCMessageDescriptor *d, const char *name)
{
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(d, name);

	return (char **)(void *)((char *)entry + f->offset);
}

void *cli_map(struct cli *cli, const struct cleat_kvs *kvs, const ProtobufCMessageDescriptor *d,
	      size_t *count_out)
{
	ProtobufCMessage **entries = cli_scratch(cli, (kvs->count + 1) * sizeof(*entries));

	for (size_t i = 0; i < kvs->count; i++) {
		entries[i] = cli_scratch(cli, d->sizeof_message);
		d->message_init(entries[i]);
		*entry_field(entries[i], d, "key") = kvs->items[i].key;
		*entry_field(entries[i], d, "value") = kvs->items[i].value;
	}
	*count_out = kvs->count;
	return entries;
}

static char *joined(struct cli *cli, const char *first, size_t first_len, const char *second)
{
	size_t bytes = first_len + strlen(second) + 2;
	char *text = cli_scratch(cli, bytes);

	snprintf(text, bytes, "%.*s/%s", (int)first_len, first, second);
	return text;
}

enum cleat_code cli_place(struct cli *cli, char *arg, char **pool_out, char **name_out,
			  struct cleat_error *err)
{
	char *slash = strchr(arg, '/');

	*pool_out = cli_text(cli->v.pool);
	*name_out = arg;
	if (!slash)
		return CLEAT_OK;
	size_t n = (size_t)(slash - arg);
	char *pool = cli_scratch(cli, n + 1);
	memcpy(pool, arg, n);
	if (n == 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%s' is not POOL/NAME", arg);
	if (cli->v.pool && strcmp(cli->v.pool, pool) != 0)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%s' and --pool '%s' name two pools",
				       arg, cli->v.pool);
	*pool_out = pool;
	*name_out = slash + 1;
	return CLEAT_OK;
}

enum cleat_code cli_ref(struct cli *cli, char *arg, char **ref_out, struct cleat_error *err)
{
	Cleat__V1__GetInfoRequest req = CLEAT__V1__GET_INFO_REQUEST__INIT;
	cleat_autopb Cleat__V1__GetInfoResponse *info = NULL;

	*ref_out = arg;
	if (strpbrk(arg, "/.") || !*arg)
		return CLEAT_OK;
	if (cli_read(cli, "GetInfo", &req.base, &info, err) != CLEAT_OK)
		return err->code;
	if (!*info->default_pool)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "no pool is the default one: write POOL/%s", arg);
	*ref_out = joined(cli, info->default_pool, strlen(info->default_pool), arg);
	return CLEAT_OK;
}
