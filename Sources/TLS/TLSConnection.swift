// One connection's SSL object between bytes of the network and bytes of the application.

import COpenSSL
import NIOCore

/// OpenSSL's state of one connection, without any pipeline: bytes in, a step out.
///
/// Owned by the connection's event loop. Between calls it holds no buffer of its own; a record
/// that has come only in part waits inside OpenSSL. Every call clears the thread's error queue
/// first, because other connections of the loop share it, and leaves what must be sent in `output`.
final class TLSConnection {
    enum Role { case client, server }

    /// Why `advance` stopped.
    enum Step {
        /// All input is used up.
        case needsInput
        /// The plaintext has reached its limit; call again with the rest of the input.
        case plaintextFull
        /// Call again with the rest of the input.
        case handshakeCompleted
        /// close_notify has come; nothing after it counts.
        case closedByPeer
        /// The connection is lost. An alert may be in `output`.
        case failed(TLSError)
    }

    /// The most plaintext that one `advance` gives out.
    static let plaintextLimit = 64 * 1024
    /// The most bytes taken from a peer before the handshake is done. A ClientHello with
    /// post-quantum keys is below 2 KB.
    static let handshakeLimit = 64 * 1024

    let ssl: OpaquePointer
    /// Ciphertext for the network.
    var output = ByteBuffer()
    private(set) var handshakeIsComplete = false
    private var hasFailed = false
    private var hasShutDown = false
    private var handshakeBytes = 0
    private let role: Role
    /// Judges the peer's certificate; nil where none is asked for.
    private let trust: TLSTrust?
    /// What the peer's certificate is worth, but for its name.
    private(set) var peerCheck = PeerCheck()
    /// The channel's read buffer, valid only inside `advance`.
    private var input = UnsafeRawBufferPointer(start: nil, count: 0)
    /// Keeps alive what the SSL_CTX's callbacks point to.
    private let keeper: AnyObject

    init(
        _ context: OpaquePointer, role: Role, keeping keeper: AnyObject, trust: TLSTrust? = nil
    ) throws(TLSError) {
        let operation = "open a TLS connection"
        ERR_clear_error()
        guard let ssl = SSL_new(context) else { throw .openSSL(operation) }
        guard let bio = BIO_new(OpenSSLCallbacks.transport) else {
            SSL_free(ssl)
            throw .openSSL(operation)
        }
        self.ssl = ssl
        self.keeper = keeper
        self.role = role
        self.trust = trust
        BIO_set_data(bio, Unmanaged.passUnretained(self).toOpaque())
        BIO_set_init(bio, 1)
        SSL_set_bio(ssl, bio, bio)
        switch role {
        case .client: SSL_set_connect_state(ssl)
        case .server: SSL_set_accept_state(ssl)
        }
    }

    deinit { SSL_free(ssl) }

    // MARK: What a client asks for, before the handshake

    /// Sends the server's name (RFC 6066 section 3).
    func setServerName(_ name: String) throws(TLSError) {
        ERR_clear_error()
        // The macro SSL_set_tlsext_host_name.
        let accepted = name.withCString {
            SSL_ctrl(
                ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, Int(TLSEXT_NAMETYPE_host_name),
                UnsafeMutableRawPointer(mutating: $0)) == 1
        }
        guard accepted else { throw .openSSL("set the server's name") }
    }

    /// Offers application protocols (RFC 7301).
    func setApplicationProtocols(_ names: [String]) throws(TLSError) {
        guard !names.isEmpty else { return }
        ERR_clear_error()
        // Other than its siblings, this function answers 0 for success.
        guard let wire = ApplicationProtocols.encode(names),
            SSL_set_alpn_protos(ssl, wire, UInt32(wire.count)) == 0
        else { throw .openSSL("set the application protocols") }
    }

    // MARK: Reading

