/* cleat-thaw.c - freezes file systems for a group snapshot and sees to it that they are thawed.
 *
 *   cleat-thaw LIMIT_MS COUNT       with open directories of the file systems as descriptors 3 .. 3+COUNT-1
 *
 * Descriptor 0 is a stream socket to whoever started it.  It says "F" when all are frozen, or "E" and a
 * reason when that failed.  Then it waits for "T", for the end of the stream, or for LIMIT_MS (since the
 * first freeze) to be over, thaws all, answers "T" if it was told in time and "X" if not, and exits.  It is a
 * program of its own so that a killed daemon does not leave tasks hanging.
 */
#include <errno.h>
#include <linux/fs.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST 3
#define MAX_COUNT 64
#define LIMIT_MAX_MS 600000

/* The freezing thread may be held up in the kernel while everything before it is frozen already, so another
 * one watches. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool frozen[MAX_COUNT]; /* by us */
static bool over;	       /* nothing more is to be frozen */
static bool all_frozen;
static int count;
static int limit_ms;

static bool read_number(const char *text, long max, int *out)
{
	char *end = NULL;
	long value = strtol(text, &end, 10);

	if (!*text || *end || value < 1 || value > max)
		return false;
	*out = (int)value;
	return true;
}

static void say(char word, const char *text)
{
	char line[200];
	int n = snprintf(line, sizeof(line), "%c%s", word, text);

	/* Whoever listened may be gone. */
	if (send(STDIN_FILENO, line, (size_t)n, MSG_NOSIGNAL) < 0)
		return;
}

/* Whether all had been frozen. */
static bool thaw_all(void)
{
	pthread_mutex_lock(&lock);
	bool were = all_frozen;
	over = true;
	for (int i = 0; i < count; i++)
		if (frozen[i] && ioctl(FIRST + i, FITHAW, 0) == 0)
			frozen[i] = false;
	pthread_mutex_unlock(&lock);
	return were;
}

/* Waits for the word, the end or the time; true when it was the word. */
static bool wait_for_word(void)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	char word = 0;

	if (poll(&p, 1, limit_ms) <= 0)
		return false;
	return read(STDIN_FILENO, &word, 1) == 1 && word == 'T';
}

static void *watch(void *arg)
{
	(void)arg;
	bool told = wait_for_word();
	if (thaw_all()) /* else the other thread says what went wrong */
		say(told ? 'T' : 'X', "");
	return NULL;
}

/* 0, or an errno value. */
static int freeze(int i)
{
	int e = ioctl(FIRST + i, FIFREEZE, 0) ? errno : 0;

	pthread_mutex_lock(&lock);
	if (e == 0 && over) {
		ioctl(FIRST + i, FITHAW, 0);
		e = ETIMEDOUT;
	} else if (e == 0) {
		frozen[i] = true;
		all_frozen = i + 1 == count;
	}
	pthread_mutex_unlock(&lock);
	return e;
}

static int freeze_all(void)
{
	int e = 0;

	for (int i = 0; i < count && e == 0; i++)
		e = freeze(i);
	return e;
}

int main(int argc, char **argv)
{
	pthread_t watcher;

	if (argc != 3 || !read_number(argv[1], LIMIT_MAX_MS, &limit_ms) ||
	    !read_number(argv[2], MAX_COUNT, &count)) {
		fprintf(stderr, "cleat-thaw is started by cleatd for group snapshots\n");
		return 2;
	}
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	int e = pthread_create(&watcher, NULL, watch, NULL);
	if (e == 0)
		e = freeze_all();
	else
		count = 0;
	if (e) {
		thaw_all();
		say('E', e == ETIMEDOUT ? "it took too long" : strerror(e));
		return 0;
	}
	say('F', "");
	pthread_join(watcher, NULL);
	return 0;
}
