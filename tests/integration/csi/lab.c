/* lab.c - see lab.h. */
#include "lab.h"

#include "util/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define BASE_BYTES (UINT64_C(8) << 30)

extern char **environ;

/* ---- memory of the lab ---- */

struct kept {
	struct kept *next;
	ProtobufCMessage *message; /* or NULL */
	max_align_t bytes[];
};

static struct kept *remember(struct lab *l, size_t n)
{
	struct kept *k = calloc(1, sizeof(*k) + n);

	assert_non_null(k);
	k->next = l->kept;
	l->kept = k;
	return k;
}

void *keep_bytes(struct lab *l, size_t n)
{
	return remember(l, n)->bytes;
}

char *keep(struct lab *l, const char *text)
{
	size_t n = strlen(text) + 1;

	return memcpy(keep_bytes(l, n), text, n);
}

char *keepf(struct lab *l, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return keep(l, text);
}

static void forget_all(struct lab *l)
{
	for (struct kept *k = l->kept, *next; k; k = next) {
		next = k->next;
		cleat_pb_free(k->message);
		free(k);
	}
	l->kept = NULL;
}

/* ---- life ---- */

int run_program(const char *const *argv)
{
	union {
		const char *const *ours;
		char *const *theirs;
	} args = { .ours = argv };
	int status = 0;
	pid_t pid;

	if (posix_spawnp(&pid, argv[0], NULL, NULL, args.theirs, environ))
		return -1;
	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

bool lab_possible(void)
{
	if (geteuid() != 0) {
		printf("skipped: must be root, volumes are mounted\n");
		return false;
	}
	if (access("/dev/loop-control", F_OK)) {
		printf("skipped: no loop devices\n");
		return false;
	}
	return true;
}

int lab_run(const char *name, const struct CMUnitTest *tests, size_t n)
{
	if (!lab_possible())
		return 77;
	signal(SIGPIPE, SIG_IGN);
	return _cmocka_run_group_tests(name, tests, n, NULL, NULL);
}

static void make_base(struct lab *l)
{
	const char *image = keepf(l, "%s/base.img", l->d.dir);
	const char *const mkfs[] = { "mkfs.xfs", "-q", "-m", "reflink=1", image, NULL };
	const char *const mount_it[] = { "mount", "-o", "loop", image, l->base, NULL };
	cleat_autoclose int fd = open(image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, BASE_BYTES), 0);
	assert_int_equal(run_program(mkfs), 0);
	assert_int_equal(mkdir(l->base, 0755), 0);
	assert_int_equal(run_program(mount_it), 0);
}

int lab_setup(void **state)
{
	struct lab *l = calloc(1, sizeof(*l));

	assert_non_null(l);
	test_daemon_init(&l->d);
	snprintf(l->socket, sizeof(l->socket), "%.40s/csi.sock", l->d.dir);
	snprintf(l->base, sizeof(l->base), "%.40s/base", l->d.dir);
	snprintf(l->work, sizeof(l->work), "%.40s/work", l->d.dir);
	assert_int_equal(mkdir(l->work, 0755), 0);
	*state = l;
	return 0;
}

static void detach(const char *device)
{
	cleat_autoclose int fd = open(device, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		ioctl(fd, LOOP_CLR_FD, 0);
}

/* A daemon that was killed leaves devices behind that its next start would free; here there is none. */
static void detach_below(const char *dir)
{
	for (int i = 0; i < 256; i++) {
		char path[64], file[512] = "", device[32];

		snprintf(path, sizeof(path), "/sys/block/loop%d/loop/backing_file", i);
		cleat_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || read(fd, file, sizeof(file) - 1) <= 0 || strncmp(file, dir, strlen(dir)) != 0 ||
		    file[strlen(dir)] != '/')
			continue;
		snprintf(device, sizeof(device), "/dev/loop%d", i);
		detach(device);
	}
}

