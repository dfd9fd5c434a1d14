/* xml.h - reading XML answers: a bounded document, elements found by local name, no DTD, no entities from
 * outside, no network. */
#ifndef CLEAT_HTTP_XML_H
#define CLEAT_HTTP_XML_H

#include <cleat/error.h>
#include <stddef.h>

struct cleat_xml;      /* a document */
struct cleat_xml_node; /* an element, valid as long as its document */

/* INTERNAL when the n bytes are not well-formed; a document type declaration is refused. */
enum cleat_code cleat_xml_parse(const char *bytes, size_t n, struct cleat_xml **out,
				struct cleat_error *err) CLEAT_MUST_CHECK;
void cleat_xml_free(struct cleat_xml *doc);
static inline void cleat_xml_cleanup(struct cleat_xml **doc)
{
	cleat_xml_free(*doc);
}
#define cleat_autoxml __attribute__((cleanup(cleat_xml_cleanup)))

const struct cleat_xml_node *cleat_xml_root(const struct cleat_xml *doc);
const char *cleat_xml_name(const struct cleat_xml_node *node); /* without its prefix */
/* The first child of that name ("a/b": of a child of a child); NULL: none.  parent may be NULL. */
const struct cleat_xml_node *cleat_xml_child(const struct cleat_xml_node *parent, const char *path);
/* The next sibling of the same name; NULL: none. */
const struct cleat_xml_node *cleat_xml_next(const struct cleat_xml_node *node);
/* The text of an element without children, or "" (also for NULL).  Borrowed from the document. */
const char *cleat_xml_text(const struct cleat_xml_node *node);
/* cleat_xml_text() of cleat_xml_child(). */
const char *cleat_xml_get(const struct cleat_xml_node *parent, const char *path);

#endif
