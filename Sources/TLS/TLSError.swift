// Errors of certificates, keys and connections, and the way out of OpenSSL's error queue.

import COpenSSL

/// What went wrong with a file, a certificate or a connection, and what can be done about it.
public struct TLSError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kind of failure; a closed set, fit for a metric's label.
    public enum Code: String, CaseIterable, Sendable {
        // Configuration and files.

        /// No certificate is configured, or a setting is out of its bounds.
        case configuration = "configuration"
        /// A certificate or key file does not exist.
        case fileMissing = "file_missing"
        /// A certificate or key file exists but cannot be read.
        case fileUnreadable = "file_unreadable"
        /// A file or text holds no valid PEM certificate or key.
        case malformed = "malformed"
        /// A private key is protected by a password.
        case keyEncrypted = "key_encrypted"
        /// The private key does not belong to the certificate.
        case keyMismatch = "key_mismatch"
        /// A certificate's time is over.
        case certificateExpired = "certificate_expired"
        /// OpenSSL's policy refuses the certificate or key, for instance a short RSA key.
        case certificateRefused = "certificate_refused"
        /// A domain cannot stand in a certificate, or the authority may not vouch for it.
        case domainRefused = "domain_refused"
        /// The machine's clock cannot be right.
        case clockNotSet = "clock_not_set"

        // Connections.

        /// The peer's first bytes are not TLS.
        case notTLS = "not_tls"
        /// The peer speaks only versions that are refused here.
        case unsupportedVersion = "unsupported_version"
        /// No cipher suite, group or signature algorithm in common.
        case noSharedAlgorithm = "no_shared_algorithm"
        /// The peer offered application protocols, but none of ours (RFC 7301 section 3.2).
        case noApplicationProtocol = "no_application_protocol"
        /// The peer gave up with an alert, for instance because it does not trust the certificate.
        case refusedByPeer = "refused_by_peer"
        /// The peer sent too much before the handshake was done.
        case handshakeTooLarge = "handshake_too_large"
        /// The connection ended before the handshake was done.
        case handshakeAbandoned = "handshake_abandoned"
        /// The handshake failed in another way.
        case handshakeFailed = "handshake_failed"
        /// A record after the handshake was forged, damaged or out of place.
        case protocolViolation = "protocol_violation"

        /// OpenSSL failed on its own: no memory, or an installation that is broken.
        case openSSL = "library"
    }

    /// The kind of failure.
    public var code: Code
    /// What was being done, such as "read the private key".
    public var operation: String
    /// The file or domain it was done to; empty when there is none.
    public var subject: String
    /// What went wrong: OpenSSL's or the system's own text where there is one.
    public var message: String
    /// What an operator can do; empty when there is nothing.
    public var advice: String

    /// An error from its parts.
    public init(
        code: Code, operation: String, subject: String = "", message: String, advice: String = ""
    ) {
        self.code = code
        self.operation = operation
        self.subject = subject
        self.message = message
        self.advice = advice
    }

    /// One line for a log or a terminal.
    public var description: String {
        let place = subject.isEmpty ? "" : " (\(subject))"
        let remedy = advice.isEmpty ? "" : "; \(advice)"
        return "cannot \(operation)\(place): \(message)\(remedy)"
    }
}

/// The oldest entry of this thread's OpenSSL error queue: the cause, not its consequences.
struct OpenSSLFailure {
    let module: Int32
    let reason: Int32
    let text: String

    /// Takes the entry and empties the queue, so that nothing of it reaches the next connection.
    static func take() -> OpenSSLFailure {
        let code = ERR_get_error()
        defer { ERR_clear_error() }
        guard code != 0 else {
            return OpenSSLFailure(module: 0, reason: 0, text: "no reason given by OpenSSL")
        }
        let module = ERR_GET_LIB(code)
        let reason = ERR_GET_REASON(code)
        let text =
            ERR_reason_error_string(code).map { String(cString: $0) }
            ?? "OpenSSL error \(module):\(reason)"
        return OpenSSLFailure(module: module, reason: reason, text: text)
    }
}

extension TLSError {
    /// An error whose message is what OpenSSL says.
    static func fromOpenSSL(
        _ code: Code, operation: String, subject: String = "", advice: String = ""
    ) -> TLSError {
        TLSError(
            code: code, operation: operation, subject: subject,
            message: OpenSSLFailure.take().text, advice: advice)
    }

    /// OpenSSL could not do what only a lack of memory or a broken installation prevents.
    static func openSSL(_ operation: String) -> TLSError {
        fromOpenSSL(
            .openSSL, operation: operation, advice: "check memory and OpenSSL's installation")
    }

    /// The error of a connection whose SSL call has just failed.
    static func ofConnection(handshakeDone: Bool, role: TLSConnection.Role) -> TLSError {
        let failure = OpenSSLFailure.take()
        let code = code(of: failure, handshakeDone: handshakeDone)
        return TLSError(
            code: code,
            operation: handshakeDone ? "exchange data with the peer" : "complete the handshake",
            message: failure.text,
            advice: handshakeDone || role == .client ? "" : adviceForServer(for: code))
    }

    private static func code(of failure: OpenSSLFailure, handshakeDone: Bool) -> Code {
        guard failure.module == ERR_LIB_SSL else {
            return handshakeDone ? .protocolViolation : .handshakeFailed
        }
        // Alerts that were received stand above this offset.
        if failure.reason >= SSL_AD_REASON_OFFSET { return .refusedByPeer }
        if handshakeDone { return .protocolViolation }
        switch failure.reason {
        case SSL_R_WRONG_VERSION_NUMBER, SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST,
            SSL_R_UNKNOWN_PROTOCOL:
            return .notTLS
        case SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_VERSION_TOO_LOW, SSL_R_UNSUPPORTED_SSL_VERSION,
            SSL_R_INAPPROPRIATE_FALLBACK:
            return .unsupportedVersion
        case SSL_R_NO_SHARED_CIPHER, SSL_R_NO_SUITABLE_KEY_SHARE, SSL_R_NO_SUITABLE_GROUPS,
            SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
            return .noSharedAlgorithm
        case SSL_R_NO_APPLICATION_PROTOCOL:
            return .noApplicationProtocol
        default:
            return .handshakeFailed
        }
    }

    private static func adviceForServer(for code: Code) -> String {
        switch code {
        case .refusedByPeer: "install the authority's certificate on the client, or check its log"
        case .unsupportedVersion, .noSharedAlgorithm: "use a client that speaks TLS 1.2 or later"
        case .notTLS: "use TLS on this port"
        default: ""
        }
    }
}
