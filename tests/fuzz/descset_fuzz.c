/* descset_fuzz.c - arbitrary bytes as a descriptor set, and arbitrary names looked up in it. */
#include "fuzz.h"

#include "rt/descset.h"
#include "util/mem.h"

#include <stdlib.h>
#include <string.h>

/* The first line is the name, the rest the set. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const uint8_t *end = n ? memchr(data, '\n', n) : NULL;
	struct cleat_span set, file = { NULL, 0 };

	if (!end)
		return 0;
	cleat_autofree char *name = strndup((const char *)data, (size_t)(end - data));
	set = (struct cleat_span){ end + 1, n - (size_t)(end + 1 - data) };
	cleat_descset_valid(set);
	if (cleat_descset_file(set, name, &file) && (file.p < set.p || file.p + file.n > set.p + set.n))
		abort();
	if (cleat_descset_symbol(set, name, &file) && (file.p < set.p || file.p + file.n > set.p + set.n))
		abort();
	return 0;
}
