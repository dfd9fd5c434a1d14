/* janitor.c - see janitor.h. */
#include "driver/janitor.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "driver/start.h"
#include "driver/thread.h"
#include "rt/pb.h"
#include "util/log.h"
#include "util/mem.h"

#define ROUND_MS 10000
#define FIRST_MS 1000 /* after the start: the host may be about to recover or destroy some itself */

struct driver_janitor {
	struct driver *d;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool stopping, wanted;
	pthread_t thread;
	char last[256]; /* what went wrong last, so that it is logged once */
};

static void report(struct driver_janitor *j, const char *what, const struct cleat_error *err)
{
	char line[sizeof(j->last)];

	snprintf(line, sizeof(line), "%s: %.200s", what, err->msg);
	if (strcmp(line, j->last) == 0)
		return;
	memcpy(j->last, line, sizeof(line));
	cleat_log_kv(CLEAT_LOG_WARN, "cleaning up has to wait", "what", what, "error", err->msg);
}

/* Whether nobody will come for the task any more. */
static bool is_abandoned(const State__Task *t)
{
	struct stat st;

	if (t->phase == STATE__PHASE__STARTING || t->phase == STATE__PHASE__RELEASING)
		return true;
	return lstat(t->alloc_dir, &st) != 0 && errno == ENOENT;
}

static void look_at_task(struct driver_janitor *j, const char *container)
{
	cleat_autopb State__Task *record = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (driver_state_load_task(j->d->state, container, &record, &err)) {
		if (err.code != CLEAT_NOT_FOUND)
			report(j, container, &err);
		return;
	}
	if (strcmp(record->container, container) != 0 || !is_abandoned(record))
		return;
	if (driver_clean(j->d, record, &err))
		report(j, container, &err);
	else
		cleat_log_kv(CLEAT_LOG_INFO, "a task that nobody came for is cleaned up", "task", record->id);
}

static void look_at_tasks(struct driver_janitor *j)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	char **names = NULL;

	if (driver_state_list_tasks(j->d->state, &names, &err)) {
		report(j, "tasks", &err);
		return;
	}
	for (char **p = names; *p; p++) {
		struct driver_tasks_lock lock;

		if (!driver_tasks_lock(j->d->tasks, &lock, *p, true))
			continue;
		if (!driver_tasks_has(j->d->tasks, *p))
			look_at_task(j, *p);
		driver_tasks_unlock(j->d->tasks, &lock);
	}
	driver_state_free_names(names);
}

static void look_at_alloc(struct driver_janitor *j, const char *id)
{
	cleat_autopb State__Allocation *alloc = NULL;
	struct cleat_error err = CLEAT_ERROR_INIT;

	if (driver_state_load_alloc(j->d->state, id, &alloc, &err)) {
		report(j, id, &err);
		return;
	}
	if (strcmp(alloc->id, id) != 0 || !driver_state_dir_is_gone(alloc->dir, alloc->root_inode))
		return;
	if (driver_volumes_delete(&j->d->volumes, alloc, &err) ||
	    driver_state_forget_alloc(j->d->state, id, &err))
		report(j, id, &err);
}

static void look_at_allocs(struct driver_janitor *j)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	char **names = NULL;

	if (!j->d->daemon)
		return;
	if (driver_state_list_allocs(j->d->state, &names, &err)) {
		report(j, "allocations", &err);
		return;
	}
	for (char **p = names; *p; p++)
		look_at_alloc(j, *p);
	driver_state_free_names(names);
}

static void *run(void *arg)
{
	struct driver_janitor *j = arg;
	int64_t wait = FIRST_MS;

	pthread_mutex_lock(&j->lock);
	while (!j->stopping) {
		if (!j->wanted)
			driver_cond_wait_ms(&j->changed, &j->lock, wait);
		j->wanted = false;
		wait = ROUND_MS;
		if (j->stopping)
			break;
		pthread_mutex_unlock(&j->lock);
		if (driver_state_lead(j->d->state)) {
			look_at_tasks(j);
			look_at_allocs(j);
		}
		malloc_trim(0); /* many starts or ends at once leave free memory between what stays */
		pthread_mutex_lock(&j->lock);
	}
	pthread_mutex_unlock(&j->lock);
	return NULL;
}

enum cleat_code driver_janitor_start(struct driver *d, struct driver_janitor **out, struct cleat_error *err)
{
	struct driver_janitor *j = calloc(1, sizeof(*j));

	if (!j)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	j->d = d;
	pthread_mutex_init(&j->lock, NULL);
	driver_cond_init(&j->changed);
	if (driver_thread(run, j, &j->thread, err)) {
		free(j);
		return err->code;
	}
	*out = j;
	return CLEAT_OK;
}

void driver_janitor_wake(struct driver_janitor *j)
{
	pthread_mutex_lock(&j->lock);
	j->wanted = true;
	pthread_cond_signal(&j->changed);
	pthread_mutex_unlock(&j->lock);
}

void driver_janitor_stop(struct driver_janitor *j)
{
	pthread_mutex_lock(&j->lock);
	j->stopping = true;
	pthread_cond_signal(&j->changed);
	pthread_mutex_unlock(&j->lock);
}

void driver_janitor_free(struct driver_janitor *j)
{
	if (!j)
		return;
	driver_janitor_stop(j);
	pthread_join(j->thread, NULL);
	pthread_mutex_destroy(&j->lock);
	pthread_cond_destroy(&j->changed);
	free(j);
}