    /// Goes on with the handshake or decrypts, as far as `source` and the limit allow.
    /// Plaintext is appended to `plaintext`, whatever the step.
    func advance(_ source: inout ByteBuffer, into plaintext: inout ByteBuffer) -> Step {
        guard !hasFailed else { return .needsInput }
        let wasComplete = handshakeIsComplete
        let (used, step) = source.readBytesInPlace { bytes in
            input = bytes
            defer { input = UnsafeRawBufferPointer(start: nil, count: 0) }
            let step = handshakeIsComplete ? decrypt(into: &plaintext) : handshake()
            return (bytes.count - input.count, step)
        }
        if !wasComplete {
            handshakeBytes += used
            if case .needsInput = step, handshakeBytes > Self.handshakeLimit {
                hasFailed = true
                return .failed(
                    TLSError(
                        code: .handshakeTooLarge, operation: "complete the handshake",
                        message: "more than \(Self.handshakeLimit / 1024) KiB before its end"))
            }
        }
        return step
    }

    /// The next bytes for OpenSSL, from inside `advance`.
    func takeInput(atMost limit: Int) -> UnsafeRawBufferPointer {
        let taken = UnsafeRawBufferPointer(rebasing: input.prefix(limit))
        input = UnsafeRawBufferPointer(rebasing: input.dropFirst(limit))
        return taken
    }

    private func handshake() -> Step {
        ERR_clear_error()
        let result = SSL_do_handshake(ssl)
        if result == 1 {
            handshakeIsComplete = true
            if let trust { peerCheck = trust.check(ssl) }
            return .handshakeCompleted
        }
        return step(after: result)
    }

    private func decrypt(into plaintext: inout ByteBuffer) -> Step {
        while plaintext.readableBytes < Self.plaintextLimit {
            // Plaintext is shorter than its record, except where a record's beginning waits
            // inside OpenSSL already.
            let expected = max(Int(SSL_pending(ssl)), input.count, 1)
            let room = min(expected, Self.plaintextLimit - plaintext.readableBytes)
            var result: Int32 = 0
            ERR_clear_error()
            plaintext.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { target in
                var count = 0
                result = SSL_read_ex(ssl, target.baseAddress, room, &count)
                return result == 1 ? count : 0
            }
            if result != 1 { return step(after: result) }
            // Asking once more would only allocate and free a buffer to find nothing.
            if input.isEmpty, SSL_has_pending(ssl) == 0 { return .needsInput }
        }
        return .plaintextFull
    }

