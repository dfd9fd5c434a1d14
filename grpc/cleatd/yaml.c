/* yaml.c - see yaml.h.  A loop over libyaml's events with a stack of open nodes: no recursion on outside
 * input. */
#include "cleatd/yaml.h"

#include "util/mem.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reader {
	struct cleatd_report *report;
	struct cleatd_yaml *root;
	struct cleatd_yaml *open[CLEATD_YAML_MAX_DEPTH];
	struct cleatd_yaml **tail[CLEATD_YAML_MAX_DEPTH]; /* where the next child of open[i] goes */
	unsigned depth, nodes;
	char *key; /* of the map entry whose value comes next; owned */
	unsigned key_line;
	bool skip_key;		     /* the key was a duplicate: its value is read and dropped */
	struct cleatd_yaml *dropped; /* such values; owned */
};

void cleatd_yaml_free(struct cleatd_yaml *node)
{
	while (node) {
		struct cleatd_yaml *next = node->next;

		cleatd_yaml_free(node->first); /* at most CLEATD_YAML_MAX_DEPTH deep */
		free(node->key);
		free(node->text);
		free(node);
		node = next;
	}
}

static bool bad(struct reader *r, unsigned line, const char *text)
{
	cleatd_report_add(r->report, line, "%s", text);
	return false;
}

static unsigned line_of(const yaml_event_t *ev)
{
	return (unsigned)ev->start_mark.line + 1;
}

static bool in_map(const struct reader *r)
{
	return r->depth > 0 && r->open[r->depth - 1]->kind == CLEATD_YAML_MAP;
}

/* Puts a node where it belongs: below the innermost open one, or at the root. */
static void attach(struct reader *r, struct cleatd_yaml *node)
{
	if (r->key) {
		node->key = cleat_steal(r->key);
		node->line = r->key_line;
	}
	if (r->skip_key) {
		node->next = r->dropped;
		r->dropped = node;
	} else if (r->depth == 0) {
		r->root = node;
	} else {
		*r->tail[r->depth - 1] = node;
		r->tail[r->depth - 1] = &node->next;
	}
	r->skip_key = false;
}

static struct cleatd_yaml *add(struct reader *r, enum cleatd_yaml_kind kind, unsigned line)
{
	struct cleatd_yaml *node;

	if (++r->nodes > CLEATD_YAML_MAX_NODES) {
		bad(r, line, "too many entries");
		return NULL;
	}
	node = calloc(1, sizeof(*node));
	if (!node) {
		bad(r, line, "out of memory");
		return NULL;
	}
	node->kind = kind;
	node->line = line;
	attach(r, node);
	return node;
}

static char *copy_text(struct reader *r, const yaml_event_t *ev)
{
	const char *value = (const char *)ev->data.scalar.value;
	size_t n = ev->data.scalar.length;
	char *text;

	if (memchr(value, '\0', n)) {
		bad(r, line_of(ev), "a NUL character is not allowed");
		return NULL;
	}
	text = strndup(value, n);
	if (!text)
		bad(r, line_of(ev), "out of memory");
	return text;
}

static bool take_key(struct reader *r, const yaml_event_t *ev)
{
	r->key = copy_text(r, ev);
	r->key_line = line_of(ev);
	if (!r->key)
		return false;
	if (++r->nodes > CLEATD_YAML_MAX_NODES)
		return bad(r, r->key_line, "too many entries");
	for (const struct cleatd_yaml *c = r->open[r->depth - 1]->first; c; c = c->next) {
		if (strcmp(c->key, r->key) != 0)
			continue;
		cleatd_report_add(r->report, r->key_line, "'%s' is given twice, first in line %u", r->key,
				  c->line);
		r->skip_key = true;
		break;
	}
	return true;
}

