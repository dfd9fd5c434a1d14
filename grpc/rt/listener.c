/* listener.c - our own accept loop, which hands connected sockets to the core.
 *
 * The core's listener knows no peer credentials, has no file mode, never accepts again once it ran out of
 * descriptors, and removes a successor's socket when it closes: so it serves only where TLS needs it.
 */
#include "rt/internal.h"

#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <grpc/grpc_posix.h>
#include <grpc/support/alloc.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Out of descriptors or memory: how long until the next try. */
#define RETRY_MS 100

/* ---- making sockets ---- */

static enum cleat_code room_for_listener(struct cleat_rpc_server *s, struct cleat_error *err)
{
	if (s->started)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "the server runs already");
	if (s->n_listeners == RPC_MAX_LISTENERS)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "a server has at most %d listeners",
				       RPC_MAX_LISTENERS);
	return CLEAT_OK;
}

static enum cleat_code new_socket(int *fd_out, struct cleat_error *err)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return cleat_error_errno(err, errno, "make a socket");
	*fd_out = fd;
	return CLEAT_OK;
}

/* Somebody may listen there: only "connection refused" says that nobody does. */
static enum cleat_code remove_dead_socket(const struct sockaddr_un *addr, struct cleat_error *err)
{
	cleat_autoclose int fd = -1;
	struct stat st;

	if (lstat(addr->sun_path, &st))
		return errno == ENOENT ? CLEAT_OK
				       : cleat_error_errno(err, errno, "socket '%s'", addr->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "'%s' exists and is not a socket",
				       addr->sun_path);
	enum cleat_code code = new_socket(&fd, err);
	if (code != CLEAT_OK)
		return code;
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno != ECONNREFUSED)
		return cleat_error_set(err, CLEAT_FAILED_PRECONDITION, "another server listens on '%s'",
				       addr->sun_path);
	if (unlink(addr->sun_path) && errno != ENOENT)
		return cleat_error_errno(err, errno, "remove dead socket '%s'", addr->sun_path);
	return CLEAT_OK;
}

/* Nobody can connect before listen(), so owner and mode hold from the first connection on. */
static enum cleat_code bind_and_listen(int fd, const struct sockaddr_un *addr,
				       const struct cleat_rpc_unix *where, struct cleat_error *err)
{
	const char *path = addr->sun_path;

	if (bind(fd, (const struct sockaddr *)addr, sizeof(*addr)))
		return cleat_error_errno(err, errno, "bind socket '%s'", path);
	if (where->set_group && fchownat(AT_FDCWD, path, (uid_t)-1, where->group, AT_SYMLINK_NOFOLLOW))
		return cleat_error_errno(err, errno, "give socket '%s' to group %u", path, where->group);
	if (chmod(path, where->mode ? where->mode : 0600))
		return cleat_error_errno(err, errno, "set the mode of socket '%s'", path);
	if (listen(fd, SOMAXCONN))
		return cleat_error_errno(err, errno, "listen on '%s'", path);
	return CLEAT_OK;
}

static void add_listener(struct cleat_rpc_server *s, int fd, char *path,
			 const struct cleat_rpc_admission *who)
{
	struct stat st = { 0 };

	if (path && lstat(path, &st))
		st.st_ino = 0; /* matches nothing */
	s->listeners[s->n_listeners++] = (struct rpc_listener){ fd, path, st.st_dev, st.st_ino, *who };
}

enum cleat_code cleat_rpc_listen_unix(struct cleat_rpc_server *s, const struct cleat_rpc_unix *where,
				      const struct cleat_rpc_admission *who, struct cleat_error *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	cleat_autofree char *path = strdup(where->path);
	cleat_autoclose int fd = -1;

	if (!path)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no memory for a path");
	if (strlen(path) >= sizeof(addr.sun_path) || !*path)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "socket path '%s' must have 1 to %zu bytes", path,
				       sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, strlen(path));
	enum cleat_code code = room_for_listener(s, err);
	if (code == CLEAT_OK)
		code = remove_dead_socket(&addr, err);
	if (code == CLEAT_OK)
		code = new_socket(&fd, err);
	if (code == CLEAT_OK)
		code = bind_and_listen(fd, &addr, where, err);
	if (code == CLEAT_OK)
		add_listener(s, cleat_steal_fd(&fd), cleat_steal(path), who);
	return code;
}

static bool socket_option_is(int fd, int option, int wanted)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 && value == wanted;
}

enum cleat_code cleat_rpc_listen_fd(struct cleat_rpc_server *s, int fd_taken,
				    const struct cleat_rpc_admission *who, struct cleat_error *err)
{
	cleat_autoclose int fd = fd_taken;
	enum cleat_code code = room_for_listener(s, err);

	if (code != CLEAT_OK)
		return code;
	if (!socket_option_is(fd, SO_DOMAIN, AF_UNIX) || !socket_option_is(fd, SO_TYPE, SOCK_STREAM) ||
	    !socket_option_is(fd, SO_ACCEPTCONN, 1))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "descriptor %d is not a listening Unix stream socket", fd);
	if (fcntl(fd, F_SETFL, O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC))
		return cleat_error_errno(err, errno, "prepare listening descriptor %d", fd);
	add_listener(s, cleat_steal_fd(&fd), NULL, who);
	return CLEAT_OK;
}

