// One certificate with its key, ready to serve: an SSL_CTX and what its callbacks need.

import COpenSSL

/// What is the same for all identities of a server.
struct ServerSettings: Sendable {
    /// Seconds for which a ticket is accepted at least.
    var ticketLifetime: Int
    /// By preference; empty means that the client's offer is ignored.
    var applicationProtocols: [[UInt8]]
    /// Whether ChaCha20-Poly1305 comes before AES-GCM whatever the client prefers.
    var prefersChaCha: Bool
    var ticketKeys: TicketKeys
}

/// A certificate that is loaded and checked.
///
/// Unchecked because of the pointer: everything is set up in `init` and never changed afterwards,
/// and OpenSSL allows concurrent SSL_new and handshakes on one SSL_CTX (its counts are atomic).
final class ServerIdentity: @unchecked Sendable {
    let domains: [String]
    let sslContext: OpaquePointer
    let summary: CertificateSummary
    /// What is unusual but no reason to refuse.
    let warnings: [String]
    /// The channel binding `tls-server-end-point` of a full handshake.
    let serverEndPoint: [UInt8]?
    let applicationProtocols: [[UInt8]]
    let ticketKeys: TicketKeys

    /// Loads the files of `identity`; `now` in seconds since 1970.
    init(_ identity: TLSIdentity, settings: ServerSettings, now: Int64) throws(TLSError) {
        let certificateFile = try PEMFile(
            path: identity.certificateFile, operation: "read the certificate",
            option: "tls.certificate")
        let keyFile = try PEMFile(
            path: identity.keyFile, operation: "read the private key", option: "tls.key")
        let chain = try Certificate.chain(
            pem: certificateFile.bytes, subject: identity.certificateFile)
        let key = try PrivateKey(pem: keyFile.bytes, subject: identity.keyFile)
        let leaf = chain[0]
        try Self.check(leaf, key, identity, now: now)

        domains = identity.domains
        summary = leaf.summary(file: identity.certificateFile)
        serverEndPoint = leaf.serverEndPoint
        applicationProtocols = settings.applicationProtocols
        ticketKeys = settings.ticketKeys
        var warnings: [String] = []
        if keyFile.isReadableByOthers {
            warnings.append(
                "\(identity.keyFile): every user of this machine can read the private key; "
                    + "run chmod 600 on it")
        }
        if leaf.notBefore > now {
            warnings.append(
                "\(identity.certificateFile): the certificate is not valid yet; check the clock")
        }
        for domain in identity.domains where !leaf.matches(domain) {
            warnings.append(
                "\(identity.certificateFile): the certificate does not name the domain \(domain); "
                    + "clients will not trust it")
        }
        self.warnings = warnings
        sslContext = try Self.makeContext(chain, key, identity, settings)

        let application = Unmanaged.passUnretained(self).toOpaque()
        guard SSL_CTX_set_ex_data(sslContext, 0, application) == 1 else {
            throw .openSSL("prepare a certificate")
        }
    }

    deinit { SSL_CTX_free(sslContext) }

    private static func check(
        _ leaf: Certificate, _ key: PrivateKey, _ identity: TLSIdentity, now: Int64
    ) throws(TLSError) {
        ERR_clear_error()
        guard X509_check_private_key(leaf.pointer, key.pointer) == 1 else {
            throw .fromOpenSSL(
                .keyMismatch, operation: "use the private key", subject: identity.keyFile,
                advice: "check tls.key in the configuration: "
                    + "it must be the key of \(identity.certificateFile)")
        }
        guard leaf.notAfter >= now else {
            throw TLSError(
                code: .certificateExpired, operation: "use the certificate",
                subject: identity.certificateFile, message: "its time is over",
                advice: "renew it and check tls.certificate in the configuration, "
                    + "or set the clock if it is wrong")
        }
    }

    private static func makeContext(
        _ chain: [Certificate], _ key: PrivateKey, _ identity: TLSIdentity,
        _ settings: ServerSettings
    ) throws(TLSError) -> OpaquePointer {
        ERR_clear_error()
        guard let context = SSL_CTX_new(TLS_server_method()) else {
            throw .openSSL("prepare a certificate")
        }
        do throws(TLSError) {
            try TLSParameters.apply(to: context, prefersChaCha: settings.prefersChaCha)
            try install(chain, key, identity, in: context)
            try installCallbacks(settings, in: context)
            return context
        } catch {
            SSL_CTX_free(context)
            throw error
        }
    }

    private static func install(
        _ chain: [Certificate], _ key: PrivateKey, _ identity: TLSIdentity,
        in context: OpaquePointer
    ) throws(TLSError) {
        guard SSL_CTX_use_certificate(context, chain[0].pointer) == 1 else {
            throw .fromOpenSSL(
                .certificateRefused, operation: "use the certificate",
                subject: identity.certificateFile, advice: "get one with a stronger key")
        }
        guard SSL_CTX_use_PrivateKey(context, key.pointer) == 1 else {
            throw .fromOpenSSL(
                .keyMismatch, operation: "use the private key", subject: identity.keyFile,
                advice: "check tls.key in the configuration")
        }
        for certificate in chain.dropFirst() {
            // The macro SSL_CTX_add1_chain_cert.
            let pointer = UnsafeMutableRawPointer(certificate.pointer)
            guard SSL_CTX_ctrl(context, SSL_CTRL_CHAIN_CERT, 1, pointer) == 1 else {
                throw .fromOpenSSL(
                    .certificateRefused, operation: "use the certificate's chain",
                    subject: identity.certificateFile, advice: "check the chain in the file")
            }
        }
    }

    private static func installCallbacks(
        _ settings: ServerSettings, in context: OpaquePointer
    ) throws(TLSError) {
        let sessionContext = Array("kinglet".utf8)
        guard
            SSL_CTX_set_session_id_context(context, sessionContext, UInt32(sessionContext.count))
                == 1,
            SSL_CTX_set_tlsext_ticket_key_evp_cb(context, OpenSSLCallbacks.prepareTicket) == 1,
            SSL_CTX_set_session_ticket_cb(context, OpenSSLCallbacks.fillTicket, nil, nil) == 1,
            // One instead of two: a client that comes back gets a fresh one each time.
            SSL_CTX_set_num_tickets(context, 1) == 1,
            SSL_CTX_set_max_early_data(context, 0) == 1
        else { throw .openSSL("prepare session tickets") }
        SSL_CTX_set_timeout(context, settings.ticketLifetime)
        if !settings.applicationProtocols.isEmpty {
            SSL_CTX_set_alpn_select_cb(context, OpenSSLCallbacks.chooseApplicationProtocol, nil)
        }
    }
}
