/* driver_attributes_test.c - what the node is told: values, what is gone, what finds no place. */
#include "driver/attributes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rt/pb.h"

static struct driver_attributes set; /* large */

static int set_up(void **state)
{
	(void)state;
	memset(&set, 0, sizeof(set));
	driver_attributes_begin(&set);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	driver_attributes_done(&set);
	return 0;
}

static char *text(const char *t)
{
	union {
		const char *from;
		char *to;
	} u = { .from = t };

	return u.to;
}

/* As the host reads it: NULL when the message has no such key. */
static char *told(const char *key)
{
	size_t n = 0;
	unsigned char *bytes =
		driver_attributes_pack(&set, NOMAD__FINGERPRINT_RESPONSE__HEALTH_STATE__HEALTHY, "fine", &n);
	cleat_autopb ProtobufCMessage *m = NULL;
	char *value = NULL;

	assert_non_null(bytes);
	assert_int_equal(
		cleat_pb_unpack(&nomad__fingerprint_response__descriptor, bytes, n, 1 << 22, &m, NULL),
		CLEAT_OK);
	const Nomad__FingerprintResponse *r = (Nomad__FingerprintResponse *)m;
	assert_string_equal(r->health_description, "fine");
	for (size_t i = 0; i < r->n_attributes; i++)
		if (strcmp(r->attributes[i]->key, key) == 0)
			value = strdup(r->attributes[i]->value->string_val);
	free(bytes);
	return value;
}

static void expect(const char *key, const char *value)
{
	char *is = told(key);

	if (!is || !value) {
		assert_ptr_equal(is, value);
		return;
	}
	assert_string_equal(is, value);
	free(is);
}

static void test_attributes__what_is_gone_is_said(void **state)
{
	(void)state;
	driver_attribute_set(&set, "a", "1");
	driver_attribute_set(&set, "b", "2");
	expect("a", "1");
	driver_attributes_begin(&set);
	driver_attribute_set(&set, "b", "3");
	expect("a", "");
	expect("b", "3");
	driver_attributes_begin(&set);
	driver_attribute_set(&set, "a", "4");
	expect("a", "4");
	expect("b", "");
	expect("c", NULL);
}

static void test_attributes__what_cannot_be_asked_stays(void **state)
{
	(void)state;
	driver_attribute_set(&set, "volume", "default");
	driver_attributes_begin(&set);
	driver_attributes_keep(&set);
	expect("volume", "default");
}

static void test_attributes__places_are_used_again(void **state)
{
	char key[32];

	(void)state;
	for (unsigned i = 0; i < DRIVER_ATTRIBUTES_MAX + 1; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		driver_attribute_set(&set, key, "x");
	}
	assert_true(set.full);
	for (int round = 0; round < 6; round++) {
		driver_attributes_begin(&set);
		driver_attribute_set(&set, "stays", "x");
	}
	assert_false(set.full);
	expect("stays", "x");
}

static void test_attributes__of_pools(void **state)
{
	Cleat__V1__Space space = CLEAT__V1__SPACE__INIT;
	Cleat__V1__Pool one = CLEAT__V1__POOL__INIT, two = CLEAT__V1__POOL__INIT, *pools[] = { &one, &two };

	(void)state;
	space.total_bytes = 1000;
	space.available_bytes = 549;
	one.name = text("fast");
	one.backend = text("loop");
	one.online = true;
	one.is_default = true;
	one.space = &space;
	two.name = text("slow");
	two.backend = text("loop");
	driver_attributes_pools(&set, pools, 2);
	expect("driver.cleat.pools", "fast,slow");
	expect("driver.cleat.backends", "loop");
	expect("driver.cleat.default_pool", "fast");
	expect("driver.cleat.pool.fast.free_percent", "50");
	expect("driver.cleat.pool.fast.online", "true");
	expect("driver.cleat.pool.slow.online", "false");
	expect("driver.cleat.pool.slow.free_percent", NULL);
}

static void test_attributes__of_volumes(void **state)
{
	Cleat__V1__Volume a = CLEAT__V1__VOLUME__INIT, b = CLEAT__V1__VOLUME__INIT,
			  c = CLEAT__V1__VOLUME__INIT, *volumes[] = { &a, &b, &c };

	(void)state;
	a.pool = b.pool = c.pool = text("fast");
	a.name = b.name = text("pg");
	a.scope = text("default");
	b.scope = text("prod");
	c.name = text("other");
	driver_attributes_volumes(&set, volumes, 3);
	expect("driver.cleat.volume.fast.pg", "default,prod");
	expect("driver.cleat.volume.fast.other", "-"); /* "" would mean that it is gone */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_attributes__what_is_gone_is_said, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_attributes__what_cannot_be_asked_stays, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_attributes__places_are_used_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_attributes__of_pools, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_attributes__of_volumes, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
