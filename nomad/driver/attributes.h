/* attributes.h - a growing set of node attributes, and the message that carries them. */
#ifndef CLEAT_DRIVER_ATTRIBUTES_H
#define CLEAT_DRIVER_ATTRIBUTES_H

#include <stdbool.h>
#include <stddef.h>

#include "cleat/v1/volumes.pb-c.h"
#include "nomad/driver.pb-c.h"

#define DRIVER_ATTRIBUTES_MAX 1024

struct driver_attribute {
	char *key, *value; /* owned */
	bool current;	   /* of this round; one that is not is sent as "", which makes Nomad forget it */
	bool before;	   /* it was of the last one */
	unsigned gone;	   /* rounds since; its place is free after some */
};

struct driver_attributes {
	struct driver_attribute items[DRIVER_ATTRIBUTES_MAX];
	size_t count;
	bool full; /* something found no place */
};

void driver_attributes_done(struct driver_attributes *a);
/* Begins a round: what is not set again in it is gone. */
void driver_attributes_begin(struct driver_attributes *a);
/* Takes over what the last round had and this one has not set: nothing newer is known. */
void driver_attributes_keep(struct driver_attributes *a);
void driver_attribute_set(struct driver_attributes *a, const char *key, const char *value);
/* Appends to the value that this round has set already, after a comma. */
void driver_attribute_add(struct driver_attributes *a, const char *key, const char *value);
const char *driver_attribute_get(const struct driver_attributes *a, const char *key); /* NULL: none */

/* What pools and volumes say: names, backends, free space in steps of five per cent, one attribute per
 * volume. */
void driver_attributes_pools(struct driver_attributes *a, Cleat__V1__Pool *const *pools, size_t n);
void driver_attributes_volumes(struct driver_attributes *a, Cleat__V1__Volume *const *volumes, size_t n);

/* The packed FingerprintResponse; free().  NULL without memory. */
unsigned char *driver_attributes_pack(const struct driver_attributes *a,
				      Nomad__FingerprintResponse__HealthState health, const char *text,
				      size_t *n_out);

#endif
