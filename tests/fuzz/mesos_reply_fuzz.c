/* mesos_reply_fuzz.c - the answer of cleat-mesos from any bytes: read or refused, and what was read is whole. */
#include "fuzz.h"

#include "module/reply.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mesos_reply r;

	if (mesos_reply_read((const char *)data, size, &r, NULL) == CLEAT_OK) {
		if (!r.ok && (!r.err.code || !*r.err.msg))
			abort();
		for (size_t i = 0; i < r.paths.count; i++)
			if (strlen(r.paths.items[i]) > size)
				abort();
	}
	mesos_reply_done(&r);
	return 0;
}
