/* rt_tls_test.c - a listener of the core with mutual TLS: who shows the wrong certificate, or none, gets no
 * answer. */
#include "rt_lab.h"

#include "util/mem.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define VALID_SECONDS 3600

/* A self-signed certificate for "localhost" that is its own authority, as go-plugin makes them. */
struct identity {
	char key[2048];
	char cert[4096];
};

static struct lab lab;
static struct identity server_id, client_id, other_id;

static void add_extension(X509 *cert, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(e);
	assert_int_equal(X509_add_ext(cert, e, -1), 1);
	X509_EXTENSION_free(e);
}

static void copy_pem(BIO *b, char *to, size_t room)
{
	char *text = NULL;
	long n = BIO_get_mem_data(b, &text);

	assert_in_range(n, 1, room - 1);
	memcpy(to, text, (size_t)n);
	to[n] = '\0';
	BIO_free(b);
}

static void write_pem(struct identity *id, EVP_PKEY *key, X509 *cert)
{
	BIO *b = BIO_new(BIO_s_mem());

	assert_int_equal(PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL), 1);
	copy_pem(b, id->key, sizeof(id->key));
	b = BIO_new(BIO_s_mem());
	assert_int_equal(PEM_write_bio_X509(b, cert), 1);
	copy_pem(b, id->cert, sizeof(id->cert));
}

static void make_identity(struct identity *id, long serial)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);

	assert_non_null(key);
	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
	X509_gmtime_adj(X509_getm_notBefore(cert), -30);
	X509_gmtime_adj(X509_getm_notAfter(cert), VALID_SECONDS);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
	X509_set_issuer_name(cert, name);
	X509_set_pubkey(cert, key);
	add_extension(cert, NID_basic_constraints, "critical,CA:TRUE");
	add_extension(cert, NID_key_usage, "critical,digitalSignature,keyCertSign");
	add_extension(cert, NID_ext_key_usage, "clientAuth,serverAuth");
	add_extension(cert, NID_subject_alt_name, "DNS:localhost");
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	write_pem(id, key, cert);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static int up(void **state)
{
	(void)state;
	make_identity(&server_id, 1);
	make_identity(&client_id, 2);
	make_identity(&other_id, 3);
	lab_prepare(&lab);
	lab_make_server(&lab, NULL);
	grpc_ssl_pem_key_cert_pair pair = { server_id.key, server_id.cert };
	grpc_server_credentials *creds = grpc_ssl_server_credentials_create_ex(
		client_id.cert, &pair, 1, GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, NULL);
	assert_int_equal(cleat_rpc_listen_core(lab.server, lab.target, creds, lab.role, NULL, NULL),
			 CLEAT_OK);
	grpc_server_credentials_release(creds);
	assert_int_equal(cleat_rpc_server_start(lab.server, NULL), CLEAT_OK);
	return 0;
}

static int down(void **state)
{
	(void)state;
	lab_down(&lab);
	return 0;
}

/* A ping by somebody who trusts `trusted` and shows the certificate of `me` (or none). */
static enum cleat_code ping_as(struct identity *me, const struct identity *trusted)
{
	grpc_ssl_pem_key_cert_pair pair = { 0 };
	struct cleat_rpc_client_config config = { .target = lab.target };
	struct cleat_rpc_options o = { .timeout_ms = 10000 };
	struct cleat_rpc_client *c = NULL;

	if (me)
		pair = (grpc_ssl_pem_key_cert_pair){ me->key, me->cert };
	config.creds = grpc_ssl_credentials_create(trusted->cert, me ? &pair : NULL, NULL, NULL);
	assert_int_equal(cleat_rpc_client_new(&config, &c, NULL), CLEAT_OK);
	grpc_channel_credentials_release(config.creds);
	enum cleat_code code = lab_ping(c, &o, NULL);
	cleat_rpc_client_free(c);
	return code;
}

static void test_tls__the_right_certificate_gets_in(void **state)
{
	(void)state;
	assert_int_equal(ping_as(&client_id, &server_id), CLEAT_OK);
}

static void test_tls__others_do_not(void **state)
{
	(void)state;
	lab_settle(&lab);
	unsigned done = atomic_load(&lab_seen.done);
	assert_int_equal(ping_as(&other_id, &server_id), CLEAT_UNAVAILABLE);
	assert_int_equal(ping_as(NULL, &server_id), CLEAT_UNAVAILABLE);
	assert_int_equal(ping_as(&client_id, &other_id), CLEAT_UNAVAILABLE); /* it refuses the server */
	lab_make_client(&lab);						     /* without TLS */
	assert_int_equal(lab_ping(lab.client, NULL, NULL), CLEAT_UNAVAILABLE);
	assert_int_equal(atomic_load(&lab_seen.done), done); /* no handler saw any of them */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tls__the_right_certificate_gets_in),
		cmocka_unit_test(test_tls__others_do_not),
	};

	return cmocka_run_group_tests(tests, up, down);
}
