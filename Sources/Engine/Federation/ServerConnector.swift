// What federation needs of the network. The listeners have the real one, tests a list of bytes.

internal import NIOCore
public import TLS

/// A place where another domain's server may be.
public struct ServerCandidate: Sendable, Equatable {
    /// A host name (ASCII), or an address.
    public var host: String
    /// The port.
    public var port: Int
    /// TLS from the first byte (XEP-0368), else STARTTLS.
    public var isDirectTLS: Bool

    /// Creates a candidate.
    public init(host: String, port: Int, isDirectTLS: Bool) {
        self.host = host
        self.port = port
        self.isDirectTLS = isDirectTLS
    }
}

/// A step on the way to another server, as `kinglet federation test` shows it.
public enum FederationStep: Sendable, Equatable {
    /// This server's rules let stanzas go there, and perhaps come from there.
    case allowed(incoming: Bool)
    /// Where the domain's servers are, as DNS says; the text names the records.
    case lookedUp(String)
    /// A candidate's addresses.
    case resolved(host: String, addresses: [String])
    /// A TCP connection stands.
    case connected(address: String, port: Int)
    /// TLS is in force.
    case secured(version: String, cipher: String)
    /// What the certificate proves.
    case certificate(
        verdict: CertificateVerdict, subject: String, issuer: String = "", notAfter: Int64)
    /// The other server accepted who we are, by this mechanism.
    case authenticated(String)
    /// It answered a ping, so that its way to us works, too.
    case answered
    /// A candidate failed; another may follow.
    case failed(FederationFailure)
}

/// Opens connections to other servers. Safe on any thread.
public protocol ServerConnector: Sendable {
    /// Where a domain's servers are, in the order in which they are to be tried (RFC 2782,
    /// XEP-0368); at least one.
    func candidates(
        for domain: String, report: @escaping @Sendable (FederationStep) -> Void
    ) async throws(FederationFailure) -> [ServerCandidate]

    /// Connects to a candidate (RFC 8305) and puts a stream on the connection, which lives on
    /// `loop`; returns when the connection stands and the stream has it. TLS begins at once for
    /// direct TLS, else when the stream asks for it; the certificate is not judged here.
    func connect(
        _ candidate: ServerCandidate, from local: String, to remote: String, on loop: Loop,
        report: @escaping @Sendable (FederationStep) -> Void,
        stream: @escaping @Sendable (any StreamTransport) -> XMLStream
    ) async throws(FederationFailure)

    /// Nothing goes out any more: what is under way ends with a failure. Streams are left alone.
    func stop()
}

extension ServerConnector {
    /// For those that take no time.
    public func stop() {}
}
