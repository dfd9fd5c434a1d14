/* calllog.c - see calllog.h. */
#include "service/calllog.h"

#include "util/log.h"

#include <stdio.h>
#include <string.h>

void cleat_call_note_subject(struct cleat_call_note *note, const char *pool, const char *volume)
{
	if (pool && pool[0])
		snprintf(note->subject, sizeof(note->subject), "%s/%s", pool, volume);
	else
		snprintf(note->subject, sizeof(note->subject), "%s", volume);
}

/* Asked every few seconds, for ever, and by everybody: health, reflection, and CSI's question whether we are
 * there. */
static bool is_chatter(const char *method)
{
	return strncmp(method, "/grpc.", 6) == 0 || strcmp(method, "/csi.v1.Identity/Probe") == 0;
}

/* A caller that leaves ends a call as well: no failure of anything here. */
static enum cleat_log_level level_of(const struct cleat_rpc_done *done)
{
	if (is_chatter(done->method))
		return CLEAT_LOG_DEBUG;
	return done->code == CLEAT_OK || done->code == CLEAT_CANCELLED ? CLEAT_LOG_INFO : CLEAT_LOG_WARN;
}

struct texts {
	char id[24], uid[24], pid[24], duration[32];
};

static void fill(struct texts *t, const struct cleat_rpc_call *call, const struct cleat_rpc_done *done)
{
	struct cleat_rpc_peer peer = cleat_rpc_call_peer(call);

	snprintf(t->id, sizeof(t->id), "%llu", (unsigned long long)cleat_rpc_call_id(call));
	snprintf(t->duration, sizeof(t->duration), "%llu.%03llu",
		 (unsigned long long)(done->duration_us / 1000),
		 (unsigned long long)(done->duration_us % 1000));
	if (peer.known) {
		snprintf(t->uid, sizeof(t->uid), "%u", (unsigned)peer.uid);
		snprintf(t->pid, sizeof(t->pid), "%d", (int)peer.pid);
	} else {
		snprintf(t->uid, sizeof(t->uid), "unknown");
		t->pid[0] = '\0';
	}
}

static const char *unless_empty(const char *text)
{
	return text[0] ? text : NULL;
}

void cleat_call_log(const struct cleat_rpc_call *call, const struct cleat_rpc_done *done, void *arg)
{
	static const struct cleat_call_note none;
	const struct cleat_call_note *note = cleat_rpc_call_data(call);
	enum cleat_log_level level = level_of(done);
	struct texts t;

	(void)arg;
	if (!cleat_log_enabled(level))
		return;
	if (!note)
		note = &none;
	fill(&t, call, done);
	const struct cleat_log_field fields[] = {
		{ "request", t.id },
		{ "uid", t.uid },
		{ "pid", unless_empty(t.pid) },
		{ "role", cleat_rpc_role_name(cleat_rpc_call_role(call)) },
		{ "method", done->method },
		{ "volume", unless_empty(note->subject) },
		{ "id", unless_empty(note->id) },
		{ "code", cleat_code_name(done->code) },
		{ "ms", t.duration },
		{ "lost", done->lost ? "true" : NULL },
		{ "error", note->text && done->text[0] ? note->text : unless_empty(done->text) },
		{ NULL, NULL },
	};
	cleat_log(level, fields, done->code == CLEAT_OK ? "call" : "call failed");
}
