/* yaml.h - reads one YAML document into a small tree that remembers line numbers.
 *
 * Only what a configuration needs: mappings with scalar keys, sequences, scalars.  Anchors, aliases, tags, a
 * second document and duplicate keys are errors; depth, size and the number of nodes are limited.  Knows no
 * key of cleatd.
 */
#ifndef CLEATD_YAML_H
#define CLEATD_YAML_H

#include "cleatd/report.h"

#include <stddef.h>

#define CLEATD_YAML_MAX_BYTES (256u << 10)
#define CLEATD_YAML_MAX_DEPTH 8
#define CLEATD_YAML_MAX_NODES 10000

enum cleatd_yaml_kind {
	CLEATD_YAML_SCALAR,
	CLEATD_YAML_MAP,
	CLEATD_YAML_LIST,
};

struct cleatd_yaml {
	struct cleatd_yaml *next;  /* sibling, in the order of the file */
	struct cleatd_yaml *first; /* children of a map or list; owned, with the siblings */
	enum cleatd_yaml_kind kind;
	unsigned line; /* of a map's entry: where its key is */
	char *key;     /* in a map; owned */
	char *text;    /* of a scalar, without a NUL inside; owned */
	bool empty;    /* a plain scalar without text or "~" or "null": "key:" with nothing behind it */
};

/* Parses n bytes; errors go to the report.  A tree comes back also when keys were given twice (the first one
 * is kept), so that the rest can be checked too.  NULL: not readable at all, or an empty document. */
struct cleatd_yaml *cleatd_yaml_parse(const char *bytes, size_t n, struct cleatd_report *report);
void cleatd_yaml_free(struct cleatd_yaml *node); /* with children and siblings; NULL is fine */

static inline void cleatd_cleanup_yaml(struct cleatd_yaml **node)
{
	cleatd_yaml_free(*node);
}
#define cleatd_autoyaml __attribute__((cleanup(cleatd_cleanup_yaml)))

#endif
