/* attributes.c - see attributes.h. */
#include "driver/attributes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rt/pb.h"
#include "util/mem.h"

#define STEP_PERCENT 5 /* finer steps would make the node's description change with every write */
#define FORGET_ROUNDS 3
#define KEY_ROOM 512

void driver_attributes_done(struct driver_attributes *a)
{
	for (size_t i = 0; i < a->count; i++) {
		free(a->items[i].key);
		free(a->items[i].value);
	}
	a->count = 0;
}

void driver_attributes_begin(struct driver_attributes *a)
{
	a->full = false;
	for (size_t i = 0; i < a->count; i++) {
		struct driver_attribute *item = &a->items[i];

		item->before = item->current;
		item->current = false;
		item->gone = item->before ? 0 : item->gone + 1;
	}
}

void driver_attributes_keep(struct driver_attributes *a)
{
	for (size_t i = 0; i < a->count; i++)
		a->items[i].current |= a->items[i].before;
}

static struct driver_attribute *find(const struct driver_attributes *a, const char *key)
{
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->items[i].key, key) == 0)
			return (struct driver_attribute *)&a->items[i];
	return NULL;
}

const char *driver_attribute_get(const struct driver_attributes *a, const char *key)
{
	const struct driver_attribute *item = find(a, key);

	return item && item->current ? item->value : NULL;
}

/* The place of an attribute that has been sent as gone often enough. */
static struct driver_attribute *free_place(struct driver_attributes *a)
{
	for (size_t i = 0; i < a->count; i++)
		if (!a->items[i].current && a->items[i].gone >= FORGET_ROUNDS)
			return &a->items[i];
	return NULL;
}

static struct driver_attribute *new_item(struct driver_attributes *a, const char *key)
{
	bool grows = a->count < DRIVER_ATTRIBUTES_MAX;
	struct driver_attribute *item = grows ? &a->items[a->count] : free_place(a);

	if (!item) {
		a->full = true;
		return NULL;
	}
	char *copy = strdup(key);
	if (!copy)
		return NULL;
	if (!grows) {
		free(item->key);
		free(item->value);
	}
	*item = (struct driver_attribute){ .key = copy };
	a->count += grows;
	return item;
}

void driver_attribute_set(struct driver_attributes *a, const char *key, const char *value)
{
	struct driver_attribute *item = find(a, key);
	char *copy = strdup(value);

	if (!item && copy)
		item = new_item(a, key);
	if (!item || !copy) {
		free(copy);
		return;
	}
	free(item->value);
	item->value = copy;
	item->current = true;
}

void driver_attribute_add(struct driver_attributes *a, const char *key, const char *value)
{
	const char *before = driver_attribute_get(a, key);
	cleat_autofree char *joined = NULL;

	if (!before || !*before) {
		driver_attribute_set(a, key, value);
		return;
	}
	if (asprintf(&joined, "%s,%s", before, value) < 0)
		joined = NULL;
	if (joined)
		driver_attribute_set(a, key, joined);
}

/* ---- pools and volumes ---- */

static void set_of_pool(struct driver_attributes *a, const Cleat__V1__Pool *p, const char *what,
			const char *value)
{
	char key[KEY_ROOM];

	snprintf(key, sizeof(key), "driver.cleat.pool.%s.%s", p->name, what);
	driver_attribute_set(a, key, value);
}

static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (; list && *list; list += strcspn(list, ","), list += *list == ',')
		if (strcspn(list, ",") == n && memcmp(list, word, n) == 0)
			return true;
	return false;
}

static void pool_attributes(struct driver_attributes *a, const Cleat__V1__Pool *p)
{
	char text[32];

	driver_attribute_add(a, "driver.cleat.pools", p->name);
	if (!has_word(driver_attribute_get(a, "driver.cleat.backends"), p->backend))
		driver_attribute_add(a, "driver.cleat.backends", p->backend);
	set_of_pool(a, p, "backend", p->backend);
	set_of_pool(a, p, "online", p->online ? "true" : "false");
	if (p->is_default)
		driver_attribute_set(a, "driver.cleat.default_pool", p->name);
	if (!p->online || !p->space || !p->space->total_bytes)
		return;
	unsigned percent =
		(unsigned)((double)p->space->available_bytes / (double)p->space->total_bytes * 100);
	percent = percent > 100 ? 100 : percent;
	snprintf(text, sizeof(text), "%u", percent / STEP_PERCENT * STEP_PERCENT);
	set_of_pool(a, p, "free_percent", text);
}

void driver_attributes_pools(struct driver_attributes *a, Cleat__V1__Pool *const *pools, size_t n)
{
	for (size_t i = 0; i < n; i++)
		pool_attributes(a, pools[i]);
}

/* The value is the volume's namespace, or several with commas: names are unique in each. */
void driver_attributes_volumes(struct driver_attributes *a, Cleat__V1__Volume *const *volumes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char key[KEY_ROOM];

		snprintf(key, sizeof(key), "driver.cleat.volume.%s.%s", volumes[i]->pool, volumes[i]->name);
		driver_attribute_add(a, key, *volumes[i]->scope ? volumes[i]->scope : "-");
	}
}

/* ---- the message ---- */

struct entry {
	Nomad__FingerprintResponse__AttributesEntry entry;
	Nomad__Attribute value;
};

static void fill(struct entry *e, const struct driver_attribute *item)
{
	nomad__fingerprint_response__attributes_entry__init(&e->entry);
	nomad__attribute__init(&e->value);
	e->entry.key = item->key;
	e->entry.value = &e->value;
	e->value.value_case = NOMAD__ATTRIBUTE__VALUE_STRING_VAL;
	e->value.string_val = cleat_pb_text(item->current ? item->value : "");
}

unsigned char *driver_attributes_pack(const struct driver_attributes *a,
				      Nomad__FingerprintResponse__HealthState health, const char *text,
				      size_t *n_out)
{
	Nomad__FingerprintResponse m = NOMAD__FINGERPRINT_RESPONSE__INIT;
	cleat_autofree struct entry *entries = calloc(a->count + 1, sizeof(*entries));
	cleat_autofree Nomad__FingerprintResponse__AttributesEntry **list =
		calloc(a->count + 1, sizeof(*list));

	if (!entries || !list)
		return NULL;
	for (size_t i = 0; i < a->count; i++) {
		fill(&entries[i], &a->items[i]);
		list[i] = &entries[i].entry;
	}
	m.n_attributes = a->count;
	m.attributes = list;
	m.health = health;
	m.health_description = cleat_pb_text(text);
	size_t n = nomad__fingerprint_response__get_packed_size(&m);
	unsigned char *bytes = malloc(n + 1);
	if (bytes)
		*n_out = nomad__fingerprint_response__pack(&m, bytes);
	return bytes;
}
