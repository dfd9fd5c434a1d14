/* certificate.c - see certificate.h. */
#include "goplugin/certificate.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#define CLOCK_SKEW_SECONDS 30
#define VALID_SECONDS (100L * 365 * 24 * 3600)
#define SERIAL_BITS 127

void goplugin_certificate_done(struct goplugin_certificate *c)
{
	if (c->key_pem)
		OPENSSL_cleanse(c->key_pem, strlen(c->key_pem));
	free(c->cert_pem);
	free(c->key_pem);
	free(c->cert_base64);
	*c = (struct goplugin_certificate){ NULL, NULL, NULL };
}

static bool add_extension(X509 *x, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	bool ok = ext && X509_add_ext(x, ext, -1);
	X509_EXTENSION_free(ext);
	return ok;
}

static bool set_serial(X509 *x)
{
	BIGNUM *number = BN_new();
	bool ok = number && BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) &&
		  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x));

	BN_free(number);
	return ok;
}

static bool fill(X509 *x, EVP_PKEY *key)
{
	X509_NAME *name = X509_get_subject_name(x);

	return X509_set_version(x, X509_VERSION_3) && set_serial(x) &&
	       X509_gmtime_adj(X509_getm_notBefore(x), -CLOCK_SKEW_SECONDS) &&
	       X509_gmtime_adj(X509_getm_notAfter(x), VALID_SECONDS) && X509_set_pubkey(x, key) &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0) &&
	       X509_set_issuer_name(x, name) && add_extension(x, NID_basic_constraints, "critical,CA:TRUE") &&
	       add_extension(x, NID_key_usage, "critical,digitalSignature,keyCertSign") &&
	       add_extension(x, NID_ext_key_usage, "clientAuth,serverAuth") &&
	       add_extension(x, NID_subject_alt_name, "DNS:localhost") && X509_sign(x, key, EVP_sha256());
}

static char *bio_text(BIO *bio)
{
	char *data = NULL;
	long n = BIO_get_mem_data(bio, &data);

	return n > 0 ? strndup(data, (size_t)n) : NULL;
}

static char *key_text(EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) ? bio_text(bio) : NULL;

	BIO_free(bio);
	return text;
}

static char *cert_text(X509 *x)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = bio && PEM_write_bio_X509(bio, x) ? bio_text(bio) : NULL;

	BIO_free(bio);
	return text;
}

static char *cert_base64(X509 *x)
{
	unsigned char *der = NULL;
	int n = i2d_X509(x, &der);
	char *text = n > 0 ? malloc(4 * ((size_t)n + 2) / 3 + 4) : NULL;

	if (text) {
		EVP_EncodeBlock((unsigned char *)text, der, n);
		text[strcspn(text, "=")] = '\0';
	}
	OPENSSL_free(der);
	return text;
}

enum cleat_code goplugin_certificate_make(struct goplugin_certificate *out, struct cleat_error *err)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	struct goplugin_certificate c = { NULL, NULL, NULL };

	if (key && x && fill(x, key))
		c = (struct goplugin_certificate){ cert_text(x), key_text(key), cert_base64(x) };
	X509_free(x);
	EVP_PKEY_free(key);
	if (!c.cert_pem || !c.key_pem || !c.cert_base64) {
		goplugin_certificate_done(&c);
		return cleat_error_set(err, CLEAT_INTERNAL, "cannot make a certificate for AutoMTLS");
	}
	*out = c;
	return CLEAT_OK;
}
