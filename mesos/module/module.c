/* module.c - a container's life: prepared, isolated, cleaned up, and what is left of it after the agent's
 * restart.
 *
 * What a container holds is known to the daemon (helper.h); the table here only spares a program for the many
 * containers that have no volumes, and names those that the recovery must keep.
 */
#include "module/module.h"

#include "module/plan.h"
#include "module/request.h"
#include "module/table.h"
#include "module/worker.h"

#include "util/clock.h"
#include "util/mem.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_MS 6000 /* a daemon that has just started opens its pools: so long it is asked again */
#define PATIENCE_STEP_MS 500
#define RETRY_FIRST_MS 1000
#define RETRY_MAX_MS 60000

struct cleat_mesos {
	struct mesos_settings settings;
	struct mesos_worker *worker;
	unsigned long ns_dev, ns_ino; /* the agent's mount namespace */
	pthread_mutex_t
		lock; /* of what follows; outside the worker's, never held while anybody is answered */
	struct mesos_table table;
	bool recovered; /* an unknown container has nothing */
};

static void say(const char *fmt, ...) CLEAT_PRINTF(1, 2);
static void say(const char *fmt, ...)
{
	char line[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	fprintf(stderr, "cleat-mesos: %s\n", line);
}

static void answer_text(cleat_mesos_done_fn done, void *arg, const char *error)
{
	const struct cleat_mesos_answer answer = { .error = error };

	done(arg, &answer);
}

/* ---- beginning and end ---- */

static enum cleat_code find_namespace(struct cleat_mesos *m, struct cleat_error *err)
{
	struct stat st;

	if (stat("/proc/self/ns/mnt", &st))
		return cleat_error_errno(err, errno, "look at the agent's mount namespace");
	m->ns_dev = (unsigned long)st.st_dev;
	m->ns_ino = (unsigned long)st.st_ino;
	return CLEAT_OK;
}

enum cleat_code cleat_mesos_new(const struct cleat_mesos_parameter *params, size_t count, const char *version,
				struct cleat_mesos **out, struct cleat_error *err)
{
	struct cleat_mesos *m = calloc(1, sizeof(*m));

	if (!m)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	pthread_mutex_init(&m->lock, NULL);
	if (geteuid() != 0)
		cleat_error_set(err, CLEAT_PERMISSION_DENIED,
				"the agent must run as root: volumes are mounted");
	else if (mesos_settings_read(params, count, &m->settings, err) || find_namespace(m, err) ||
		 mesos_worker_new(m->settings.timeout_s * 1000 + CLEAT_MESOS_KILL_AFTER_MS, &m->worker, err))
		cleat_error_wrap(err, "Cleat's isolator");
	if (!m->worker) {
		cleat_mesos_free(m);
		return err->code;
	}
	say("isolator for Mesos %s is there; containers' volumes are below '%s'", version, m->settings.root);
	*out = m;
	return CLEAT_OK;
}

void cleat_mesos_free(struct cleat_mesos *m)
{
	if (!m)
		return;
	mesos_worker_free(m->worker);
	mesos_table_done(&m->table);
	mesos_settings_done(&m->settings);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

/* ---- prepare ---- */

struct preparation {
	struct cleat_mesos *m;
	struct cleat_mesos_request *r;
	struct mesos_wishes wishes;
	char key[CLEAT_MESOS_KEY_MAX_BYTES + 1];
	int64_t since_ms;
	cleat_mesos_done_fn done;
	void *arg;
};

static void preparation_free(struct preparation *p)
{
	mesos_wishes_done(&p->wishes);
	cleat_mesos_request_free(p->r);
	free(p);
}

static enum cleat_code check_paths(const struct preparation *p, const struct mesos_list *paths,
				   struct cleat_error *err)
{
	if (paths->count != p->wishes.count)
		return cleat_error_set(err, CLEAT_INTERNAL, "cleat-mesos names %zu paths for %zu volumes",
				       paths->count, p->wishes.count);
	for (size_t i = 0; i < paths->count; i++)
		if (paths->items[i][0] != '/')
			return cleat_error_set(err, CLEAT_INTERNAL, "cleat-mesos names the path '%s'",
					       paths->items[i]);
	return CLEAT_OK;
}

static void answer_enter(const struct preparation *p, const struct mesos_reply *reply)
{
	const struct cleat_mesos *m = p->m;
	struct cleat_mesos_answer answer = { 0 };
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct mesos_args line = { 0 };
	cleat_autofree char *shell = NULL;

	if (mesos_plan_enters(&p->wishes)) {
		mesos_plan_enter(&line, &m->settings, p->r, &p->wishes, reply->paths.items, m->ns_dev,
				 m->ns_ino);
		if (mesos_args_check(&line, &err) || mesos_args_join(&line, &shell, &err))
			answer.error = err.msg;
		answer.argc = line.count;
		answer.argv = (const char *const *)line.items;
		answer.shell = shell;
	}
	p->done(p->arg, &answer);
	mesos_args_done(&line);
}

static int64_t published(void *arg, const struct mesos_reply *reply)
{
	struct preparation *p = arg;
	struct cleat_error err = reply->err;

	if (!reply->ok && err.code == CLEAT_UNAVAILABLE && err.retry &&
	    cleat_time_mono_ms() - p->since_ms < PATIENCE_MS)
		return PATIENCE_STEP_MS;
	if (reply->ok && check_paths(p, &reply->paths, &err) == CLEAT_OK)
		answer_enter(p, reply);
	else
		answer_text(p->done, p->arg, err.msg);
	preparation_free(p);
	return 0;
}

/* The name of a volume's queue: one for all ways of naming the volume that dvdi took for the same. */
static void add_queue(struct mesos_args *queues, const struct mesos_wish *w)
{
	mesos_args_addf(queues, "%s/%s", w->driver ? w->driver : w->pool ? w->pool : "", w->name);
	for (char *p = queues->failed ? NULL : queues->items[queues->count - 1]; p && *p; p++)
		*p = (char)tolower((unsigned char)*p);
}

static enum cleat_code enter_table(struct preparation *p, struct mesos_args *queues_out,
				   struct cleat_error *err)
{
	struct cleat_mesos *m = p->m;
	struct mesos_entry *e = NULL;
	bool known;

	pthread_mutex_lock(&m->lock);
	known = mesos_table_find(&m->table, p->key);
	if (!known)
		e = mesos_table_add(&m->table, p->key);
	for (size_t i = 0; e && i < p->wishes.count; i++) {
		add_queue(&e->queues, &p->wishes.items[i]);
		add_queue(queues_out, &p->wishes.items[i]);
	}
	pthread_mutex_unlock(&m->lock);
	if (known)
		return cleat_error_set(err, CLEAT_ALREADY_EXISTS, "container '%s' is prepared already",
				       p->key);
	return e ? mesos_args_check(queues_out, err)
		 : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

static enum cleat_code publish(struct preparation *p, struct cleat_error *err)
{
	struct mesos_args argv = { 0 }, queues = { 0 };
	enum cleat_code code = enter_table(p, &queues, err);

	if (!code) {
		mesos_plan_publish(&argv, &p->m->settings, p->r, &p->wishes, p->key);
		const struct mesos_job_spec spec = {
			.key = p->key,
			.queues = (const char *const *)queues.items,
			.queue_count = queues.count,
			.argv = &argv,
			.done = published,
			.arg = p,
		};
		code = mesos_worker_add(p->m->worker, &spec, err);
	}
	mesos_args_done(&argv);
	mesos_args_done(&queues);
	return code;
}

void cleat_mesos_prepare(struct cleat_mesos *m, struct cleat_mesos_request *r, cleat_mesos_done_fn done,
			 void *arg)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct preparation *p = calloc(1, sizeof(*p));

	if (!p || !r) {
		answer_text(done, arg, "out of memory");
		cleat_mesos_request_free(r);
		free(p);
		return;
	}
	*p = (struct preparation){
		.m = m, .r = r, .since_ms = cleat_time_mono_ms(), .done = done, .arg = arg
	};
	if (!mesos_key(r, p->key, &err) && !r->debug && !mesos_wishes_read(r, &p->wishes, &err) &&
	    p->wishes.count && !publish(p, &err))
		return;
	answer_text(done, arg, err.code ? err.msg : NULL);
	preparation_free(p);
}

/* ---- isolate ---- */

static int64_t witnessed(void *arg, const struct mesos_reply *reply)
{
	char *key = arg;

	if (!reply->ok)
		say("container '%s': its claims are not tied to its process: %s", key, reply->err.msg);
	free(key);
	return 0;
}

static bool has_volumes(struct cleat_mesos *m, const char *key)
{
	pthread_mutex_lock(&m->lock);
	const struct mesos_entry *e = mesos_table_find(&m->table, key);
	const bool has = e && !e->leaving && e->queues.count;
	pthread_mutex_unlock(&m->lock);
	return has;
}

void cleat_mesos_isolate(struct cleat_mesos *m, struct cleat_mesos_request *r, pid_t pid)
{
	char key[CLEAT_MESOS_KEY_MAX_BYTES + 1];
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct mesos_args argv = { 0 };

	if (mesos_key(r, key, &err) == CLEAT_OK && has_volumes(m, key)) {
		char *owned = strdup(key);

		mesos_plan_helper(&argv, &m->settings, "witness");
		mesos_args_add(&argv, key);
		mesos_args_addf(&argv, "%lld", (long long)pid);
		const struct mesos_job_spec spec = {
			.key = key, .argv = &argv, .done = witnessed, .arg = owned
		};
		if (!owned || mesos_worker_add(m->worker, &spec, &err))
			free(owned);
	}
	mesos_args_done(&argv);
	cleat_mesos_request_free(r);
}

/* ---- cleanup ---- */

struct departure {
	struct cleat_mesos *m;
	char key[CLEAT_MESOS_KEY_MAX_BYTES + 1];
	int64_t retry_ms;
	cleat_mesos_done_fn done; /* NULL: answered already */
	void *arg;
};

static int64_t later(int64_t *retry_ms)
{
	const int64_t now_ms = *retry_ms;

	*retry_ms = now_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : now_ms * 2;
	return now_ms;
}

static void forget(struct cleat_mesos *m, const char *key)
{
	pthread_mutex_lock(&m->lock);
	mesos_table_remove(&m->table, key);
	pthread_mutex_unlock(&m->lock);
}

static int64_t departed(void *arg, const struct mesos_reply *reply)
{
	struct departure *d = arg;
	const bool over = reply->ok || reply->err.code == CLEAT_CANCELLED;

	if (reply->ok) {
		forget(d->m, d->key);
		if (!d->done)
			say("container '%s': its volumes are released now", d->key);
	} else if (!over) {
		say("container '%s': its volumes are not released yet, this is repeated: %s", d->key,
		    reply->err.msg);
	}
	if (d->done)
		answer_text(d->done, d->arg, NULL);
	d->done = NULL;
	if (!over)
		return later(&d->retry_ms);
	free(d);
	return 0;
}

/* Whether there may be anything to release; queues_out are those of the container. */
static bool begin_leaving(struct cleat_mesos *m, const char *key, struct mesos_args *queues_out)
{
	pthread_mutex_lock(&m->lock);
	struct mesos_entry *e = mesos_table_find(&m->table, key);
	const bool may_hold = e ? !e->leaving : !m->recovered;
	if (e)
		e->leaving = true;
	for (size_t i = 0; e && i < e->queues.count; i++)
		mesos_args_add(queues_out, e->queues.items[i]);
	pthread_mutex_unlock(&m->lock);
	return may_hold;
}

static enum cleat_code release(struct departure *d, const struct mesos_args *queues, struct cleat_error *err)
{
	struct mesos_args argv = { 0 };

	mesos_plan_helper(&argv, &d->m->settings, "release");
	mesos_args_add(&argv, d->key);
	const struct mesos_job_spec spec = {
		.key = d->key,
		.queues = (const char *const *)queues->items,
		.queue_count = queues->count,
		.argv = &argv,
		.done = departed,
		.arg = d,
	};
	return mesos_worker_add(d->m->worker, &spec, err);
}

void cleat_mesos_cleanup(struct cleat_mesos *m, struct cleat_mesos_request *r, cleat_mesos_done_fn done,
			 void *arg)
{
	struct cleat_error err = CLEAT_ERROR_INIT;
	struct mesos_args queues = { 0 };
	struct departure *d = calloc(1, sizeof(*d));

	if (d) {
		*d = (struct departure){ .m = m, .retry_ms = RETRY_FIRST_MS, .done = done, .arg = arg };
		/* One without a key was never prepared. */
		if (mesos_key(r, d->key, &err) == CLEAT_OK && begin_leaving(m, d->key, &queues)) {
			if (release(d, &queues, &err) == CLEAT_OK)
				d = NULL;
			else
				say("container '%s': its volumes are not released: %s", d->key, err.msg);
		}
	}
	if (d)
		answer_text(done, arg, NULL);
	free(d);
	mesos_args_done(&queues);
	cleat_mesos_request_free(r);
}

/* ---- recover ---- */

struct recovery {
	struct cleat_mesos *m;
	int64_t retry_ms;
	cleat_mesos_done_fn done; /* NULL: answered already */
	void *arg;
};

/* All that is alive at this moment: also what was prepared since the agent's restart. */
static void add_keeps(void *arg, struct mesos_args *argv)
{
	struct recovery *rec = arg;

	pthread_mutex_lock(&rec->m->lock);
	for (const struct mesos_entry *e = rec->m->table.first; e; e = e->next)
		if (!e->leaving)
			mesos_args_option(argv, "--keep", e->key);
	pthread_mutex_unlock(&rec->m->lock);
}

static bool list_has(const struct mesos_list *list, const char *text)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i], text) == 0)
			return true;
	return false;
}

