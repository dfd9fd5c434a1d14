/* xml.c - see xml.h; libxml2 below. */
#include "http/xml.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void set_up(void)
{
	xmlInitParser();
}

static const xmlNode *to_xml(const struct cleat_xml_node *node)
{
	return (const xmlNode *)(const void *)node;
}

static const struct cleat_xml_node *from_xml(const xmlNode *node)
{
	return (const struct cleat_xml_node *)(const void *)node;
}

enum cleat_code cleat_xml_parse(const char *bytes, size_t n, struct cleat_xml **out, struct cleat_error *err)
{
	pthread_once(&once, set_up);
	xmlParserCtxt *ctxt = xmlNewParserCtxt();
	if (!ctxt || n > INT_MAX) {
		xmlFreeParserCtxt(ctxt);
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	}
	/* Limits of depth and size are libxml2's own, which stay on without XML_PARSE_HUGE. */
	xmlDoc *doc = xmlCtxtReadMemory(ctxt, bytes, (int)n, NULL, NULL,
					XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING |
						XML_PARSE_NOBLANKS | XML_PARSE_NOCDATA | XML_PARSE_COMPACT);
	xmlFreeParserCtxt(ctxt);
	if (!doc || !xmlDocGetRootElement(doc) || xmlGetIntSubset(doc)) {
		const bool has_dtd = doc && xmlGetIntSubset(doc);
		xmlFreeDoc(doc);
		return cleat_error_set(err, CLEAT_INTERNAL,
				       has_dtd ? "an XML answer with a document type is not read"
					       : "the answer is no XML");
	}
	*out = (struct cleat_xml *)(void *)doc;
	return CLEAT_OK;
}

void cleat_xml_free(struct cleat_xml *doc)
{
	if (doc)
		xmlFreeDoc((xmlDoc *)(void *)doc);
}

const struct cleat_xml_node *cleat_xml_root(const struct cleat_xml *doc)
{
	return from_xml(xmlDocGetRootElement((const xmlDoc *)(const void *)doc));
}

const char *cleat_xml_name(const struct cleat_xml_node *node)
{
	return (const char *)to_xml(node)->name;
}

static const xmlNode *find(const xmlNode *from, const char *name, size_t n)
{
	for (; from; from = from->next)
		if (from->type == XML_ELEMENT_NODE && strncmp((const char *)from->name, name, n) == 0 &&
		    !from->name[n])
			return from;
	return NULL;
}

const struct cleat_xml_node *cleat_xml_child(const struct cleat_xml_node *parent, const char *path)
{
	const xmlNode *at = to_xml(parent);

	while (at && *path) {
		const size_t n = strcspn(path, "/");
		at = find(at->children, path, n);
		path += n + (path[n] == '/');
	}
	return from_xml(at);
}

const struct cleat_xml_node *cleat_xml_next(const struct cleat_xml_node *node)
{
	const xmlNode *n = to_xml(node);

	return n ? from_xml(find(n->next, (const char *)n->name, strlen((const char *)n->name))) : NULL;
}

const char *cleat_xml_text(const struct cleat_xml_node *node)
{
	const xmlNode *n = to_xml(node);

	if (!n || !n->children || n->children->next || n->children->type != XML_TEXT_NODE ||
	    !n->children->content)
		return "";
	return (const char *)n->children->content;
}

const char *cleat_xml_get(const struct cleat_xml_node *parent, const char *path)
{
	return cleat_xml_text(cleat_xml_child(parent, path));
}