/* Unmounts whatever is below dir, the last mounted first. */
static void unmount_below(const char *dir)
{
	size_t n = strlen(dir);

	for (bool found = true; found;) {
		FILE *table = fopen("/proc/self/mountinfo", "re");
		char line[4096], target[2048], last[2048] = "";

		found = false;
		while (table && fgets(line, sizeof(line), table))
			if (sscanf(line, "%*s %*s %*s %*s %2047s", target) == 1 &&
			    strncmp(target, dir, n) == 0 && target[n] == '/')
				snprintf(last, sizeof(last), "%s", target);
		if (table)
			fclose(table);
		if (last[0])
			found = umount2(last, MNT_DETACH | UMOUNT_NOFOLLOW) == 0;
	}
}

int lab_teardown(void **state)
{
	struct lab *l = *state;

	cleat_rpc_client_free(l->client);
	if (l->d.pid) {
		kill(l->d.pid, SIGKILL);
		test_daemon_wait(&l->d);
		unmount_below(l->work);
		unmount_below(l->d.run);
		detach_below(l->base); /* first what lies in the pool, then the pool itself */
	}
	test_daemon_done(&l->d);
	forget_all(l);
	free(l);
	return 0;
}

static void connect_csi(struct lab *l)
{
	struct cleat_rpc_client_config config = { .target = keepf(l, "unix:%s", l->socket) };
	Csi__V1__ProbeRequest in = CSI__V1__PROBE_REQUEST__INIT;
	const struct cleat_rpc_options options = { .timeout_ms = TEST_WAIT_MS,
						   .wait_for_ready = true,
						   .idempotent = true };
	cleat_autopb ProtobufCMessage *out = NULL;

	if (!l->client)
		assert_int_equal(cleat_rpc_client_new(&config, &l->client, &l->err), CLEAT_OK);
	/* A client that lost its server connects again a moment later. */
	assert_int_equal(cleat_rpc_client_call(l->client, &csi__v1__identity__descriptor, "Probe", &in.base,
					       &options, &out, &l->err),
			 CLEAT_OK);
}

static void write_config(struct lab *l)
{
	const char *layer = l->fault_file ? "\n    layer: fault" : "";

	if (!l->pools && !l->no_base)
		l->pools = keepf(
			l, "  default:\n    backend: loop\n    path: %s%s\n  plain:\n    backend: dir%s\n",
			l->base, layer, layer);
	test_daemon_config(&l->d, "log: {level: debug}\nnode: node-a\npools:\n%scsi:\n  socket: %s\n%s",
			   l->pools, l->socket, l->csi ? l->csi : "");
}

void lab_start(struct lab *l)
{
	if (!l->no_base && access(l->base, F_OK))
		make_base(l);
	if (l->fault_file)
		setenv("CLEAT_FAULT_FILE", l->fault_file, 1);
	write_config(l);
	test_daemon_start(&l->d, l->options);
	if (l->fault_file)
		unsetenv("CLEAT_FAULT_FILE");
	connect_csi(l);
}

void lab_stop(struct lab *l)
{
	test_daemon_stop(&l->d);
	assert_int_equal(mounts_below(l->d.dir), l->no_base ? 0 : 1);
}

void lab_crash(struct lab *l)
{
	test_daemon_signal(&l->d, SIGKILL);
	assert_int_equal(test_daemon_wait(&l->d), 1000 + SIGKILL);
	lab_reconnect(l);
}

void lab_reconnect(struct lab *l)
{
	test_daemon_start(&l->d, l->options);
	connect_csi(l);
}

/* ---- calling ---- */

enum cleat_code csi_call(struct lab *l, const ProtobufCServiceDescriptor *service, const char *method,
			 const ProtobufCMessage *in, const ProtobufCMessage **out_out)
{
	const struct cleat_rpc_options options = { .timeout_ms = TEST_WAIT_MS };
	ProtobufCMessage *out = NULL;

	l->err = (struct cleat_error)CLEAT_ERROR_INIT;
	enum cleat_code code = cleat_rpc_client_call(l->client, service, method, in, &options, &out, &l->err);
	if (code == CLEAT_OK)
		remember(l, 0)->message = out;
	if (out_out)
		*out_out = out;
	return code;
}

