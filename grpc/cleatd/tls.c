/* tls.c - see tls.h. */
#include "cleatd/tls.h"

#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_PEM_BYTES (1u << 20)

/* A whole small file with a NUL behind it. */
static enum cleat_code read_pem(const char *path, char **text_out, struct cleat_error *err)
{
	cleat_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	cleat_autofree char *text = NULL;
	struct stat st;
	size_t n = 0;

	if (fd < 0 || fstat(fd, &st) != 0)
		return cleat_error_errno(err, errno, "open '%s'", path);
	if (!S_ISREG(st.st_mode) || st.st_size < 1 || st.st_size > MAX_PEM_BYTES)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%s' is no file of 1 byte to 1 MiB",
				       path);
	text = calloc(1, (size_t)st.st_size + 1);
	if (!text)
		return cleat_error_set(err, CLEAT_RESOURCE_EXHAUSTED, "no memory to read '%s'", path);
	while (n < (size_t)st.st_size) {
		ssize_t k = read(fd, text + n, (size_t)st.st_size - n);
		if (k <= 0)
			return cleat_error_errno(err, k < 0 ? errno : EIO, "read '%s'", path);
		n += (size_t)k;
	}
	if (!strstr(text, "-----BEGIN "))
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT, "'%s' is not PEM", path);
	*text_out = cleat_steal(text);
	return CLEAT_OK;
}

struct pems {
	char *ca, *cert, *key;
};

static void pems_done(struct pems *p)
{
	if (p->key)
		explicit_bzero(p->key, strlen(p->key));
	free(p->key);
	free(p->cert);
	free(p->ca);
}

static enum cleat_code read_pems(const struct cleatd_config *config, struct pems *p, struct cleat_error *err)
{
	if (read_pem(config->listen_cert, &p->cert, err) || read_pem(config->listen_key, &p->key, err) ||
	    read_pem(config->listen_client_ca, &p->ca, err))
		return cleat_error_wrap(err, "listen");
	return CLEAT_OK;
}

enum cleat_code cleatd_tls_check(const struct cleatd_config *config, struct cleat_error *err)
{
	__attribute__((cleanup(pems_done))) struct pems p = { 0 };

	return config->listen_address ? read_pems(config, &p, err) : CLEAT_OK;
}

enum cleat_code cleatd_tls_credentials(const struct cleatd_config *config,
				       grpc_server_credentials **creds_out, struct cleat_error *err)
{
	__attribute__((cleanup(pems_done))) struct pems p = { 0 };
	grpc_server_credentials *creds;

	if (read_pems(config, &p, err))
		return err->code;
	grpc_ssl_pem_key_cert_pair pair = { .private_key = p.key, .cert_chain = p.cert };
	creds = grpc_ssl_server_credentials_create_ex(
		p.ca, &pair, 1, GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, NULL);
	if (!creds)
		return cleat_error_set(err, CLEAT_INVALID_ARGUMENT,
				       "listen: certificate, key and client_ca are not usable");
	*creds_out = creds;
	return CLEAT_OK;
}