/* From now on the unknown have nothing; nor have those recovered which the daemon does not know. */
static void settle(struct cleat_mesos *m, const struct mesos_list *kept)
{
	pthread_mutex_lock(&m->lock);
	m->recovered = true;
	for (struct mesos_entry *e = m->table.first, *next; e; e = next) {
		next = e->next;
		if (e->recovered && !e->leaving && !list_has(kept, e->key))
			mesos_table_remove(&m->table, e->key);
	}
	pthread_mutex_unlock(&m->lock);
}

static int64_t recovered(void *arg, const struct mesos_reply *reply)
{
	struct recovery *rec = arg;
	const bool over = reply->ok || reply->err.code == CLEAT_CANCELLED;

	if (reply->ok) {
		settle(rec->m, &reply->kept);
		say("recovery: %zu containers keep their volumes, of %zu they were released",
		    reply->kept.count, reply->released.count);
	} else if (!over) {
		say("recovery: volumes of containers that are gone are not released yet, this is repeated: "
		    "%s",
		    reply->err.msg);
	}
	if (rec->done)
		answer_text(rec->done, rec->arg, NULL);
	rec->done = NULL;
	if (!over)
		return later(&rec->retry_ms);
	free(rec);
	return 0;
}

static enum cleat_code add_alive(struct cleat_mesos *m, const struct cleat_mesos_request *r,
				 struct cleat_error *err)
{
	char key[CLEAT_MESOS_KEY_MAX_BYTES + 1];
	struct mesos_entry *e;