const void *ok_csi(struct lab *l, const ProtobufCServiceDescriptor *service, const char *method,
		   const ProtobufCMessage *in)
{
	const ProtobufCMessage *out = NULL;

	if (csi_call(l, service, method, in, &out)) {
		cleat_autofree char *log = test_daemon_log(&l->d);

		fail_msg("%s: %s: %s; log:\n%s", method, cleat_code_name(l->err.code), l->err.msg,
			 strlen(log) > 4000 ? log + strlen(log) - 4000 : log);
	}
	return out;
}

void refused(struct lab *l, const ProtobufCServiceDescriptor *service, const char *method,
	     const ProtobufCMessage *in, enum cleat_code code, const char *words, const char *file, int line)
{
	enum cleat_code got = csi_call(l, service, method, in, NULL);

	if (got != code || !strstr(l->err.msg, words)) {
		print_error("%s:%d: %s: %s '%s', wanted %s with '%s'\n", file, line, method,
			    cleat_code_name(got), l->err.msg, cleat_code_name(code), words);
		fail();
	}
}

/* ---- messages ---- */

void *map_of(struct lab *l, const ProtobufCMessageDescriptor *entry, size_t *n_out, ...)
{
	ProtobufCMessage **list = keep_bytes(l, 64 * sizeof(*list));
	const char *key;
	va_list args;

	*n_out = 0;
	va_start(args, n_out);
	while ((key = va_arg(args, const char *))) {
		ProtobufCMessage *e = keep_bytes(l, entry->sizeof_message);

		protobuf_c_message_init(entry, e);
		*(char **)(void *)((char *)e + entry->fields[0].offset) = keep(l, key);
		*(char **)(void *)((char *)e + entry->fields[1].offset) = keep(l, va_arg(args, const char *));
		assert_true(*n_out < 64);
		list[(*n_out)++] = e;
	}
	va_end(args);
	return list;
}

static Csi__V1__VolumeCapability *cap_of(struct lab *l, Csi__V1__VolumeCapability__AccessMode__Mode mode)
{
	Csi__V1__VolumeCapability *cap = keep_bytes(l, sizeof(*cap));

	csi__v1__volume_capability__init(cap);
	cap->access_mode = keep_bytes(l, sizeof(*cap->access_mode));
	csi__v1__volume_capability__access_mode__init(cap->access_mode);
	cap->access_mode->mode = mode;
	return cap;
}

Csi__V1__VolumeCapability *cap_mount(struct lab *l, Csi__V1__VolumeCapability__AccessMode__Mode mode,
				     const char *fs, const char *flag)
{
	Csi__V1__VolumeCapability *cap = cap_of(l, mode);

	cap->access_type_case = CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_MOUNT;
	cap->mount = keep_bytes(l, sizeof(*cap->mount));
	csi__v1__volume_capability__mount_volume__init(cap->mount);
	cap->mount->fs_type = keep(l, fs);
	if (!flag)
		return cap;
	cap->mount->mount_flags = keep_bytes(l, sizeof(char *));
	cap->mount->mount_flags[0] = keep(l, flag);
	cap->mount->n_mount_flags = 1;
	return cap;
}

Csi__V1__VolumeCapability *cap_block(struct lab *l, Csi__V1__VolumeCapability__AccessMode__Mode mode)
{
	Csi__V1__VolumeCapability *cap = cap_of(l, mode);

	cap->access_type_case = CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_BLOCK;
	cap->block = keep_bytes(l, sizeof(*cap->block));
	csi__v1__volume_capability__block_volume__init(cap->block);
	return cap;
}

Csi__V1__CapacityRange *range_of(struct lab *l, uint64_t required, uint64_t limit)
{
	Csi__V1__CapacityRange *r = keep_bytes(l, sizeof(*r));

	csi__v1__capacity_range__init(r);
	r->required_bytes = (int64_t)required;
	r->limit_bytes = (int64_t)limit;
	return r;
}

Csi__V1__TopologyRequirement *topology_of(struct lab *l, const char *key, const char *value)
{
	Csi__V1__TopologyRequirement *want = keep_bytes(l, sizeof(*want));
	Csi__V1__Topology *t = keep_bytes(l, sizeof(*t));

	csi__v1__topology_requirement__init(want);
	csi__v1__topology__init(t);
	t->segments =
		map_of(l, &csi__v1__topology__segments_entry__descriptor, &t->n_segments, key, value, NULL);
	want->requisite = keep_bytes(l, sizeof(*want->requisite));
	want->requisite[0] = t;
	want->n_requisite = 1;
	return want;
}