static bool is_empty(const yaml_event_t *ev, const char *text)
{
	return ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (!*text || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static bool take_scalar(struct reader *r, const yaml_event_t *ev)
{
	struct cleatd_yaml *node;
	char *text;

	if (ev->data.scalar.anchor || ev->data.scalar.tag)
		return bad(r, line_of(ev), "anchors and tags are not supported");
	if (in_map(r) && !r->key)
		return take_key(r, ev);
	text = copy_text(r, ev);
	if (!text)
		return false;
	node = add(r, CLEATD_YAML_SCALAR, line_of(ev));
	if (!node) {
		free(text);
		return false;
	}
	node->text = text;
	node->empty = is_empty(ev, text);
	return true;
}

static bool take_open(struct reader *r, const yaml_event_t *ev, enum cleatd_yaml_kind kind, bool decorated)
{
	struct cleatd_yaml *node;

	if (decorated)
		return bad(r, line_of(ev), "anchors and tags are not supported");
	if (in_map(r) && !r->key)
		return bad(r, line_of(ev), "a key must be text");
	if (r->depth == CLEATD_YAML_MAX_DEPTH)
		return bad(r, line_of(ev), "nested too deeply");
	node = add(r, kind, line_of(ev));
	if (!node)
		return false;
	r->open[r->depth] = node;
	r->tail[r->depth++] = &node->first;
	return true;
}

static bool take_document(struct reader *r, const yaml_event_t *ev)
{
	return !r->root || bad(r, line_of(ev), "a second document is not supported");
}

/* False: stop reading, something that cannot be skipped was reported. */
static bool take(struct reader *r, const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		return take_document(r, ev);
	case YAML_SCALAR_EVENT:
		return take_scalar(r, ev);
	case YAML_MAPPING_START_EVENT:
		return take_open(r, ev, CLEATD_YAML_MAP,
				 ev->data.mapping_start.anchor || ev->data.mapping_start.tag);
	case YAML_SEQUENCE_START_EVENT:
		return take_open(r, ev, CLEATD_YAML_LIST,
				 ev->data.sequence_start.anchor || ev->data.sequence_start.tag);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		r->depth--;
		return true;
	case YAML_ALIAS_EVENT:
		return bad(r, line_of(ev), "aliases are not supported");
	default:
		return true;
	}
}

static bool syntax_error(struct reader *r, const yaml_parser_t *p)
{
	unsigned line = (unsigned)p->problem_mark.line + 1;

	if (p->error == YAML_READER_ERROR) /* bytes that are no text: libyaml knows the offset only */
		cleatd_report_add(r->report, line, "%s at byte %zu", p->problem ? p->problem : "not text",
				  p->problem_offset);
	else if (p->context)
		cleatd_report_add(r->report, line, "%s, %s", p->context,
				  p->problem ? p->problem : "not YAML");
	else
		cleatd_report_add(r->report, line, "%s", p->problem ? p->problem : "not YAML");
	return false;
}

static bool read_events(struct reader *r, yaml_parser_t *p)
{
	for (;;) {
		yaml_event_t ev;
		bool end, go_on;

		if (!yaml_parser_parse(p, &ev))
			return syntax_error(r, p);
		end = ev.type == YAML_STREAM_END_EVENT;
		go_on = end || take(r, &ev);
		yaml_event_delete(&ev);
		if (end || !go_on)
			return go_on;
	}
}

struct cleatd_yaml *cleatd_yaml_parse(const char *bytes, size_t n, struct cleatd_report *report)
{
	struct reader r = { .report = report };
	yaml_parser_t p;

	if (n > CLEATD_YAML_MAX_BYTES) {
		cleatd_report_add(report, 0, "larger than %u KiB", CLEATD_YAML_MAX_BYTES >> 10);
		return NULL;
	}
	if (!yaml_parser_initialize(&p)) {
		cleatd_report_add(report, 0, "out of memory");
		return NULL;
	}
	yaml_parser_set_input_string(&p, (const unsigned char *)bytes, n);
	if (!read_events(&r, &p)) {
		cleatd_yaml_free(r.root);
		r.root = NULL;
	}
	yaml_parser_delete(&p);
	free(r.key);
	cleatd_yaml_free(r.dropped);
	return r.root;
}
