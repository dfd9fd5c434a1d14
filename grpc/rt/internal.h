/* internal.h - the private structures of the server: shared by the files of rt/, by nobody else.
 *
 * Locks, outer first: a caller's own > call.lock > pool.lock, objects.lock, peers.lock (leaves).  Callbacks
 * of users (handlers, on_close, on_done, on_stop) run without any of them.
 */
#ifndef CLEAT_RT_INTERNAL_H
#define CLEAT_RT_INTERNAL_H

#include "rt/edge.h"
#include "rt/pb.h"
#include "rt/server.h"
#include "util/mem.h"

#include <pthread.h>
#include <stdatomic.h>

#define RPC_MAX_LISTENERS 8
#define RPC_MAX_STOP_HOOKS 8
#define RPC_MAX_TRAILERS 8
#define RPC_MAX_METHOD_TEXT 256

/* The tag of everything that is started on the completion queue. */
struct rpc_op {
	void (*done)(struct rpc_op *op, bool ok);
};

struct rpc_method {
	char *path; /* "/package.Service/Method"; owned */
	ProtobufCService *svc;
	unsigned index; /* in the service */
	enum cleat_rpc_lane lane;
	enum cleat_rpc_kind kind;
	void (*on_message)(ProtobufCService *svc, struct cleat_rpc_call *c, const ProtobufCMessage *m);
	const ProtobufCMessageDescriptor *input;
};

/* A role is one server object of the core; a connection belongs to the object that its descriptor was given
 * to, so the role of a call is certain. */
struct cleat_rpc_role {
	struct cleat_rpc_role *next;
	struct cleat_rpc_server *server;
	grpc_server *core;
	struct rpc_method *methods; /* sorted by path once the server runs */
	size_t n_methods;
	char *name;
	bool down; /* the core has confirmed its shutdown */
};

struct rpc_listener {
	int fd;
	char *path; /* to remove at the stop, NULL for a descriptor from outside; owned */
	dev_t dev;  /* which socket that was */
	ino_t ino;
	struct cleat_rpc_admission who;
};

/* Workers are started when a call finds none free, up to max, and kept. */
struct rpc_pool {
	pthread_mutex_t lock;
	pthread_cond_t work;  /* something was queued, or stop */
	pthread_cond_t ended; /* a worker has ended */
	struct cleat_rpc_call *head, **tail;
	unsigned queued, max_queued;
	unsigned running; /* threads that have not ended */
	unsigned busy;	  /* of them, those that run a call */
	unsigned started, max_threads;
	pthread_t *threads;
	bool stop;
};

struct cleat_rpc_server {
	struct cleat_rpc_server_config config; /* without zeros */
	struct cleat_rpc_role *roles;	       /* owned; the newest first */
	grpc_completion_queue *queue;	       /* of all roles */
	grpc_completion_queue *down_queue;     /* confirms shutdowns */
	bool started, stopped, stuck;

	pthread_t *pollers;
	unsigned n_pollers;
	struct rpc_pool pool;

	atomic_bool stopping;
	atomic_ullong last_id;
	atomic_uint live; /* calls accepted and not freed */
	struct {
		pthread_mutex_t lock;
		pthread_cond_t none; /* count has become 0 */
		unsigned count;	     /* every call object, those that wait for a call too */
	} objects;

	struct rpc_listener listeners[RPC_MAX_LISTENERS];
	unsigned n_listeners;
	int wake_fd; /* ends the accept thread */
	pthread_t acceptor;
	bool accepting;
	struct {
		pthread_mutex_t lock;
		struct cleat_rpc_peer *of; /* by descriptor number, config.max_fd + 1 of them */
	} peers;

	struct {
		void (*fn)(void *arg);
		void *arg;
	} stop_hooks[RPC_MAX_STOP_HOOKS];
	unsigned n_stop_hooks;
};

struct rpc_out {
	struct rpc_out *next;
	grpc_byte_buffer *bytes; /* owned */
	size_t n_bytes;
};

/* Lives while anything refers to it: `refs` counts one per operation in flight, one for a place in the queue
 * and one while `users` is not 0.  `users` counts the handler that runs and the holds. */
enum rpc_reading {
	RPC_READING_ON,
	RPC_READING_OFF, /* a pause was asked for by on_message, which still runs */
	RPC_READING_PARKED, /* the next read waits for the resume */
};

struct cleat_rpc_call {
	struct rpc_op on_new, on_message, on_close, on_sent, on_turn;
	atomic_uint refs, users;
	struct cleat_rpc_role *role;
	const struct rpc_method *method; /* NULL: unknown */
	uint64_t id;
	uint64_t arrived_us;
	struct cleat_rpc_peer peer;