Csi__V1__VolumeContentSource *source_of(struct lab *l, const char *snapshot, const char *volume)
{
	Csi__V1__VolumeContentSource *s = keep_bytes(l, sizeof(*s));

	csi__v1__volume_content_source__init(s);
	if (snapshot) {
		s->type_case = CSI__V1__VOLUME_CONTENT_SOURCE__TYPE_SNAPSHOT;
		s->snapshot = keep_bytes(l, sizeof(*s->snapshot));
		csi__v1__volume_content_source__snapshot_source__init(s->snapshot);
		s->snapshot->snapshot_id = keep(l, snapshot);
	} else {
		s->type_case = CSI__V1__VOLUME_CONTENT_SOURCE__TYPE_VOLUME;
		s->volume = keep_bytes(l, sizeof(*s->volume));
		csi__v1__volume_content_source__volume_source__init(s->volume);
		s->volume->volume_id = keep(l, volume);
	}
	return s;
}

Csi__V1__CreateVolumeRequest *create_request(struct lab *l, const char *name)
{
	Csi__V1__CreateVolumeRequest *in = keep_bytes(l, sizeof(*in));

	csi__v1__create_volume_request__init(in);
	in->name = keep(l, name);
	in->capacity_range = range_of(l, XFS_BYTES, 0);
	in->volume_capabilities = keep_bytes(l, 4 * sizeof(*in->volume_capabilities));
	in->volume_capabilities[0] = cap_mount(l, MODE(SINGLE_NODE_WRITER), "", NULL);
	in->n_volume_capabilities = 1;
	PARAMS(l, in, "fs", "xfs");
	return in;
}

/* ---- doing ---- */

const Csi__V1__Volume *ok_create(struct lab *l, const Csi__V1__CreateVolumeRequest *in)
{
	const Csi__V1__CreateVolumeResponse *out = OK(l, controller, "CreateVolume", *in);

	assert_non_null(out->volume);
	return out->volume;
}

char *ok_volume(struct lab *l, const char *name)
{
	return keep(l, ok_create(l, create_request(l, name))->volume_id);
}

char *ok_block(struct lab *l, const char *name)
{
	Csi__V1__CreateVolumeRequest *in = create_request(l, name);

	in->n_parameters = 0;
	in->capacity_range = range_of(l, SMALL_BYTES, 0);
	in->volume_capabilities[0] = cap_block(l, MODE(SINGLE_NODE_WRITER));
	return keep(l, ok_create(l, in)->volume_id);
}

void ok_delete(struct lab *l, const char *id)
{
	Csi__V1__DeleteVolumeRequest in = CSI__V1__DELETE_VOLUME_REQUEST__INIT;

	in.volume_id = keep(l, id);
	OK(l, controller, "DeleteVolume", in);
}

char *target_of(struct lab *l, const char *name)
{
	return keepf(l, "%s/%s", l->work, name);
}

void ok_attach_and_stage(struct lab *l, const char *id, const char *name, Csi__V1__VolumeCapability *cap)
{
	Csi__V1__ControllerPublishVolumeRequest attach = CSI__V1__CONTROLLER_PUBLISH_VOLUME_REQUEST__INIT;
	Csi__V1__NodeStageVolumeRequest stage = CSI__V1__NODE_STAGE_VOLUME_REQUEST__INIT;

	attach.volume_id = stage.volume_id = keep(l, id);
	attach.node_id = keep(l, "node-a");
	attach.volume_capability = stage.volume_capability = cap;
	stage.staging_target_path = keepf(l, "%s/%s.stage", l->work, name);
	OK(l, controller, "ControllerPublishVolume", attach);
	assert_true(mkdir(stage.staging_target_path, 0755) == 0 || errno == EEXIST);
	OK(l, node, "NodeStageVolume", stage);
}

