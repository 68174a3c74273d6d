// X.509 certificates (RFC 5280): read from PEM, asked about their names and times.

import COpenSSL
import Glibc

/// What an operator wants to know of a certificate.
public struct CertificateSummary: Sendable, Equatable {
    /// The file it was read from; empty when it came from memory.
    public var file: String
    /// The subject's distinguished name (RFC 2253), such as `CN=example.org`.
    public var subject: String
    /// The issuer's distinguished name.
    public var issuer: String
    /// The DNS names it vouches for.
    public var domains: [String]
    /// The first second of its validity, since 1970.
    public var notBefore: Int64
    /// The last second of its validity, since 1970.
    public var notAfter: Int64
    /// Whether an authority that `kinglet init` made has issued it.
    public var issuedByLocalAuthority: Bool
    /// The SHA-256 of the certificate, in hexadecimal with colons.
    public var fingerprint: String
}

/// A certificate that OpenSSL holds; freed with its last owner.
///
/// Used by one thread at a time; a server context keeps OpenSSL's own reference instead.
final class Certificate {
    /// Longer chains than this are a mistake in the file.
    static let chainLimit = 16

    let pointer: OpaquePointer

    /// Takes over the reference.
    init(owned pointer: OpaquePointer) { self.pointer = pointer }

    deinit { X509_free(pointer) }

    /// Reads all certificates of a PEM text, in their order; at least one.
    static func chain(pem: [UInt8], subject: String) throws(TLSError) -> [Certificate] {
        let operation = "read the certificate"
        let advice =
            "check tls.certificate in the configuration: "
            + "it must name a file with a PEM certificate and its chain"
        ERR_clear_error()
        guard let source = PEMText.source(pem) else { throw .openSSL(operation) }
        defer { BIO_free(source) }
        var chain: [Certificate] = []
        while let pointer = PEM_read_bio_X509(source, nil, OpenSSLCallbacks.refusePassword, nil) {
            chain.append(Certificate(owned: pointer))
            guard chain.count <= chainLimit else {
                throw TLSError(
                    code: .malformed, operation: operation, subject: subject,
                    message: "more than \(chainLimit) certificates", advice: advice)
            }
        }
        // The end of the text shows as "no start line"; anything else is a damaged certificate.
        let end = OpenSSLFailure.take()
        let atEnd = end.module == ERR_LIB_PEM && end.reason == PEM_R_NO_START_LINE
        guard atEnd, !chain.isEmpty else {
            throw TLSError(
                code: .malformed, operation: operation, subject: subject,
                message: atEnd ? "no PEM certificate in it" : end.text, advice: advice)
        }
        return chain
    }

    /// The certificate in PEM.
    func pem() throws(TLSError) -> String {
        try PEMText.write("write a certificate") { PEM_write_bio_X509($0, pointer) }
    }

    /// What an operator wants to know.
    func summary(file: String) -> CertificateSummary {
        let issuer = X509_get_issuer_name(pointer)
        return CertificateSummary(
            file: file, subject: Self.text(X509_get_subject_name(pointer)),
            issuer: Self.text(issuer), domains: domains, notBefore: notBefore, notAfter: notAfter,
            issuedByLocalAuthority: Self.organization(issuer) == LocalAuthority.organization,
            fingerprint: fingerprint)
    }

    /// The first second of validity, since 1970.
    var notBefore: Int64 { Self.seconds(X509_get0_notBefore(pointer)) }

    /// The last second of validity, since 1970.
    var notAfter: Int64 { Self.seconds(X509_get0_notAfter(pointer)) }

    /// The SHA-256 of the whole certificate, in hexadecimal with colons.
    var fingerprint: String {
        let digits = Array("0123456789ABCDEF".utf8)
        var text: [UInt8] = []
        for byte in digest(EVP_sha256()) ?? [] {
            if !text.isEmpty { text.append(UInt8(ascii: ":")) }
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The channel binding `tls-server-end-point` (RFC 5929 section 4.1): the certificate under
    /// the digest of its own signature, with SHA-256 in place of MD5 and SHA-1.
    ///
    /// Nil where the signature has no single digest, as with Ed25519: the RFC leaves that open.
    var serverEndPoint: [UInt8]? {
        var digestIdentifier: Int32 = NID_undef
        guard X509_get_signature_info(pointer, &digestIdentifier, nil, nil, nil) == 1 else {
            ERR_clear_error()
            return nil
        }
        switch digestIdentifier {
        case NID_undef: return nil
        case NID_md5, NID_sha1, NID_md5_sha1: return digest(EVP_sha256())
        default: return EVP_get_digestbyname(OBJ_nid2sn(digestIdentifier)).flatMap(digest)
        }
    }

    /// Whether the certificate vouches for `domain` (RFC 6125, wildcards included).
    func matches(_ domain: String) -> Bool {
        // A configured wildcard is covered by the same wildcard; any label may stand for it.
        let name = domain.hasPrefix("*.") ? "any" + domain.dropFirst() : domain
        return X509_check_host(pointer, name, name.utf8.count, 0, nil) == 1
    }

    /// The DNS names among the alternative names.
    private var domains: [String] {
        var result: [String] = []
        _ = withAlternativeNames { name in
            var type: Int32 = -1
            guard let value = GENERAL_NAME_get0_value(name, &type), type == GEN_DNS else {
                return false
            }
            let text = UnsafePointer<ASN1_STRING>(value.assumingMemoryBound(to: ASN1_STRING.self))
            result.append(String(decoding: Self.bytes(of: text), as: UTF8.self))
            return false
        }
        return result
    }

    /// Whether `isFound` says so of one of the alternative names; asked of each until then.
    func withAlternativeNames(_ isFound: (UnsafePointer<GENERAL_NAME>) -> Bool) -> Bool {
        defer { ERR_clear_error() }
        guard let raw = X509_get_ext_d2i(pointer, NID_subject_alt_name, nil, nil) else {
            return false
        }
        let names = OpaquePointer(raw)
        defer { GENERAL_NAMES_free(names) }
        return (0..<max(0, kinglet_GENERAL_NAMES_count(names))).contains {
            kinglet_GENERAL_NAMES_at(names, $0).map(isFound) ?? false
        }
    }

    /// The content of a string, valid as long as that.
    static func bytes(of text: UnsafePointer<ASN1_STRING>) -> UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(
            start: ASN1_STRING_get0_data(text), count: Int(max(0, ASN1_STRING_length(text))))
    }

    private func digest(_ algorithm: OpaquePointer?) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var length: UInt32 = 0
        guard X509_digest(pointer, algorithm, &bytes, &length) == 1 else {
            ERR_clear_error()
            return nil
        }
        return Array(bytes.prefix(Int(length)))
    }

    /// A time in seconds since 1970; 0 for what is none.
    static func seconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int64 {
        var parts = tm()
        guard ASN1_TIME_to_tm(time, &parts) == 1 else { return 0 }
        return Int64(timegm(&parts))
    }

    private static func organization(_ name: OpaquePointer?) -> String {
        var bytes = [CChar](repeating: 0, count: 256)
        let length = X509_NAME_get_text_by_NID(
            name, NID_organizationName, &bytes, Int32(bytes.count))
        return String(
            decoding: bytes.prefix(Int(max(0, length))).map(UInt8.init(bitPattern:)),
            as: UTF8.self)
    }

    private static func text(_ name: OpaquePointer?) -> String {
        let text = try? PEMText.write("print a name") {
            X509_NAME_print_ex($0, name, 0, kinglet_XN_FLAG_READABLE) >= 0 ? 1 : 0
        }
        return text ?? ""
    }
}
