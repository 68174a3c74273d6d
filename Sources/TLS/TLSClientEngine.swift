// The client's half of a connection, without a pipeline: the other end in tests, and the engine of
// the probe of a restored server.

import COpenSSL
import NIOCore

/// What a client asks for.
struct TLSClientSettings {
    /// Sent as the server's name (RFC 6066) and expected in its certificate.
    var serverName: String?
    var applicationProtocols: [String] = []
    var minimumVersion = TLS1_2_VERSION
    var maximumVersion = TLS1_3_VERSION
    /// PEM of the authority to trust; without one nothing is verified.
    var authorityPEM: String?
    /// OpenSSL's cipher list for TLS 1.2 and below, where another than ours is wanted.
    var cipherList: String?
    /// More of OpenSSL's SSL_OP_….
    var options: UInt64 = 0
    var session: TLSClientSession?
}

/// What a client keeps to resume a session.
final class TLSClientSession {
    let pointer: OpaquePointer

    init(owned pointer: OpaquePointer) { self.pointer = pointer }

    deinit { SSL_SESSION_free(pointer) }
}

/// One connection of a client: bytes of the network in, bytes for the network out.
final class TLSClientEngine {
    /// Owns an SSL_CTX.
    private final class Context {
        let pointer: OpaquePointer

        init() throws(TLSError) {
            ERR_clear_error()
            guard let pointer = SSL_CTX_new(TLS_client_method()) else {
                throw .openSSL("prepare TLS")
            }
            self.pointer = pointer
        }

        deinit { SSL_CTX_free(pointer) }
    }

    let connection: TLSConnection
    private var received = ByteBuffer()
    private(set) var isClosedByPeer = false

    init(_ settings: TLSClientSettings) throws(TLSError) {
        let context = try Self.makeContext(settings)
        connection = try TLSConnection(context.pointer, role: .client, keeping: context)
        if let session = settings.session {
            guard SSL_set_session(connection.ssl, session.pointer) == 1 else {
                throw .openSSL("resume a session")
            }
        }
        if let name = settings.serverName {
            try connection.setServerName(name)
            guard SSL_set1_host(connection.ssl, name) == 1 else {
                throw .openSSL("set the server's name")
            }
        }
        try connection.setApplicationProtocols(settings.applicationProtocols)
    }

    private static func makeContext(_ settings: TLSClientSettings) throws(TLSError) -> Context {
        let context = try Context()
        try TLSParameters.apply(to: context.pointer, prefersChaCha: !ProcessorFeatures.hasAES)
        let minimum = Int(settings.minimumVersion)
        let maximum = Int(settings.maximumVersion)
        // Below TLS 1.2 OpenSSL allows nothing at a level above 0.
        if maximum < TLS1_2_VERSION { SSL_CTX_set_security_level(context.pointer, 0) }
        guard
            SSL_CTX_ctrl(context.pointer, SSL_CTRL_SET_MIN_PROTO_VERSION, minimum, nil) == 1,
            SSL_CTX_ctrl(context.pointer, SSL_CTRL_SET_MAX_PROTO_VERSION, maximum, nil) == 1
        else { throw .openSSL("set the protocol versions") }
        _ = SSL_CTX_set_options(context.pointer, settings.options)
        if let list = settings.cipherList {
            guard SSL_CTX_set_cipher_list(context.pointer, list) == 1 else {
                throw .openSSL("set the ciphers")
            }
        }
        if let pem = settings.authorityPEM {
            let authorities = try Certificate.chain(pem: Array(pem.utf8), subject: "authority")
            for authority in authorities {
                let store = SSL_CTX_get_cert_store(context.pointer)
                guard X509_STORE_add_cert(store, authority.pointer) == 1 else {
                    throw .openSSL("trust an authority")
                }
            }
            SSL_CTX_set_verify(context.pointer, SSL_VERIFY_PEER, nil)
        }
        return context
    }

    /// Takes what the server has sent (nothing, to begin) and gives what must go to it.
    func receive(_ bytes: ByteBuffer = ByteBuffer()) throws(TLSError) -> ByteBuffer {
        var input = bytes
        while !isClosedByPeer {
            var plaintext = ByteBuffer()
            let step = connection.advance(&input, into: &plaintext)
            received.writeBuffer(&plaintext)
            switch step {
            case .needsInput: return takeOutput()
            case .handshakeCompleted, .plaintextFull: continue
            case .closedByPeer: isClosedByPeer = true
            case .failed(let error): throw error
            }
        }
        return takeOutput()
    }

    /// All that has been decrypted and not taken yet.
    func takeReceived() -> ByteBuffer {
        defer { received = ByteBuffer() }
        return received
    }

    /// The records of `bytes`.
    func send(_ bytes: ByteBuffer) throws(TLSError) -> ByteBuffer {
        try connection.encrypt(bytes)
        return takeOutput()
    }

    /// The record of close_notify.
    func close() -> ByteBuffer {
        connection.shutdown()
        return takeOutput()
    }

    /// Asks for new keys in both directions (TLS 1.3, RFC 8446 section 4.6.3).
    func requestKeyUpdate() throws(TLSError) -> ByteBuffer {
        ERR_clear_error()
        guard SSL_key_update(connection.ssl, SSL_KEY_UPDATE_REQUESTED) == 1,
            SSL_do_handshake(connection.ssl) == 1
        else { throw .openSSL("update keys") }
        return takeOutput()
    }

    /// Begins a second handshake inside the connection (TLS 1.2), which our servers refuse.
    func requestRenegotiation() throws(TLSError) -> ByteBuffer {
        ERR_clear_error()
        _ = SSL_clear_options(connection.ssl, kinglet_SSL_OP_NO_RENEGOTIATION)
        guard SSL_renegotiate(connection.ssl) == 1 else { throw .openSSL("renegotiate") }
        // Sends the ClientHello and waits: not a success yet.
        _ = SSL_do_handshake(connection.ssl)
        ERR_clear_error()
        return takeOutput()
    }

    /// What must go to the server.
    func takeOutput() -> ByteBuffer { connection.takeOutput() ?? ByteBuffer() }

    /// The session to resume later; with TLS 1.3 only after the server's ticket has been read.
    ///
    /// A copy, because OpenSSL spoils the session of a connection that ends without close_notify.
    var session: TLSClientSession? {
        SSL_get_session(connection.ssl).flatMap(SSL_SESSION_dup)
            .map(TLSClientSession.init(owned:))
    }

    /// The certificate that the server has presented, now or when the session began.
    var serverCertificate: Certificate? { connection.peerCertificate }

    /// What OpenSSL says of the server's certificate; "ok" when it was found good.
    var verificationText: String {
        let result = SSL_get_verify_result(connection.ssl)
        return X509_verify_cert_error_string(result).map { String(cString: $0) } ?? ""
    }

    /// The data that ties an authentication to this connection, as the client computes it.
    func channelBinding(_ type: ChannelBindingType) -> [UInt8]? {
        switch type {
        case .tlsExporter: connection.exporterBindings.first
        case .tlsServerEndPoint: serverCertificate?.serverEndPoint
        }
    }
}