Csi__V1__NodePublishVolumeRequest *publish_request(struct lab *l, const char *id, const char *name,
						   Csi__V1__VolumeCapability *cap)
{
	Csi__V1__NodePublishVolumeRequest *in = keep_bytes(l, sizeof(*in));

	csi__v1__node_publish_volume_request__init(in);
	in->volume_id = keep(l, id);
	in->target_path = target_of(l, name);
	in->staging_target_path = keepf(l, "%s/%s.stage", l->work, name);
	in->volume_capability = cap;
	return in;
}

char *ok_publish(struct lab *l, const char *id, const char *name, Csi__V1__VolumeCapability *cap)
{
	Csi__V1__NodePublishVolumeRequest *in = publish_request(l, id, name, cap);

	ok_attach_and_stage(l, id, name, cap);
	OK(l, node, "NodePublishVolume", *in);
	return in->target_path;
}

void ok_unpublish(struct lab *l, const char *id, const char *name)
{
	Csi__V1__NodeUnpublishVolumeRequest unpublish = CSI__V1__NODE_UNPUBLISH_VOLUME_REQUEST__INIT;
	Csi__V1__NodeUnstageVolumeRequest unstage = CSI__V1__NODE_UNSTAGE_VOLUME_REQUEST__INIT;
	Csi__V1__ControllerUnpublishVolumeRequest detach = CSI__V1__CONTROLLER_UNPUBLISH_VOLUME_REQUEST__INIT;

	unpublish.volume_id = unstage.volume_id = detach.volume_id = keep(l, id);
	unpublish.target_path = target_of(l, name);
	unstage.staging_target_path = keepf(l, "%s/%s.stage", l->work, name);
	detach.node_id = keep(l, "node-a");
	OK(l, node, "NodeUnpublishVolume", unpublish);
	OK(l, node, "NodeUnstageVolume", unstage);
	OK(l, controller, "ControllerUnpublishVolume", detach);
}

char *ok_snapshot(struct lab *l, const char *volume, const char *name)
{
	Csi__V1__CreateSnapshotRequest in = CSI__V1__CREATE_SNAPSHOT_REQUEST__INIT;

	in.source_volume_id = keep(l, volume);
	in.name = keep(l, name);
	const Csi__V1__CreateSnapshotResponse *out = OK(l, controller, "CreateSnapshot", in);
	return keep(l, out->snapshot->snapshot_id);
}

/* ---- looking ---- */

char *mount_line(struct lab *l, const char *path)
{
	FILE *table = fopen("/proc/self/mountinfo", "re");
	char line[4096], target[2048], found[4096] = "";

	assert_non_null(table);
	while (fgets(line, sizeof(line), table))
		if (sscanf(line, "%*s %*s %*s %*s %2047s", target) == 1 && strcmp(target, path) == 0)
			snprintf(found, sizeof(found), "%s", strstr(line, path) + strlen(path));
	fclose(table);
	return keep(l, found);
}

unsigned mounts_below(const char *dir)
{
	FILE *table = fopen("/proc/self/mountinfo", "re");
	char line[4096], target[2048];
	size_t n = strlen(dir);
	unsigned count = 0;

	assert_non_null(table);
	while (fgets(line, sizeof(line), table))
		count += sscanf(line, "%*s %*s %*s %*s %2047s", target) == 1 &&
			 strncmp(target, dir, n) == 0 && target[n] == '/';
	fclose(table);
	return count;
}

bool is_mounted(const char *path)
{
	FILE *table = fopen("/proc/self/mountinfo", "re");
	char line[4096], target[2048];
	bool found = false;

	assert_non_null(table);
	while (fgets(line, sizeof(line), table))
		found |= sscanf(line, "%*s %*s %*s %*s %2047s", target) == 1 && strcmp(target, path) == 0;
	fclose(table);
	return found;
}

uint64_t df_total(const char *path)
{
	struct statvfs st;

	assert_int_equal(statvfs(path, &st), 0);
	return (uint64_t)st.f_blocks * st.f_frsize;
}

void put_file(const char *dir, const char *name, const char *text)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	cleat_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fsync(fd), 0);
}

bool has_file(const char *dir, const char *name, const char *text)
{
	char path[512], got[512] = "";

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	cleat_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, got, sizeof(got) - 1) < 0)
		return false;
	return strcmp(got, text) == 0;
}
