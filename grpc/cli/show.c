/* show.c - texts for people: fields, times, sizes, and volumes at length or as rows. */
#include "cli/cli.h"

#include "util/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

const char *cli_safe(const char *text, char buf[CLI_SAFE_BYTES])
{
	size_t n = 0;

	if (cleat_text_is_clean(text, strlen(text))) {
		snprintf(buf, CLI_SAFE_BYTES, "%.*s", cleat_text_cut(text, CLI_SAFE_BYTES - 1), text);
		return buf;
	}
	for (const unsigned char *p = (const unsigned char *)text; *p && n + 5 < CLI_SAFE_BYTES; p++) {
		if (*p >= ' ' && *p < 0x7f)
			buf[n++] = (char)*p;
		else
			n += (size_t)snprintf(buf + n, 5, "\\x%02x", *p);
	}
	buf[n] = '\0';
	return buf;
}

const char *cli_time(int64_t ms, char buf[CLI_TIME_BYTES])
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;

	if (ms <= 0 || !localtime_r(&s, &tm) || !strftime(buf, CLI_TIME_BYTES, "%Y-%m-%d %H:%M:%S", &tm))
		snprintf(buf, CLI_TIME_BYTES, "-");
	return buf;
}

const char *cli_time_iso(int64_t ms, char buf[CLI_TIME_BYTES])
{
	int64_t part = ((ms % 1000) + 1000) % 1000;
	time_t s = (time_t)((ms - part) / 1000);
	char text[CLI_TIME_BYTES - 8];
	struct tm tm;

	if (!gmtime_r(&s, &tm) || !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm))
		snprintf(text, sizeof(text), "1970-01-01T00:00:00");
	snprintf(buf, CLI_TIME_BYTES, "%s.%03dZ", text, (int)part);
	return buf;
}

const char *cli_size(uint64_t bytes, char *buf)
{
	if (bytes == 0) {
		snprintf(buf, CLEAT_SIZE_TEXT_BYTES, "-");
		return buf;
	}
	return cleat_size_format(bytes, buf);
}

void cli_field(const char *name, const char *value)
{
	char safe[CLI_SAFE_BYTES], label[24];

	if (!value || !*value)
		return;
	snprintf(label, sizeof(label), "%s%s", name ? name : "", name ? ":" : "");
	printf("%-15s %s\n", label, cli_safe(value, safe));
}

void cli_fieldf(const char *name, const char *fmt, ...)
{
	char text[CLI_SAFE_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	cli_field(name, text);
}

void cli_field_size(const char *name, uint64_t bytes)
{
	char size[CLEAT_SIZE_TEXT_BYTES];

	cli_fieldf(name, "%s (%" PRIu64 " bytes)", cleat_size_format(bytes, size), bytes);
}

void cli_say(const struct cli *cli, const char *fmt, ...)
{
	char text[CLI_SAFE_BYTES], safe[CLI_SAFE_BYTES];
	va_list args;

	if (cli->v.quiet || cli->v.json)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	printf("%s\n", cli_safe(text, safe));
}

/* ---- volumes ---- */

/* In one word or two: what a list says about a volume. */
static const char *state_of(const Cleat__V1__Volume *v, char buf[32])
{
	if (*v->problem)
		return "broken";
	if (v->stuck_since_ms)
		return "stuck";
	if (v->claim_count == 0)
		return v->staged ? "staged" : "free";
	snprintf(buf, 32, "in use (%u)", v->claim_count);
	return buf;
}

static const struct cli_column volume_columns[] = { { "ID", false },	 { "NAME", false },
						    { "SCOPE", false },	 { "SIZE", true },
						    { "FS", false },	 { "STATE", false },
						    { "CREATED", false } };
static const struct cli_column snapshot_columns[] = { { "ID", false },	   { "NAME", false },
						      { "SCOPE", false },  { "SIZE", true },
						      { "VOLUME", false }, { "GROUP", false },
						      { "CREATED", false } };

struct libscols_table *cli_table_volumes_new(bool snapshots)
{
	return cli_table_new(snapshots ? snapshot_columns : volume_columns, CLEAT_COUNT(volume_columns));
}

void cli_table_volumes(Cleat__V1__Volume *const *volumes, size_t count, struct libscols_table *t,
		       bool snapshots)
{
	for (size_t i = 0; i < count; i++) {
		const Cleat__V1__Volume *v = volumes[i];
		char size[CLEAT_SIZE_TEXT_BYTES], created[CLI_TIME_BYTES], state[32], name[CLI_SAFE_BYTES];
		bool block = v->access_type == CLEAT__V1__ACCESS_TYPE__ACCESS_TYPE_BLOCK;
		snprintf(name, sizeof(name), "%s/%s", v->pool, v->name);
		const char *cells[] = { v->id,
					name,
					v->scope,
					cli_size(v->capacity_bytes, size),
					snapshots ? v->source : (block ? "block" : v->fs),
					snapshots ? v->group : state_of(v, state),
					cli_time(v->created_ms, created) };
		cli_table_row(t, cells, CLEAT_COUNT(cells));
	}
}

/* Maps of the generated code differ in type only. */
#define SHOW_MAP(title, entries, count)                                                                      \
	for (size_t i_ = 0; i_ < (count); i_++)                                                              \
	cli_fieldf(i_ == 0 ? (title) : NULL, "%s = %s", (entries)[i_]->key, (entries)[i_]->value)

static void show_state(const Cleat__V1__Volume *v)
{
	char time[CLI_TIME_BYTES], word[CLI_WORD_BYTES], state[32];

	cli_field("state", state_of(v, state));
	cli_field("problem", v->problem);
	if (v->stuck_since_ms)
		cli_field("stuck since", cli_time(v->stuck_since_ms, time));
	for (size_t i = 0; i < v->n_attachments; i++)
		cli_fieldf("attached to", "%s, %s%s", v->attachments[i]->node,
			   cli_word(&cleat__v1__access_mode__descriptor, (int)v->attachments[i]->mode, word),
			   v->attachments[i]->read_only ? ", read-only" : "");
}

void cli_show_volume(const Cleat__V1__Volume *v, bool snapshot)
{
	char time[CLI_TIME_BYTES], word[CLI_WORD_BYTES];

	cli_field("id", v->id);
	cli_fieldf("name", "%s/%s", v->pool, v->name);
	cli_field("scope", v->scope);
	if (v->capacity_bytes)
		cli_field_size("size", v->capacity_bytes);
	else
		cli_field("size", "not enforced");
	cli_field("access", cli_word(&cleat__v1__access_type__descriptor, (int)v->access_type, word));
	cli_field("file system", v->fs);
	cli_field(snapshot ? "snapshot of" : "made from", v->source);
	cli_field("group", v->group);
	cli_field("adopted", v->adopted ? "yes" : NULL);
	cli_field("created", cli_time(v->created_ms, time));
	if (!snapshot)
		show_state(v);
	SHOW_MAP("parameters", v->params, v->n_params);
	SHOW_MAP("labels", v->labels, v->n_labels);
	SHOW_MAP("attributes", v->attributes, v->n_attributes);
}
