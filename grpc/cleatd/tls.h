/* tls.h - credentials of the TCP listener: always mutual. */
#ifndef CLEATD_TLS_H
#define CLEATD_TLS_H

#include "cleatd/config.h"

#include <grpc/grpc_security.h>

/* Whether the files of config.listen_*, if any, can be read and look right. */
enum cleat_code cleatd_tls_check(const struct cleatd_config *config,
				 struct cleat_error *err) CLEAT_MUST_CHECK;
/* Reads certificate, key and client authorities of config.listen_*.  *creds_out:
 * grpc_server_credentials_release(). */
enum cleat_code cleatd_tls_credentials(const struct cleatd_config *config,
				       grpc_server_credentials **creds_out,
				       struct cleat_error *err) CLEAT_MUST_CHECK;

#endif