	grpc_call *core;
	grpc_call_details details;
	grpc_metadata_array headers;
	grpc_byte_buffer *payload; /* received, not yet unpacked */
	ProtobufCMessage *request; /* in the arena */
	struct cleat_rpc_call *next_queued;
	char *unknown_method; /* what the caller asked for, when method is NULL; owned */

	atomic_int reading; /* enum rpc_reading, of a bidi call */
	int close_flag; /* written by the core */
	atomic_bool cancelled;
	void *data;
	void (*free_data)(void *data);

	pthread_mutex_t lock; /* for everything below */
	pthread_cond_t drained;
	bool watching; /* the close operation is in flight or done */
	void (*close_fn)(struct cleat_rpc_call *c, void *arg);
	void *close_arg;
	struct rpc_out *out, **out_tail; /* messages that wait */
	unsigned n_out;			 /* of them, and the one in flight */
	size_t out_bytes;
	size_t sending_bytes; /* of the message in flight, 0: none */
	bool turn_posted;     /* a poller will see what can be sent */
	bool sending;	      /* a batch is in flight */
	bool sending_message;
	bool headers_sent;
	bool finishing; /* the status is decided */
	bool finished;	/* the batch with the status was started */
	bool dead;	/* nothing can reach the caller any more */
	enum cleat_code code;
	char text[CLEAT_ERROR_TEXT_BYTES];
	grpc_slice text_slice;
	grpc_metadata trailers[RPC_MAX_TRAILERS];
	size_t n_trailers;

	struct cleat_pb_arena arena; /* last: is not cleared */
};

/* call.c: life of a call */
struct cleat_rpc_call *cleat_rt_call_new(struct cleat_rpc_role *role);
void cleat_rt_call_ref(struct cleat_rpc_call *c);
void cleat_rt_call_unref(struct cleat_rpc_call *c);
/* Starts a batch that holds a reference until its op is done. */
bool cleat_rt_call_start(struct cleat_rpc_call *c, const grpc_op *ops, size_t n, struct rpc_op *tag);
/* With call.lock held. */
void cleat_rt_call_watch_close(struct cleat_rpc_call *c);
void cleat_rt_call_closed(struct rpc_op *op, bool ok);

/* call_send.c: answers */
void cleat_rt_call_sent(struct rpc_op *op, bool ok);
void cleat_rt_call_turn(struct rpc_op *op, bool ok);
void cleat_rt_call_finish(struct cleat_rpc_call *c, enum cleat_code code, const char *text);
void cleat_rt_call_closure(const ProtobufCMessage *m, void *call);

/* call_recv.c: arrival and dispatch */
void cleat_rt_post_accept(struct cleat_rpc_role *role);
void cleat_rt_call_accepted(struct rpc_op *op, bool ok);
void cleat_rt_call_received(struct rpc_op *op, bool ok);
void cleat_rt_call_run(struct cleat_rpc_call *c);

/* role.c */
const struct rpc_method *cleat_rt_role_find(const struct cleat_rpc_role *role, grpc_slice path);
void cleat_rt_role_sort(struct cleat_rpc_role *role);
void cleat_rt_role_free(struct cleat_rpc_role *role);

/* pool.c */
enum cleat_code cleat_rt_pool_init(struct rpc_pool *p, unsigned max_threads, unsigned max_queued,
				   struct cleat_error *err);
bool cleat_rt_pool_add(struct rpc_pool *p, struct cleat_rpc_call *c);
/* Lets queued calls run out; false when workers are still busy at `until` (CLOCK_MONOTONIC). */
bool cleat_rt_pool_stop(struct rpc_pool *p, const struct timespec *until);
void cleat_rt_pool_done(struct rpc_pool *p);

/* listener.c */
enum cleat_code cleat_rt_listeners_start(struct cleat_rpc_server *s, struct cleat_error *err);
void cleat_rt_listeners_stop(struct cleat_rpc_server *s);
struct cleat_rpc_peer cleat_rt_peer_of(struct cleat_rpc_server *s, grpc_call *call);

/* server.c: whether this thread polls that server's queue */
bool cleat_rt_is_poller(const struct cleat_rpc_server *s);

/* thread.c */
enum cleat_code cleat_rt_thread_start(pthread_t *thread, const char *name, void *(*fn)(void *), void *arg,
				      struct cleat_error *err);
enum cleat_code cleat_rt_cond_init(pthread_cond_t *cond, struct cleat_error *err); /* on CLOCK_MONOTONIC */
uint64_t cleat_rt_now_us(void);
struct timespec cleat_rt_after_ms(unsigned ms); /* CLOCK_MONOTONIC */

#endif
