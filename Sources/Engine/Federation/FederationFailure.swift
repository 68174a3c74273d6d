// Why another server cannot be reached, or was refused.

public import Prometheus
internal import XMPP

/// The kinds of failure: a closed set, for metrics.
public enum FederationFailureReason: String, MetricLabel {
    // Names and addresses.
    case noSuchDomain = "no_such_domain"
    case dnsTimeout = "dns_timeout"
    case dnsFailure = "dns_failure"
    /// The domain says that it has no XMPP server (RFC 2782, target ".").
    case noService = "no_service"
    case noAddress = "no_address"
    /// Only private or loopback addresses, which are not allowed.
    case forbiddenAddress = "forbidden_address"
    // Connections.
    case connectionRefused = "connection_refused"
    case connectionTimeout = "connection_timeout"
    case unreachable
    case connectionLost = "connection_lost"
    // TLS.
    case noTLS = "no_tls"
    case tls
    case certificateAbsent = "certificate_absent"
    case certificateExpired = "certificate_expired"
    case certificateNotYetValid = "certificate_not_yet_valid"
    case certificateSelfSigned = "certificate_self_signed"
    case certificateUntrusted = "certificate_untrusted"
    case certificateWrongName = "certificate_wrong_name"
    case certificateRevoked = "certificate_revoked"
    case certificateInvalid = "certificate_invalid"
    // XMPP.
    /// The other server offers no way to prove who we are.
    case noAuthentication = "no_authentication"
    /// The other server did not accept who we are.
    case authenticationRefused = "authentication_refused"
    case dialback
    /// The other server ended the stream with an error.
    case streamError = "stream_error"
    case protocolError = "protocol_error"
    case timeout
    /// This server's own rules.
    case policy
    case shutdown
    /// The label's name.
    public static var labelName: String { "reason" }
}

/// A failure with its words.
public struct FederationFailure: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kind.
    public var reason: FederationFailureReason
    /// A sentence for a person, without the domain.
    public var text: String
    /// Trying again soon is of no use: what waits goes back at once.
    public var isPermanent: Bool

    /// Creates a failure.
    public init(_ reason: FederationFailureReason, _ text: String, isPermanent: Bool? = nil) {
        self.reason = reason
        self.text = text
        self.isPermanent = isPermanent ?? reason.isPermanent
    }

    /// This server's rules forbid it.
    static let forbidden = FederationFailure(.policy, "this server's rules forbid it")

    /// What a stream error of ours says of the other server; nil for what is no fault of its.
    init?(_ error: StreamError) {
        let text = error.text ?? error.condition.rawValue
        switch error.condition {
        case .systemShutdown: return nil
        case .connectionTimeout: self.init(.timeout, text)
        default: self.init(.protocolError, text)
        }
    }

    /// The sentence.
    public var description: String { text }
}

extension FederationFailureReason {
    /// What an owner has to mend, here or there, before another attempt could go better.
    var isPermanent: Bool {
        switch self {
        case .noSuchDomain, .noService, .noAddress, .forbiddenAddress, .noTLS,
            .certificateAbsent, .certificateExpired, .certificateNotYetValid,
            .certificateSelfSigned, .certificateUntrusted, .certificateWrongName,
            .certificateRevoked, .certificateInvalid, .noAuthentication,
            .authenticationRefused, .dialback, .policy:
            true
        case .dnsTimeout, .dnsFailure, .connectionRefused, .connectionTimeout, .unreachable,
            .connectionLost, .tls, .streamError, .protocolError, .timeout, .shutdown:
            false
        }
    }
}
