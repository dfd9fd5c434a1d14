/* commands.c - what each command of dvdcli does. */
#include "dvdcli/dvdcli.h"

#include "doors/volume.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#define PATIENCE_MS 8000 /* a daemon restarts well within it */
#define BUSY_MS 15000	 /* a process that is being killed may still hold the mount */

struct work {
	const struct dvdcli *c;
	struct cleat_door *door;
	const struct cleat_door_driver *entry;
	struct cleat_door_place place;
	char id[CLEAT_DOOR_ID_BYTES];
};

static enum cleat_code find(struct work *w, struct cleat_error *err)
{
	return cleat_door_find(w->door, &w->place, "", w->id, err);
}

static enum cleat_code make(struct work *w, struct cleat_error *err)
{
	cleat_autodooroptions struct cleat_door_options o = { 0 };

	if (cleat_door_options_take(w->entry, &w->c->options, &o, err))
		return err->code;
	if (cleat_door_ensure(w->door, &w->place, "", &o, w->id, err) == CLEAT_INVALID_ARGUMENT)
		return cleat_error_wrap(err, "create in pool '%s', driver '%s'", w->place.pool, w->c->driver);
	return err->code;
}

static enum cleat_code run_create(struct work *w, struct cleat_error *err)
{
	return make(w, err);
}

static enum cleat_code run_remove(struct work *w, struct cleat_error *err)
{
	Cleat__V1__DeleteVolumeRequest in = CLEAT__V1__DELETE_VOLUME_REQUEST__INIT;
	cleat_autopb Cleat__V1__DeleteVolumeResponse *out = NULL;

	in.volume = w->place.ref;
	return cleat_door_call(w->door, "DeleteVolume", &in.base, &out, err);
}

static enum cleat_code run_mount(struct work *w, struct cleat_error *err)
{
	const struct cleat_door_publish p = { .volume = w->id, .owner = "dvdcli mount" };
	char path[CLEAT_DOOR_PATH_BYTES];

	if (w->c->explicit_create || !w->entry->create) {
		if (find(w, err) == CLEAT_NOT_FOUND)
			cleat_error_wrap(err, "%s is not to be created", w->place.ref);
	} else {
		make(w, err);
	}
	if (err->code || cleat_door_publish(w->door, &p, path, err))
		return err->code;
	printf("%s\n", path);
	return CLEAT_OK;
}

static enum cleat_code run_unmount(struct work *w, struct cleat_error *err)
{
	return cleat_door_unpublish(w->door, w->place.ref, NULL, BUSY_MS, err);
}

/* The path that the daemon chooses ends in the volume's id; nobody else has reason to name a target so. */
static bool print_path(const Cleat__V1__Claim *claim, void *arg)
{
	const char *id = arg, *slash = strrchr(claim->target, '/');

	if (!slash || strcmp(slash + 1, id) != 0)
		return true;
	printf("%s\n", claim->target);
	return false;
}

static enum cleat_code run_path(struct work *w, struct cleat_error *err)
{
	if (find(w, err))
		return err->code;
	return cleat_door_claims(w->door, w->id, print_path, w->id, err);
}

static enum cleat_code run_get(struct work *w, struct cleat_error *err)
{
	if (find(w, err))
		return err->code;
	printf("%s\n", w->place.name);
	return CLEAT_OK;
}

static bool print_name(const Cleat__V1__Volume *v, void *arg)
{
	(void)arg;
	printf("%s\n", v->name);
	return true;
}

static enum cleat_code run_list(struct work *w, struct cleat_error *err)
{
	return cleat_door_volumes(w->door, w->place.pool, "", print_name, NULL, err);
}

/* ---- the commands ---- */

struct command {
	const char *name;
	bool of_driver; /* rather than of one volume */
	enum cleat_code (*run)(struct work *w, struct cleat_error *err);
};

static const struct command commands[] = {
	{ "create", false, run_create },   { "remove", false, run_remove }, { "mount", false, run_mount },
	{ "unmount", false, run_unmount }, { "path", false, run_path },	    { "get", false, run_get },
	{ "list", true, run_list },	   { "version", true, NULL },	    { "help", true, NULL },
};

static const struct command *find_command(const char *word)
{
	for (size_t i = 0; i < CLEAT_COUNT(commands); i++)
		if (strcmp(commands[i].name, word) == 0)
			return &commands[i];
	return NULL;
}

bool dvdcli_is_command(const char *word)
{
	return find_command(word) != NULL;
}

static void print_version(void)
{
	char binary[4096];
	struct utsname os;
	ssize_t n = readlink("/proc/self/exe", binary, sizeof(binary) - 1);

	binary[n > 0 ? n : 0] = '\0';
	printf("Binary: %s\nSemVer: %s\n", binary, CLEAT_VERSION);
	if (uname(&os) == 0)
		printf("OsArch: %s-%s\n", os.sysname, os.machine);
}

static enum cleat_code find_place(struct work *w, const struct command *command, struct cleat_error *err)
{
	if (command->of_driver)
		return cleat_door_pool_of(w->door, w->entry, w->c->driver, w->place.pool, err);
	return cleat_door_place_by_driver(w->door, w->entry, w->c->driver, w->c->name, &w->place, err);
}

static enum cleat_code run_command(const struct dvdcli *c, const struct command *command,
				   struct cleat_error *err)
{
	cleat_autodrivers struct cleat_door_drivers drivers = { 0 };
	cleat_autodoor struct cleat_door *door = NULL;
	struct work w = { .c = c };

	if (cleat_door_drivers_load(&drivers, c->config, err) ||
	    cleat_door_open(c->socket, c->timeout_ms, PATIENCE_MS, &door, err))
		return err->code;
	w.door = door;
	w.entry = cleat_door_driver_find(&drivers, c->driver);
	return find_place(&w, command, err) ? err->code : command->run(&w, err);
}

enum cleat_code dvdcli_run(const struct dvdcli *c, struct cleat_error *err)
{
	const struct command *command = c->command ? find_command(c->command) : NULL;

	if (c->version) {
		printf("dvdcli %s\n", CLEAT_VERSION);
	} else if (c->help || !command || strcmp(command->name, "help") == 0) {
		dvdcli_help();
	} else if (!command->run) {
		print_version();
	} else {
		if (!c->driver || !*c->driver)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "--volumedriver is missing");
		if (!command->of_driver && (!c->name || !*c->name))
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "--volumename is missing");
		return run_command(c, command, err);
	}
	return CLEAT_OK;
}
