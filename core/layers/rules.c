/* rules.c - reading the fault layer's rules from text and carrying them out; knows no backend. */
#include "layers/rules.h"

#include "util/mem.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RULES_MAX 32
#define RULES_TEXT_BYTES 4096
#define HANG_POLL_MS 10

enum rule_action {
	RULE_ERROR,
	RULE_LATE,
	RULE_DELAY,
	RULE_HANG,
	RULE_CRASH,
	RULE_AGAIN,
};

struct rule {
	char slot[16]; /* "*": every slot that works on a volume */
	enum rule_action action;
	enum cleat_code code; /* error, late */
	unsigned ms;	      /* delay, again: how long; hang: limit of the step */
	unsigned times;	      /* how often it applies, 0: always; crash: at which call */
	unsigned seen;	      /* how often it has applied */
	char file[256];	      /* hang */
};

struct rules {
	char text[RULES_TEXT_BYTES]; /* what they were read from */
	struct rule items[RULES_MAX];
	size_t count;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* guards all below and the tables of fault.c */
static struct rules rules;
static bool set_by_call; /* cleat_rules_set() has the word, not the environment */
static bool wrong;	 /* the environment's text was not understood: every slot says so */
static struct cleat_error wrong_err;

static const char *const pool_slots[] = {
	"check", "open", "close", "probe", "space", "scan", "recover", NULL
};
static const char *const volume_slots[] = { "create",	"adopt",  "update", "remove", "expand",
					    "snapshot", "attach", "detach", "map",    "unmap",
					    "find",	"evict",
					    "usage",	"health", "*",	    NULL };

static bool in_list(const char *const *list, const char *word)
{
	for (; *list; list++)
		if (strcmp(*list, word) == 0)
			return true;
	return false;
}

/* ---- reading ------------------------------------------------------------------------------------------ */

static bool read_number(const char *text, unsigned *out)
{
	char *end = NULL;
	unsigned long n = text ? strtoul(text, &end, 10) : 0;

	if (!text || !*text || *end || n > 1000000)
		return false;
	*out = (unsigned)n;
	return true;
}

static bool read_code(const char *text, enum cleat_code *out)
{
	for (int code = CLEAT_CANCELLED; text && code <= CLEAT_UNAUTHENTICATED; code++)
		if (strcmp(cleat_code_name((enum cleat_code)code), text) == 0) {
			*out = (enum cleat_code)code;
			return true;
		}
	return false;
}

/* "error:CODE[:times]" and "late:CODE[:times]". */
static bool read_failure(struct rule *r, enum rule_action action, const char *a, const char *b)
{
	r->action = action;
	return read_code(a, &r->code) && (!b || read_number(b, &r->times));
}

static bool read_hang(struct rule *r, const char *a, const char *b)
{
	r->action = RULE_HANG;
	r->ms = 1000;
	if (!a || a[0] != '/' || (size_t)snprintf(r->file, sizeof(r->file), "%s", a) >= sizeof(r->file))
		return false;
	return !b || read_number(b, &r->ms);
}

static bool read_action(struct rule *r, const char *word, const char *a, const char *b)
{
	if (strcmp(word, "error") == 0)
		return read_failure(r, RULE_ERROR, a, b);
	if (strcmp(word, "late") == 0)
		return read_failure(r, RULE_LATE, a, b);
	if (strcmp(word, "hang") == 0)
		return read_hang(r, a, b);
	if (strcmp(word, "delay") == 0) {
		r->action = RULE_DELAY;
		return read_number(a, &r->ms) && (!b || read_number(b, &r->times));
	}
	if (strcmp(word, "crash") == 0) {
		r->action = RULE_CRASH;
		return read_number(a, &r->times) && r->times > 0 && !b;
	}
	r->action = RULE_AGAIN;
	return strcmp(word, "again") == 0 && in_list(volume_slots, r->slot) && read_number(a, &r->ms) &&
	       read_number(b, &r->times);
}

/* Reads one rule, which is cut into its words. */
static bool read_rule(struct rule *r, char *text)
{
	char *save = NULL;
	const char *slot = strtok_r(text, "=", &save);
	const char *word = strtok_r(NULL, ":", &save);
	const char *a = strtok_r(NULL, ":", &save);
	const char *b = strtok_r(NULL, ":", &save);

	memset(r, 0, sizeof(*r));
	if (!slot || !word || strtok_r(NULL, ":", &save))
		return false;
	if (!in_list(pool_slots, slot) && !in_list(volume_slots, slot))
		return false;
	snprintf(r->slot, sizeof(r->slot), "%s", slot);
	return read_action(r, word, a, b);
}

static enum cleat_code read_rules(const char *text, struct rules *out, struct cleat_error *err)
{
	char copy[RULES_TEXT_BYTES];
	char *save = NULL;

	memset(out, 0, sizeof(*out));
	if ((size_t)snprintf(out->text, sizeof(out->text), "%s", text) >= sizeof(out->text))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "fault layer: more than %d bytes of rules", RULES_TEXT_BYTES - 1);
	memcpy(copy, out->text, sizeof(copy));
	for (char *one = strtok_r(copy, ",\n", &save); one; one = strtok_r(NULL, ",\n", &save)) {
		char shown[128];

		snprintf(shown, sizeof(shown), "%s", one);
		if (out->count == RULES_MAX)
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "fault layer: more than %d rules",
					       RULES_MAX);
		if (!read_rule(&out->items[out->count++], one))
			return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
					       "fault layer: rule '%s' is not understood", shown);
	}
	return CLEAT_OK;
}

