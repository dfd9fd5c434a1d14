/* suite.h - the groups of tests that every backend runs; suite.c chooses and runs them. */
#ifndef TESTS_CONFORMANCE_SUITE_H
#define TESTS_CONFORMANCE_SUITE_H

#include "world.h"

enum case_need {
	NEEDS_BARE = 1 << 0, /* sets fault rules of its own, or counts calls: not under the flaky layer */
	IN_QUICK = 1 << 1,   /* belongs to the short selection for slow machines */
};

struct suite_case {
	const char *name;
	void (*run)(void **state);
	unsigned flags;	 /* enum case_need */
	unsigned caps;	 /* fixtures without these capabilities leave it out ... */
	unsigned traits; /* ... and those without these traits */
};

#define CASE(fn, flags, caps, traits)                                                                        \
	{                                                                                                    \
#fn, fn, (flags), (caps), (traits)                                                           \
	}

/* Each ends with an entry without a name. */
extern const struct suite_case suite_create[];
extern const struct suite_case suite_names[];
extern const struct suite_case suite_publish[];
extern const struct suite_case suite_targets[];
extern const struct suite_case suite_claims[];
extern const struct suite_case suite_data[];
extern const struct suite_case suite_snapshots[];
extern const struct suite_case suite_restart[];
extern const struct suite_case suite_pool[];
extern const struct suite_case suite_busy[];
extern const struct suite_case suite_doctor[];
extern const struct suite_case suite_slots[];

#endif