	if (mesos_key(r, key, err)) /* such a container was refused when it was prepared */
		return err->code == CLEAT_INVALID_ARGUMENT ? CLEAT_OK : err->code;
	pthread_mutex_lock(&m->lock);
	e = mesos_table_find(&m->table, key);
	if (!e && (e = mesos_table_add(&m->table, key)))
		e->recovered = true;
	pthread_mutex_unlock(&m->lock);
	return e ? CLEAT_OK : cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
}

static enum cleat_code recover(struct cleat_mesos *m, cleat_mesos_done_fn done, void *arg,
			       struct cleat_error *err)
{
	struct recovery *rec = calloc(1, sizeof(*rec));
	struct mesos_args argv = { 0 };

	if (!rec)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "out of memory");
	*rec = (struct recovery){ .m = m, .retry_ms = RETRY_FIRST_MS, .done = done, .arg = arg };
	mesos_plan_helper(&argv, &m->settings, "recover");
	const struct mesos_job_spec spec = {
		.key = "", .alone = true, .argv = &argv, .start = add_keeps, .done = recovered, .arg = rec
	};
	if (mesos_worker_add(m->worker, &spec, err))
		free(rec);
	return err->code;
}

void cleat_mesos_recover(struct cleat_mesos *m, struct cleat_mesos_request *const *alive, size_t count,
			 cleat_mesos_done_fn done, void *arg)
{
	struct cleat_error err = CLEAT_ERROR_INIT;

	for (size_t i = 0; i < count; i++) {
		struct cleat_error one = CLEAT_ERROR_INIT;

		if (add_alive(m, alive[i], &one))
			err = one;
		cleat_mesos_request_free(alive[i]);
	}
	/* Without the whole list nothing may be released. */
	if (err.code || recover(m, done, arg, &err))
		answer_text(done, arg, err.msg);
}
