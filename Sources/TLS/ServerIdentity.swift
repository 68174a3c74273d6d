// One certificate with its key, ready to serve: an SSL_CTX and what its callbacks need.

import COpenSSL

/// What is the same for all identities of a server.
struct ServerSettings: Sendable {
    /// Who is at the other end.
    enum Peers: Sendable {
        /// Clients: no certificate of theirs is asked for, and they may resume their session for
        /// `lifetime` seconds at least.
        case clients(tickets: TicketKeys, lifetime: Int)
        /// Other servers, whoever opens the connection: each handshake shows certificates.
        case servers
    }

    var peers: Peers
    /// By preference; empty means that the client's offer is ignored.
    var applicationProtocols: [[UInt8]]
    /// Whether ChaCha20-Poly1305 comes before AES-GCM whatever the client prefers.
    var prefersChaCha: Bool
}

/// A certificate that is read and checked, on its way to a `ServerIdentity`.
struct LoadedIdentity {
    let identity: TLSIdentity
    let chain: [Certificate]
    let key: PrivateKey
    /// What is unusual but no reason to refuse.
    let warnings: [String]

    var leaf: Certificate { chain[0] }

    /// Loads the files of `identity`; `now` in seconds since 1970.
    init(_ identity: TLSIdentity, now: Int64) throws(TLSError) {
        let certificateFile = try PEMFile(
            path: identity.certificateFile, operation: "read the certificate",
            option: "tls.certificate")
        let keyFile = try PEMFile(
            path: identity.keyFile, operation: "read the private key", option: "tls.key")
        self.identity = identity
        chain = try Certificate.chain(
            pem: certificateFile.bytes, subject: identity.certificateFile)
        key = try PrivateKey(pem: keyFile.bytes, subject: identity.keyFile)
        let leaf = chain[0]
        try Self.check(leaf, key, identity, now: now)

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
    }

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
}

/// A certificate that is ready to be shown.
///
/// Unchecked because of the pointer: everything is set up in `init` and never changed afterwards,
/// and OpenSSL allows concurrent SSL_new and handshakes on one SSL_CTX (its counts are atomic).
final class ServerIdentity: @unchecked Sendable {
    let domains: [String]
    let sslContext: OpaquePointer
    let summary: CertificateSummary
    let warnings: [String]
    /// The channel binding `tls-server-end-point` of a full handshake.
    let serverEndPoint: [UInt8]?
    let applicationProtocols: [[UInt8]]
    /// Nil where there are no tickets.
    let ticketKeys: TicketKeys?

    init(_ loaded: LoadedIdentity, settings: ServerSettings) throws(TLSError) {
        domains = loaded.identity.domains
        summary = loaded.leaf.summary(file: loaded.identity.certificateFile)
        warnings = loaded.warnings
        serverEndPoint = loaded.leaf.serverEndPoint
        applicationProtocols = settings.applicationProtocols
        ticketKeys =
            switch settings.peers {
            case .clients(let tickets, _): tickets
            case .servers: nil
            }
        sslContext = try Self.makeContext(loaded, settings)

        let application = Unmanaged.passUnretained(self).toOpaque()
        guard SSL_CTX_set_ex_data(sslContext, 0, application) == 1 else {
            throw .openSSL("prepare a certificate")
        }
    }

    deinit { SSL_CTX_free(sslContext) }

    private static func makeContext(
        _ loaded: LoadedIdentity, _ settings: ServerSettings
    ) throws(TLSError) -> OpaquePointer {
        ERR_clear_error()
        // The general method, because connections to other servers are opened with it too.
        guard let context = SSL_CTX_new(TLS_method()) else {
            throw .openSSL("prepare a certificate")
        }
        do throws(TLSError) {
            try TLSParameters.apply(to: context, prefersChaCha: settings.prefersChaCha)
            try install(loaded, in: context)
            switch settings.peers {
            case .clients(_, let lifetime): try allowTickets(in: context, lifetime: lifetime)
            case .servers: try askForCertificates(in: context)
            }
            if !settings.applicationProtocols.isEmpty {
                SSL_CTX_set_alpn_select_cb(
                    context, OpenSSLCallbacks.chooseApplicationProtocol, nil)
            }
            return context
        } catch {
            SSL_CTX_free(context)
            throw error
        }
    }

    private static func install(
        _ loaded: LoadedIdentity, in context: OpaquePointer
    ) throws(TLSError) {
        let identity = loaded.identity
        guard SSL_CTX_use_certificate(context, loaded.leaf.pointer) == 1 else {
            throw .fromOpenSSL(
                .certificateRefused, operation: "use the certificate",
                subject: identity.certificateFile, advice: "get one with a stronger key")
        }
        guard SSL_CTX_use_PrivateKey(context, loaded.key.pointer) == 1 else {
            throw .fromOpenSSL(
                .keyMismatch, operation: "use the private key", subject: identity.keyFile,
                advice: "check tls.key in the configuration")
        }
        for certificate in loaded.chain.dropFirst() {
            // The macro SSL_CTX_add1_chain_cert.
            let pointer = UnsafeMutableRawPointer(certificate.pointer)
            guard SSL_CTX_ctrl(context, SSL_CTRL_CHAIN_CERT, 1, pointer) == 1 else {
                throw .fromOpenSSL(
                    .certificateRefused, operation: "use the certificate's chain",
                    subject: identity.certificateFile, advice: "check the chain in the file")
            }
        }
    }

    private static func allowTickets(
        in context: OpaquePointer, lifetime: Int
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
        SSL_CTX_set_timeout(context, lifetime)
    }

    private static func askForCertificates(in context: OpaquePointer) throws(TLSError) {
        _ = SSL_CTX_set_options(context, kinglet_SSL_OP_NO_TICKET)
        guard SSL_CTX_set_num_tickets(context, 0) == 1 else {
            throw .openSSL("do without session tickets")
        }
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
        SSL_CTX_set_cert_verify_callback(context, OpenSSLCallbacks.acceptPeer, nil)
    }
}