    private func step(after result: Int32) -> Step {
        switch SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ:
            return .needsInput
        case SSL_ERROR_ZERO_RETURN:
            return .closedByPeer
        default:
            hasFailed = true
            return .failed(.ofConnection(handshakeDone: handshakeIsComplete, role: role))
        }
    }

    // MARK: Writing

    /// Appends `bytes` to `output` as records of up to 16 KiB.
    func encrypt(_ bytes: ByteBuffer) throws(TLSError) {
        guard !hasFailed, !hasShutDown, handshakeIsComplete else {
            throw TLSError(
                code: .protocolViolation, operation: "write to the peer",
                message: "the connection is not open")
        }
        let error: TLSError? = bytes.withUnsafeReadableBytes { bytes in
            var rest = bytes
            while !rest.isEmpty {
                var count = 0
                ERR_clear_error()
                // The transport takes everything, so anything but success is a failure.
                guard SSL_write_ex(ssl, rest.baseAddress, rest.count, &count) == 1 else {
                    hasFailed = true
                    return .ofConnection(handshakeDone: true, role: role)
                }
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
            }
            return nil
        }
        if let error { throw error }
    }

    /// Says close_notify, once and only where it is allowed; does not wait for the peer's.
    func shutdown() {
        guard handshakeIsComplete, !hasFailed, !hasShutDown else { return }
        hasShutDown = true
        ERR_clear_error()
        if SSL_shutdown(ssl) < 0 { ERR_clear_error() }
    }

    /// What must be sent, if anything; gives the memory away.
    func takeOutput() -> ByteBuffer? {
        guard output.readableBytes > 0 else { return nil }
        defer { output = ByteBuffer() }
        return output
    }

    // MARK: What the handshake agreed on

    /// The certificate that the peer has presented, now or when the session began.
    var peerCertificate: Certificate? {
        SSL_get1_peer_certificate(ssl).map(Certificate.init(owned:))
    }

    /// Frees the peer's certificate, a sixth of what an idle stream holds. From then on it has
    /// shown none. Not while a call into OpenSSL is under way.
    func forgetPeerCertificate() {
        guard handshakeIsComplete, !hasFailed else { return }
        peerCheck = PeerCheck()
        ERR_clear_error()
        if kinglet_SSL_forget_peer_certificate(ssl) != 1 { ERR_clear_error() }
    }

    var version: TLSVersion? {
        guard handshakeIsComplete else { return nil }
        let number = SSL_version(ssl)
        return TLSVersion.allCases.first { $0.protocolNumber == number }
    }

    var cipher: String? {
        guard handshakeIsComplete, let cipher = SSL_get_current_cipher(ssl) else { return nil }
        return SSL_CIPHER_get_name(cipher).map { String(cString: $0) }
    }

    var serverName: String? {
        SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name).map {
            String(cString: $0).asciiLowercased
        }
    }

    var applicationProtocol: String? {
        var name: UnsafePointer<UInt8>?
        var length: UInt32 = 0
        SSL_get0_alpn_selected(ssl, &name, &length)
        guard let name, length > 0 else { return nil }
        return String(
            decoding: UnsafeBufferPointer(start: name, count: Int(length)), as: UTF8.self)
    }

    var isResumed: Bool { handshakeIsComplete && SSL_session_reused(ssl) == 1 }

    /// `tls-exporter` (RFC 9266): 32 bytes. Under TLS 1.2 only with the extended master secret
    /// (RFC 7627), without which an attacker can make two connections share it.
    ///
    /// The context is an empty string. TLS 1.2 tells that from no context at all (RFC 5705
    /// section 4), and peers are found that take the one or the other; both bind to this
    /// connection and no other. The RFC's own comes first.
    var exporterBindings: [[UInt8]] {
        guard handshakeIsComplete, !hasFailed else { return [] }
        // The macro SSL_get_extms_support.
        let hasExtendedMasterSecret = SSL_ctrl(ssl, SSL_CTRL_GET_EXTMS_SUPPORT, 0, nil) == 1
        guard version == .tls13 || hasExtendedMasterSecret else { return [] }
        let contexts = version == .tls13 ? [true] : [true, false]
        return contexts.compactMap { exported(withEmptyContext: $0) }
    }

    private func exported(withEmptyContext hasContext: Bool) -> [UInt8]? {
        let label = Array("EXPORTER-Channel-Binding".utf8CString)
        let context: [UInt8] = [0]  // an address for no bytes
        var binding = [UInt8](repeating: 0, count: 32)
        ERR_clear_error()
        guard
            SSL_export_keying_material(
                ssl, &binding, binding.count, label, label.count - 1, context, 0,
                hasContext ? 1 : 0) == 1
        else {
            ERR_clear_error()
            return nil
        }
        return binding
    }

    /// `tls-server-end-point` of a server (RFC 5929 section 4): the certificate of this connection,
    /// or of the one that a resumed connection continues.
    var serverEndPointBinding: [UInt8]? {
        guard handshakeIsComplete else { return nil }
        guard isResumed else { return OpenSSLCallbacks.identity(of: ssl)?.serverEndPoint }
        var data: UnsafeMutableRawPointer?
        var length = 0
        guard SSL_SESSION_get0_ticket_appdata(SSL_get_session(ssl), &data, &length) == 1,
            let data, length > 0
        else { return nil }
        return Array(UnsafeRawBufferPointer(start: data, count: length))
    }
}

extension ByteBuffer {
    /// Reads as many bytes as `body` says, and returns the rest of its answer too.
    fileprivate mutating func readBytesInPlace<Answer>(
        _ body: (UnsafeRawBufferPointer) -> (used: Int, Answer)
    ) -> (used: Int, Answer) {
        let answer = withUnsafeReadableBytes(body)
        moveReaderIndex(forwardBy: answer.used)
        return answer
    }
}