/* The text that holds now: of the file, else of the variable.  A file that is not there has no rules. */
static void environment_text(char text[RULES_TEXT_BYTES])
{
	const char *path = getenv("CLEAT_FAULT_FILE");
	const char *plain = getenv("CLEAT_FAULT");
	cleat_autoclose int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t n = 0;

	text[0] = '\0';
	if (fd >= 0)
		n = read(fd, text, RULES_TEXT_BYTES - 1);
	else if (!path && plain)
		snprintf(text, RULES_TEXT_BYTES, "%s", plain);
	if (fd >= 0)
		text[n > 0 ? n : 0] = '\0';
}

/* Takes over changed text of the environment; called with the lock held. */
static void refresh(void)
{
	char text[RULES_TEXT_BYTES];

	if (set_by_call)
		return;
	environment_text(text);
	if (strcmp(text, rules.text) == 0)
		return;
	wrong = read_rules(text, &rules, &wrong_err) != CLEAT_OK;
}

enum cleat_code cleat_rules_set(const char *text, struct cleat_error *err)
{
	cleat_autofree struct rules *fresh = calloc(1, sizeof(*fresh));
	enum cleat_code code;

	if (!fresh)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "fault layer: out of memory");
	code = read_rules(text ? text : "", fresh, err);
	if (code != CLEAT_OK)
		return code;
	cleat_rules_lock();
	rules = *fresh;
	set_by_call = text != NULL;
	wrong = false;
	cleat_rules_unlock();
	return CLEAT_OK;
}

void cleat_rules_lock(void)
{
	pthread_mutex_lock(&mutex);
}

void cleat_rules_unlock(void)
{
	pthread_mutex_unlock(&mutex);
}

/* ---- carrying out ------------------------------------------------------------------------------------- */

static void sleep_ms(unsigned ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	while (nanosleep(&t, &t) != 0)
		;
}

static bool rule_is_for(const struct rule *r, const char *slot)
{
	return strcmp(r->slot, slot) == 0 || (strcmp(r->slot, "*") == 0 && in_list(volume_slots, slot));
}

/* Counts this call on rule i and tells whether it applies; *out is a copy, so that it can be carried out
 * without the lock. */
static bool take_rule(size_t i, const char *slot, bool after, struct rule *out)
{
	struct rule *r;
	bool applies = false;

	cleat_rules_lock();
	r = i < rules.count ? &rules.items[i] : NULL;
	if (r && rule_is_for(r, slot) && (r->action == RULE_LATE) == after) {
		r->seen++;
		if (r->action == RULE_CRASH)
			applies = r->seen == r->times;
		else
			applies = r->times == 0 || r->seen <= r->times;
		*out = *r;
	}
	cleat_rules_unlock();
	return applies;
}

static void hang(const struct rule *r, struct cleat_op *op)
{
	cleat_op_step(op, "held by the fault layer", r->ms);
	while (access(r->file, F_OK) == 0)
		sleep_ms(HANG_POLL_MS);
}

static enum cleat_code carry_out(const struct rule *r, const char *slot, struct cleat_op *op,
				 struct cleat_error *err)
{
	switch (r->action) {
	case RULE_DELAY:
		sleep_ms(r->ms);
		return CLEAT_OK;
	case RULE_HANG:
		hang(r, op);
		return CLEAT_OK;
	case RULE_CRASH:
		kill(getpid(), SIGKILL);
		return CLEAT_OK;
	case RULE_AGAIN:
		return cleat_op_again(op, r->ms, err);
	case RULE_ERROR:
	case RULE_LATE:
		break;
	}
	return cleat_error_set(err, r->code, "fault layer: '%s' was made to fail", slot);
}

static size_t count_rules(struct cleat_error *err, bool *wrong_out)
{
	size_t n;

	cleat_rules_lock();
	refresh();
	n = rules.count;
	*wrong_out = wrong;
	if (wrong && err)
		*err = wrong_err;
	cleat_rules_unlock();
	return n;
}

enum cleat_code cleat_rules_before(const char *slot, struct cleat_op *op, struct cleat_error *err)
{
	bool is_wrong = false;
	size_t count = count_rules(err, &is_wrong);
	enum cleat_code code = CLEAT_OK;

	if (is_wrong)
		return CLEAT_INVALID_ARGUMENT;
	for (size_t i = 0; i < count && code == CLEAT_OK; i++) {
		struct rule r;

		if (take_rule(i, slot, false, &r))
			code = carry_out(&r, slot, op, err);
	}
	return code;
}

enum cleat_code cleat_rules_after(const char *slot, enum cleat_code code, struct cleat_error *err)
{
	for (size_t i = 0; i < RULES_MAX && code == CLEAT_OK; i++) {
		struct rule r;

		if (take_rule(i, slot, true, &r))
			code = carry_out(&r, slot, NULL, err);
	}
	return code;
}
