/* certificate.h - the plugin's own certificate for AutoMTLS: made at each start, signed by itself. */
#ifndef CLEAT_GOPLUGIN_CERTIFICATE_H
#define CLEAT_GOPLUGIN_CERTIFICATE_H

#include <cleat/error.h>

struct goplugin_certificate {
	char *cert_pem, *key_pem;
	char *cert_base64; /* of the DER form, standard alphabet without padding, as the handshake wants it */
};

/* ECDSA P-256, CN and DNS name "localhost", valid from a little before now for a century, for both ends of TLS. */
enum cleat_code goplugin_certificate_make(struct goplugin_certificate *out, struct cleat_error *err) CLEAT_MUST_CHECK;
/* Wipes the key. */
void goplugin_certificate_done(struct goplugin_certificate *c);

#endif
