// The part of OpenSSL that Kinglet uses. Only the target TLS imports it.
//
// What follows the includes is what Swift cannot see: macros with casts or with arguments.

#pragma once

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/ocsp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

// SSL_OP_… are made by a function-like macro.
static const uint64_t kinglet_SSL_OP_CIPHER_SERVER_PREFERENCE = SSL_OP_CIPHER_SERVER_PREFERENCE;
static const uint64_t kinglet_SSL_OP_NO_COMPRESSION = SSL_OP_NO_COMPRESSION;
static const uint64_t kinglet_SSL_OP_NO_RENEGOTIATION = SSL_OP_NO_RENEGOTIATION;
static const uint64_t kinglet_SSL_OP_NO_TICKET = SSL_OP_NO_TICKET;
static const uint64_t kinglet_SSL_OP_PRIORITIZE_CHACHA = SSL_OP_PRIORITIZE_CHACHA;

// A macro made of many others: names in the order and syntax of RFC 2253, but in plain UTF-8.
static const unsigned long kinglet_XN_FLAG_READABLE = XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB;

// A macro that casts the function pointer away.
static inline void kinglet_SSL_CTX_set_servername_callback(
    SSL_CTX *context, int (*callback)(SSL *, int *, void *), void *argument)
{
    SSL_CTX_set_tlsext_servername_callback(context, callback);
    SSL_CTX_set_tlsext_servername_arg(context, argument);
}

// Function-like macros.
static inline void kinglet_BIO_set_retry_read(BIO *bio)
{
    BIO_clear_retry_flags(bio);
    BIO_set_retry_read(bio);
}

static inline void kinglet_BIO_clear_retry_flags(BIO *bio)
{
    BIO_clear_retry_flags(bio);
}

// Typed stacks are macros or inline functions, depending on the version of OpenSSL.
static inline int kinglet_GENERAL_NAMES_count(const GENERAL_NAMES *names)
{
    return sk_GENERAL_NAME_num(names);
}

static inline const GENERAL_NAME *kinglet_GENERAL_NAMES_at(const GENERAL_NAMES *names, int index)
{
    return sk_GENERAL_NAME_value(names, index);
}

static inline int kinglet_X509_count(const STACK_OF(X509) *certificates)
{
    return sk_X509_num(certificates);
}

static inline X509 *kinglet_X509_at(const STACK_OF(X509) *certificates, int index)
{
    return sk_X509_value(certificates, index);
}

// OpenSSL keeps the peer's chain and its list of authorities as long as the connection, and has no
// call to let go of them. Emptied, both stay valid; nothing reads them after the handshake.
static inline void kinglet_SSL_forget_peer_chain(SSL *ssl)
{
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);
    while (chain != NULL && sk_X509_num(chain) > 0)
        X509_free(sk_X509_pop(chain));
    STACK_OF(X509_NAME) *names = (STACK_OF(X509_NAME) *)SSL_get0_peer_CA_list(ssl);
    while (names != NULL && sk_X509_NAME_num(names) > 0)
        X509_NAME_free(sk_X509_NAME_pop(names));
}

// Frees the peer's certificate, for which OpenSSL has no call either. It reads a session into one
// that exists, though, and puts everything in it in the place of what was there: so the session is
// read from its own parameters, written without the certificate. 1 is success.
static inline int kinglet_SSL_forget_peer_certificate(SSL *ssl)
{
    SSL_SESSION *session = SSL_get_session(ssl);
    SSL_SESSION *bare = SSL_SESSION_new();
    const unsigned char *id, *position;
    unsigned char key[512], *bytes = NULL;
    unsigned int id_length = 0;
    size_t key_length;
    int length = 0, done = 0;
    if (session == NULL || bare == NULL)
        goto end;
    key_length = SSL_SESSION_get_master_key(session, key, sizeof key);
    id = SSL_SESSION_get_id(session, &id_length);
    if (SSL_SESSION_set1_master_key(bare, key, key_length) != 1
        || SSL_SESSION_set_cipher(bare, SSL_SESSION_get0_cipher(session)) != 1
        || SSL_SESSION_set_protocol_version(bare, SSL_SESSION_get_protocol_version(session)) != 1
        || SSL_SESSION_set1_id(bare, id, id_length) != 1)
        goto end;
    length = i2d_SSL_SESSION(bare, &bytes);
    position = bytes;
    done = length > 0 && d2i_SSL_SESSION(&session, &position, length) != NULL;
end:
    OPENSSL_cleanse(key, sizeof key);
    OPENSSL_clear_free(bytes, length > 0 ? (size_t)length : 0);
    SSL_SESSION_free(bare);
    return done;
}

// Whether `name` is an OtherName of the type `nid`; its text is in the type `tag` then.
static inline const ASN1_STRING *kinglet_GENERAL_NAME_other(
    const GENERAL_NAME *name, int nid, int tag)
{
    ASN1_OBJECT *type = NULL;
    ASN1_TYPE *value = NULL;
    if (GENERAL_NAME_get0_otherName(name, &type, &value) != 1 || OBJ_obj2nid(type) != nid
        || value == NULL || ASN1_TYPE_get(value) != tag)
        return NULL;
    return value->value.asn1_string;
}

// OSSL_PARAM keeps pointers to names, which Swift's temporary C strings would not outlive.
static inline int kinglet_EVP_MAC_CTX_set_hmac_sha256_key(
    EVP_MAC_CTX *mac, const unsigned char *key, size_t length)
{
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key, length),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, parameters);
}
