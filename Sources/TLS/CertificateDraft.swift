// Building and checking certificates: OpenSSL's calls behind LocalAuthority.

import COpenSSL
import Glibc

/// A certificate (version 3) on its way to a signature.
struct CertificateDraft {
    private static let operation = "make a certificate"

    let certificate: Certificate
    private var issuer: Certificate?

    /// A draft for the public half of `key`, valid between two times in seconds since 1970, with
    /// a serial number of 128 random bits.
    init(key: PrivateKey, from start: Int64, to end: Int64) throws(TLSError) {
        ERR_clear_error()
        guard let pointer = X509_new() else { throw .openSSL(Self.operation) }
        certificate = Certificate(owned: pointer)
        let number = SecureRandom.bytes(16)
        guard let serial = BN_bin2bn(number, Int32(number.count), nil) else {
            throw .openSSL(Self.operation)
        }
        defer { BN_free(serial) }
        guard X509_set_version(pointer, Int(X509_VERSION_3)) == 1,
            BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(pointer)) != nil,
            ASN1_TIME_set(X509_getm_notBefore(pointer), time_t(start)) != nil,
            ASN1_TIME_set(X509_getm_notAfter(pointer), time_t(end)) != nil,
            X509_set_pubkey(pointer, key.pointer) == 1
        else { throw .openSSL(Self.operation) }
    }

    /// Names the subject by pairs of attribute (NID) and value.
    func setSubject(_ parts: [(attribute: Int32, value: String)]) throws(TLSError) {
        ERR_clear_error()
        let name = X509_get_subject_name(certificate.pointer)
        for part in parts {
            let value = Array(part.value.utf8)
            guard
                X509_NAME_add_entry_by_NID(
                    name, part.attribute, MBSTRING_UTF8, value, Int32(clamping: value.count), -1, 0)
                    == 1
            else {
                throw .fromOpenSSL(
                    .configuration, operation: Self.operation, subject: part.value,
                    advice: "use a name of 1 to 64 characters")
            }
        }
    }

    /// Names the issuer; the extensions that are added afterwards refer to it.
    mutating func setIssuer(_ issuer: Certificate) throws(TLSError) {
        ERR_clear_error()
        self.issuer = issuer
        let name = X509_get_subject_name(issuer.pointer)
        guard X509_set_issuer_name(certificate.pointer, name) == 1 else {
            throw .openSSL(Self.operation)
        }
    }

    /// Adds an extension in OpenSSL's textual syntax (x509v3_config); `value` is not from outside.
    func add(_ identifier: Int32, _ value: String) throws(TLSError) {
        ERR_clear_error()
        var context = X509V3_CTX()
        X509V3_set_ctx(&context, issuer?.pointer, certificate.pointer, nil, nil, 0)
        guard let part = X509V3_EXT_conf_nid(nil, &context, identifier, value) else {
            throw .openSSL(Self.operation)
        }
        defer { X509_EXTENSION_free(part) }
        guard X509_add_ext(certificate.pointer, part, -1) == 1 else {
            throw .openSSL(Self.operation)
        }
    }

    /// Signs with ECDSA over SHA-256 and gives the finished certificate.
    func sign(with key: PrivateKey) throws(TLSError) -> Certificate {
        ERR_clear_error()
        guard X509_sign(certificate.pointer, key.pointer, EVP_sha256()) > 0 else {
            throw .openSSL(Self.operation)
        }
        return certificate
    }
}

extension Certificate {
    /// Checks what a client would: signature, times, purpose, name and the issuer's constraints.
    func verify(under authority: Certificate, for domain: String, at time: Int64) throws(TLSError) {
        let operation = "check a certificate"
        ERR_clear_error()
        guard let store = X509_STORE_new() else { throw .openSSL(operation) }
        defer { X509_STORE_free(store) }
        guard let context = X509_STORE_CTX_new() else { throw .openSSL(operation) }
        defer { X509_STORE_CTX_free(context) }
        guard X509_STORE_add_cert(store, authority.pointer) == 1,
            X509_STORE_CTX_init(context, store, pointer, nil) == 1,
            let parameters = X509_STORE_CTX_get0_param(context),
            X509_VERIFY_PARAM_set_purpose(parameters, X509_PURPOSE_SSL_SERVER) == 1,
            X509_VERIFY_PARAM_set1_host(parameters, domain, domain.utf8.count) == 1
        else { throw .openSSL(operation) }
        X509_VERIFY_PARAM_set_time(parameters, time_t(time))
        guard X509_verify_cert(context) == 1 else {
            let result = X509_STORE_CTX_get_error(context)
            ERR_clear_error()
            let reason =
                X509_verify_cert_error_string(Int(result)).map { String(cString: $0) }
                ?? "error \(result)"
            throw TLSError(
                code: result == X509_V_ERR_CERT_HAS_EXPIRED ? .certificateExpired : .domainRefused,
                operation: operation, subject: domain, message: reason,
                advice: "make a new authority for this domain")
        }
    }
}
