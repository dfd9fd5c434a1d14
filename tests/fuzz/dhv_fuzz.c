/* dhv_fuzz.c - whatever stands in a volume specification, in the file beside cleat-dhv or in one of its
 * records is understood or refused in words; what is understood is the same when it is written and read
 * again. */
#include "fuzz.h"

#include "dhv/record.h"
#include "dhv/request.h"
#include "dhv/settings.h"
#include "dhv/wish.h"

#include <stdlib.h>
#include <string.h>

#include "util/kv.h"
#include "util/mem.h"

/* A refusal says something. */
static void check(const struct cleat_error *err)
{
	if (err->code && !err->msg[0])
		abort();
}

static void try_params(const char *text)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	cleat_autokvs struct cleat_kvs kvs = { 0 };
	struct dhv_wish wish;

	if (dhv_params_read(text, &kvs, &err) == CLEAT_OK &&
	    dhv_wish_read(&kvs, NULL, &wish, &err) == CLEAT_OK)
		dhv_wish_done(&wish);
	check(&err);
}

static void try_settings(const char *text, size_t n)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct dhv_settings s;

	if (dhv_settings_parse(text, n, &s, &err) == CLEAT_OK) {
		if (s.socket[0] != '/')
			abort();
		dhv_settings_done(&s);
	}
	check(&err);
}

static void try_record(const char *text, size_t n)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct dhv_record rec, again;

	if (dhv_record_parse(text, n, &rec, &err) == CLEAT_OK) {
		cleat_autofree char *written = dhv_record_format(&rec);

		if (!written || dhv_record_parse(written, strlen(written), &again, &err) ||
		    strcmp(again.path, rec.path) != 0 || again.bytes != rec.bytes ||
		    !cleat_kv_equal(&again.params, &rec.params))
			abort();
		dhv_record_done(&again);
		dhv_record_done(&rec);
	}
	check(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	cleat_autofree char *text = malloc(n + 1);

	if (!text)
		return 0;
	memcpy(text, data, n);
	text[n] = '\0';
	try_params(text); /* to the first NUL, as from the environment */
	try_settings(text, n);
	try_record(text, n);
	return 0;
}
