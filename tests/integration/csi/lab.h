/* lab.h - a real cleatd that serves CSI, over a reflink XFS of its own, and short ways to call it.
 *
 * Pools: `default` (loop, on the XFS) and `plain` (dir, on the file system of /tmp).  What helpers
 * return lives until the lab is closed.  Helpers that begin with `ok_` fail the test when the call fails.
 */
#ifndef CLEAT_TESTS_CSI_LAB_H
#define CLEAT_TESTS_CSI_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "csi/v1/csi.pb-c.h"
#include "daemon.h"

#include "util/mem.h"

#define MIB (UINT64_C(1) << 20)
#define XFS_BYTES (320 * MIB) /* mkfs.xfs makes nothing below 300 MiB */
#define SMALL_BYTES (32 * MIB)

#define MODE(name) CSI__V1__VOLUME_CAPABILITY__ACCESS_MODE__MODE__##name

struct lab {
	struct test_daemon d;
	struct cleat_rpc_client *client;     /* of the CSI socket */
	char socket[64], base[64], work[64]; /* work: a directory for targets */
	const char *pools;		     /* "pools:" of the configuration; NULL: the usual two */
	const char *csi;		     /* further keys below "csi:", each line indented */
	const char *options[6];		     /* further options of cleatd; ends with NULL */
	const char *fault_file;		     /* its rules are those of the fault layer; NULL: none */
	bool no_base;			     /* no XFS is wanted */
	struct cleat_error err;		     /* of the last call */
	void *kept;			     /* everything handed out; freed with the lab */
};

/* cmocka's set-up and tear-down for a lab in *state; 77 is returned by main where the machine lacks
 * something. */
int lab_setup(void **state);
int lab_teardown(void **state);
/* Writes the configuration, starts the daemon. */
void lab_start(struct lab *l);
void lab_stop(struct lab *l);
/* A daemon that the test has ended is started again. */
void lab_reconnect(struct lab *l);
/* kill -9 and a new start. */
void lab_crash(struct lab *l);
/* Prints why and returns false where the machine cannot run these tests. */
bool lab_possible(void);
int lab_run(const char *name, const struct CMUnitTest *tests, size_t n);

/* ---- calling ---- */

/* The code of one call; *out_out (may be NULL) is the answer. */
enum cleat_code csi_call(struct lab *l, const ProtobufCServiceDescriptor *service, const char *method,
			 const ProtobufCMessage *in, const ProtobufCMessage **out_out);
const void *ok_csi(struct lab *l, const ProtobufCServiceDescriptor *service, const char *method,
		   const ProtobufCMessage *in);
#define OK(l, service, method, in) ok_csi(l, &csi__v1__##service##__descriptor, method, &(in).base)
#define CODE(l, service, method, in) csi_call(l, &csi__v1__##service##__descriptor, method, &(in).base, NULL)
/* Fails unless the call ends with that code and a text that holds words. */
#define REFUSED(l, service, method, in, code, words)                                                         \
	refused(l, &csi__v1__##service##__descriptor, method, &(in).base, code, words, __FILE__, __LINE__)
void refused(struct lab *l, const ProtobufCServiceDescriptor *service, const char *method,
	     const ProtobufCMessage *in, enum cleat_code code, const char *words, const char *file, int line);

/* ---- messages ---- */

char *keep(struct lab *l, const char *text); /* a copy */
char *keepf(struct lab *l, const char *fmt, ...) CLEAT_PRINTF(2, 3);
void *keep_bytes(struct lab *l, size_t n); /* zeroed */
/* A map of key, value, ..., NULL for a field whose entries have that descriptor; *n_out entries. */
void *map_of(struct lab *l, const ProtobufCMessageDescriptor *entry, size_t *n_out, ...);
Csi__V1__VolumeCapability *cap_mount(struct lab *l, Csi__V1__VolumeCapability__AccessMode__Mode mode,
				     const char *fs, const char *flag);
Csi__V1__VolumeCapability *cap_block(struct lab *l, Csi__V1__VolumeCapability__AccessMode__Mode mode);
Csi__V1__CapacityRange *range_of(struct lab *l, uint64_t required, uint64_t limit);
Csi__V1__TopologyRequirement *topology_of(struct lab *l, const char *key, const char *value);
Csi__V1__VolumeContentSource *source_of(struct lab *l, const char *snapshot, const char *volume);

/* A CreateVolume of that name: mount access, SINGLE_NODE_WRITER, XFS_BYTES with the file system xfs. */
Csi__V1__CreateVolumeRequest *create_request(struct lab *l, const char *name);
/* Its parameters instead: key, value, ..., NULL. */
#define PARAMS(l, in, ...)                                                                                   \
	((in)->parameters = map_of(l, &csi__v1__create_volume_request__parameters_entry__descriptor,         \
				   &(in)->n_parameters, __VA_ARGS__, NULL))

/* ---- doing ---- */

const Csi__V1__Volume *ok_create(struct lab *l, const Csi__V1__CreateVolumeRequest *in);
char *ok_volume(struct lab *l, const char *name); /* the usual one; its id */
char *ok_block(struct lab *l, const char *name);  /* SMALL_BYTES for block access */
void ok_delete(struct lab *l, const char *id);
/* ControllerPublish, then NodeStage at <work>/<name>.stage; mode as given. */
void ok_attach_and_stage(struct lab *l, const char *id, const char *name, Csi__V1__VolumeCapability *cap);
/* Both, and NodePublish at <work>/<name>, which is returned. */
char *ok_publish(struct lab *l, const char *id, const char *name, Csi__V1__VolumeCapability *cap);
/* What takes it away again, up to ControllerUnpublish. */
void ok_unpublish(struct lab *l, const char *id, const char *name);
Csi__V1__NodePublishVolumeRequest *publish_request(struct lab *l, const char *id, const char *name,
						   Csi__V1__VolumeCapability *cap);
char *ok_snapshot(struct lab *l, const char *volume, const char *name);
char *target_of(struct lab *l, const char *name); /* <work>/<name> */

/* ---- looking ---- */

bool is_mounted(const char *path);
/* The line of the mount table for path, without what comes before the options; "" when it is not mounted. */
char *mount_line(struct lab *l, const char *path);
uint64_t df_total(const char *path);
void put_file(const char *dir, const char *name, const char *text); /* and sync */
bool has_file(const char *dir, const char *name, const char *text);
unsigned mounts_below(const char *dir);
/* Runs a program and waits for it: its exit code. */
int run_program(const char *const *argv);

#endif
