/* client_internal.h - the private structures of the client: shared by client.c, client_call.c,
 * client_stream.c. */
#ifndef CLEAT_RT_CLIENT_INTERNAL_H
#define CLEAT_RT_CLIENT_INTERNAL_H

#include "rt/client.h"
#include "rt/edge.h"
#include "util/mem.h"

struct rpc_spare {
	grpc_completion_queue *queue;
	struct rpc_spare *next;
};

struct cleat_rpc_client {
	grpc_channel *channel;
	size_t max_unpacked_bytes;

	pthread_mutex_t lock;
	struct rpc_spare
		*spares; /* idle queues; each running call has its own, a pluck queue takes few pluckers */

	pthread_mutex_t watch_lock; /* the channel is not destroyed while a watch is being started */
	grpc_completion_queue *watch_queue;
	pthread_t watcher;
	bool watching, stopping;
};

/* One try of one call. */
struct rpc_attempt {
	struct cleat_rpc_client *client;
	const ProtobufCMethodDescriptor *method;
	const struct cleat_rpc_options *options; /* never NULL */
	grpc_completion_queue *queue;		 /* taken from the client */
	grpc_call *call;
	grpc_byte_buffer *request;
	grpc_byte_buffer *reply;
	grpc_metadata headers[CLEAT_RPC_MAX_HEADERS];
	grpc_metadata_array leading, trailing;
	grpc_status_code status;
	grpc_slice status_text;
	bool answered;	/* something came back before the status */
	bool cancelled; /* by our own canceller */
};

/* Where a call goes: made once, used by each try. */
struct rpc_target {
	struct cleat_rpc_client *client;
	const ProtobufCMethodDescriptor *method;
	const struct cleat_rpc_options *options;
	grpc_slice path;
	gpr_timespec deadline;
	const ProtobufCMessage *in;
};

grpc_completion_queue *cleat_rt_client_take_queue(struct cleat_rpc_client *c);
void cleat_rt_client_give_queue(struct cleat_rpc_client *c, grpc_completion_queue *q);

enum cleat_code cleat_rt_target_init(struct rpc_target *t, struct cleat_rpc_client *c,
				     const ProtobufCServiceDescriptor *service, const char *method,
				     const ProtobufCMessage *in, const struct cleat_rpc_options *options,
				     struct cleat_error *err);
void cleat_rt_target_done(struct rpc_target *t);

void cleat_rt_attempt_init(struct rpc_attempt *a, const struct rpc_target *t);
void cleat_rt_attempt_done(struct rpc_attempt *a);
/* The first three operations of every call and the one that reads the leading headers; returns 4. */
size_t cleat_rt_attempt_send_ops(struct rpc_attempt *a, grpc_op *ops);
void cleat_rt_attempt_status_op(struct rpc_attempt *a, grpc_op *op);
/* Starts a batch; its tag is a pointer that is unique among the batches of the attempt. */
bool cleat_rt_attempt_start(struct rpc_attempt *a, const grpc_op *ops, size_t n, void *tag);
/* Blocks until the batch is done. */
void cleat_rt_attempt_wait(struct rpc_attempt *a, void *tag);
/* Unpacks a->reply and releases it. */
enum cleat_code cleat_rt_attempt_unpack(struct rpc_attempt *a, ProtobufCMessage **out,
					struct cleat_error *err);
/* The status as an error (or OK), with details copied out. */
enum cleat_code cleat_rt_attempt_result(struct rpc_attempt *a, struct cleat_error *err);
/* The connection died under the call, and sending it again cannot hurt. */
bool cleat_rt_attempt_retry(const struct rpc_attempt *a);

#endif