/* ---- who is who ---- */

static void remember_peer(struct cleat_rpc_server *s, int fd, const struct cleat_rpc_peer *who)
{
	pthread_mutex_lock(&s->peers.lock);
	s->peers.of[fd] = *who;
	pthread_mutex_unlock(&s->peers.lock);
}

/* The core names a connection that it was given "fd:<number>". */
struct cleat_rpc_peer cleat_rt_peer_of(struct cleat_rpc_server *s, grpc_call *call)
{
	struct cleat_rpc_peer who = { 0 };
	char *name = grpc_call_get_peer(call);

	if (name && strncmp(name, "fd:", 3) == 0) {
		unsigned long fd = strtoul(name + 3, NULL, 10);
		pthread_mutex_lock(&s->peers.lock);
		if (fd <= s->config.max_fd)
			who = s->peers.of[fd];
		pthread_mutex_unlock(&s->peers.lock);
	}
	gpr_free(name);
	return who;
}

/* ---- accepting ---- */

static bool ask_kernel(int fd, struct cleat_rpc_peer *who)
{
	struct ucred uc;
	socklen_t len = sizeof(uc);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &uc, &len))
		return false;
	*who = (struct cleat_rpc_peer){ true, uc.uid, uc.gid, uc.pid };
	return true;
}

static struct cleat_rpc_role *admit(const struct rpc_listener *l, const struct cleat_rpc_peer *who)
{
	return l->who.admit ? l->who.admit(who, l->who.arg) : l->who.role;
}

static void take_connection(struct cleat_rpc_server *s, const struct rpc_listener *l, int fd_taken,
			    grpc_server_credentials *insecure)
{
	cleat_autoclose int fd = fd_taken;
	struct cleat_rpc_peer who;

	/* Numbers are handed out lowest first, so this one says how many are open; the rest of the process
	 * and its children need some as well. */
	if ((unsigned)fd > s->config.max_fd) {
		cleat_debug("connection refused: %u descriptors are open", (unsigned)fd);
		return;
	}
	if (!ask_kernel(fd, &who))
		return;
	struct cleat_rpc_role *role = admit(l, &who);
	if (!role)
		return;
	remember_peer(s, fd, &who);
	grpc_server_add_channel_from_fd(role->core, cleat_steal_fd(&fd), insecure);
}

/* Accepts once.  Running out of descriptors is survived: the connection waits in the kernel. */
static void accept_one(struct cleat_rpc_server *s, const struct rpc_listener *l,
		       grpc_server_credentials *insecure)
{
	int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		take_connection(s, l, fd, insecure);
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		struct pollfd stop = { s->wake_fd, POLLIN, 0 };
		poll(&stop, 1, RETRY_MS);
	}
}

static void *accept_loop(void *arg)
{
	struct cleat_rpc_server *s = arg;
	grpc_server_credentials *insecure = grpc_insecure_server_credentials_create();
	struct pollfd p[RPC_MAX_LISTENERS + 1];

	for (unsigned i = 0; i < s->n_listeners; i++)
		p[i] = (struct pollfd){ s->listeners[i].fd, POLLIN, 0 };
	struct pollfd *wake = &p[s->n_listeners];
	*wake = (struct pollfd){ s->wake_fd, POLLIN, 0 };
	while (!wake->revents) {
		if (poll(p, s->n_listeners + 1, -1) < 0)
			continue; /* EINTR or ENOMEM: revents are as before */
		for (unsigned i = 0; i < s->n_listeners && !wake->revents; i++)
			if (p[i].revents)
				accept_one(s, &s->listeners[i], insecure);
	}
	grpc_server_credentials_release(insecure);
	return NULL;
}

enum cleat_code cleat_rt_listeners_start(struct cleat_rpc_server *s, struct cleat_error *err)
{
	if (s->n_listeners == 0)
		return CLEAT_OK;
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake_fd < 0)
		return cleat_error_errno(err, errno, "make an event descriptor");
	enum cleat_code code = cleat_rt_thread_start(&s->acceptor, "rpc-accept", accept_loop, s, err);
	s->accepting = code == CLEAT_OK;
	return code;
}

/* A successor may have bound the path already: then it is not ours to remove. */
static void remove_path(const struct rpc_listener *l)
{
	struct stat st;

	if (l->path && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
		unlink(l->path);
}

void cleat_rt_listeners_stop(struct cleat_rpc_server *s)
{
	if (s->accepting) {
		eventfd_write(s->wake_fd, 1);
		pthread_join(s->acceptor, NULL);
		s->accepting = false;
	}
	for (; s->n_listeners; s->n_listeners--) {
		struct rpc_listener *l = &s->listeners[s->n_listeners - 1];
		remove_path(l); /* before the close: after it, a successor may take the path */
		close(l->fd);
		free(l->path);
	}
	if (s->wake_fd >= 0)
		close(s->wake_fd);
	s->wake_fd = -1;
}
