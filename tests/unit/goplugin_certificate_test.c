/* goplugin_certificate_test.c - the plugin's own certificate: what a host reads from the handshake is what
 * the server serves. */
#include "goplugin/certificate.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static X509 *from_pem(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	BIO_free(bio);
	assert_non_null(x);
	return x;
}

/* The handshake's form: standard alphabet, no padding. */
static X509 *from_base64(const char *text)
{
	size_t n = strlen(text), padded = (n + 3) / 4 * 4;
	unsigned char *der = malloc(padded);
	char *copy = malloc(padded + 1);

	assert_non_null(der);
	assert_non_null(copy);
	memset(copy, '=', padded);
	memcpy(copy, text, n);
	copy[padded] = '\0';
	int len = EVP_DecodeBlock(der, (unsigned char *)copy, (int)padded);
	assert_true(len > 0);
	const unsigned char *p = der;
	X509 *x = d2i_X509(NULL, &p, len);
	free(copy);
	free(der);
	assert_non_null(x);
	return x;
}

static void test_certificate__is_one_in_both_forms(void **state)
{
	struct goplugin_certificate c;

	(void)state;
	assert_int_equal(goplugin_certificate_make(&c, NULL), CLEAT_OK);
	assert_null(strpbrk(c.cert_base64, "=-_\n"));
	assert_true(strlen(c.cert_base64) > 50); /* shorter ones are no certificate to the host */
	X509 *pem = from_pem(c.cert_pem), *wire = from_base64(c.cert_base64);
	assert_int_equal(X509_cmp(pem, wire), 0);
	X509_free(pem);
	X509_free(wire);
	goplugin_certificate_done(&c);
}

static void test_certificate__is_for_localhost_and_signed_by_itself(void **state)
{
	struct goplugin_certificate c;

	(void)state;
	assert_int_equal(goplugin_certificate_make(&c, NULL), CLEAT_OK);
	X509 *x = from_pem(c.cert_pem);
	EVP_PKEY *key = X509_get_pubkey(x);
	assert_int_equal(X509_check_host(x, "localhost", 0, 0, NULL), 1);
	assert_int_equal(X509_verify(x, key), 1);
	assert_true(X509_cmp_current_time(X509_get0_notBefore(x)) < 0);
	assert_true(X509_cmp_current_time(X509_get0_notAfter(x)) > 0);
	BIO *bio = BIO_new_mem_buf(c.key_pem, -1);
	EVP_PKEY *private_key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	assert_non_null(private_key);
	assert_int_equal(X509_check_private_key(x, private_key), 1);
	EVP_PKEY_free(private_key);
	BIO_free(bio);
	EVP_PKEY_free(key);
	X509_free(x);
	goplugin_certificate_done(&c);
}

static void test_certificate__is_new_each_time(void **state)
{
	struct goplugin_certificate a, b;

	(void)state;
	assert_int_equal(goplugin_certificate_make(&a, NULL), CLEAT_OK);
	assert_int_equal(goplugin_certificate_make(&b, NULL), CLEAT_OK);
	assert_string_not_equal(a.cert_base64, b.cert_base64);
	assert_string_not_equal(a.key_pem, b.key_pem);
	goplugin_certificate_done(&a);
	goplugin_certificate_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_certificate__is_one_in_both_forms),
		cmocka_unit_test(test_certificate__is_for_localhost_and_signed_by_itself),
		cmocka_unit_test(test_certificate__is_new_each_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
