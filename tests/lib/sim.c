/* sim.c - see sim.h. */
#include "sim.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_BYTES (4u * 1024 * 1024)

static int connect_to(int port)
{
	const struct sockaddr_in addr = { .sin_family = AF_INET,
					  .sin_port = htons((unsigned short)port),
					  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool send_all(int fd, const char *text, size_t n)
{
	while (n) {
		const ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);
		if (sent <= 0)
			return false;
		text += sent;
		n -= (size_t)sent;
	}
	return true;
}

static char *read_all(int fd)
{
	char *text = malloc(MOST_BYTES + 1);
	size_t n = 0;
	ssize_t got;

	while (text && n < MOST_BYTES && (got = read(fd, text + n, MOST_BYTES - n)) > 0)
		n += (size_t)got;
	if (text)
		text[n] = '\0';
	return text;
}

bool sim_call(int port, const char *what, const char *json, char *out, size_t room)
{
	char head[256];
	const char *body = json ? json : "";
	const int fd = connect_to(port);
	const int n = snprintf(head, sizeof(head), "POST /sim/%s HTTP/1.0\r\nContent-Length: %zu\r\n\r\n",
			       what, strlen(body));
	char *answer = NULL;

	if (fd >= 0 && send_all(fd, head, (size_t)n) && send_all(fd, body, strlen(body)))
		answer = read_all(fd);
	if (fd >= 0)
		close(fd);
	const bool good = answer && strlen(answer) > 12 && strncmp(answer + 9, "200", 3) == 0;
	const char *rest = good ? strstr(answer, "\r\n\r\n") : NULL;
	if (out && room)
		snprintf(out, room, "%s", rest ? rest + 4 : "");
	free(answer);
	return good;
}
