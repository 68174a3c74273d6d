// What a stream needs of its connection. The listeners have the real one, tests a list of bytes.

public import NIOCore
public import SASL
public import TLS

/// A connection, used only on its event loop.
public protocol StreamTransport: AnyObject {
    /// Writes and flushes; calls back on the loop once the socket has taken the bytes.
    func write(_ bytes: ByteBuffer, then: (() -> Void)?)
    /// Closes once everything written is on its way and the peer has closed, too.
    func close()
    /// Closes at once.
    func abort()
    /// Puts TLS under the stream, after what was written before.
    func startTLS()
    /// Asks the socket for no more bytes, or for more again.
    func setReading(_ isReading: Bool)
    /// Channel binding data of this connection (RFC 9266, RFC 5929), empty without TLS.
    var channelBindings: ChannelBindings { get }
    /// What the peer's certificate proves of a domain, in ASCII; `absent` without TLS.
    func verdict(for domain: String) -> CertificateVerdict
    /// The certificate that the peer has shown.
    var peerCertificate: CertificateSummary? { get }
    /// The certificate is judged and of no more use; it is `absent` from then on.
    func forgetPeerCertificate()
    /// OpenSSL's name of the cipher suite; nil without TLS.
    var cipher: String? { get }
}

extension StreamTransport {
    /// Clients show no certificate.
    public func verdict(for domain: String) -> CertificateVerdict { .absent }
    /// Clients show no certificate.
    public var peerCertificate: CertificateSummary? { nil }
    /// There is nothing to forget.
    public func forgetPeerCertificate() {}
    /// Unknown.
    public var cipher: String? { nil }
}

/// What is known of a connection when it comes in.
public struct ConnectionDescription: Sendable {
    /// The peer's address without its port.
    public var address: String
    /// What limits and delays count as one: the address itself, or the /64 of an IPv6 address,
    /// which one household or one attacker has whole.
    public var network: String
    /// Port 5222 or 5223.
    public var type: ConnectionType
    /// STARTTLS can be had.
    public var offersTLS: Bool
    /// Logins without TLS are allowed on this connection.
    public var allowsPlaintext: Bool
    /// Where clients are sent instead (see-other-host), `host` or `host:port`.
    public var redirection: String?

    /// Creates a description.
    public init(
        address: String, network: String? = nil, type: ConnectionType, offersTLS: Bool,
        allowsPlaintext: Bool, redirection: String? = nil
    ) {
        self.address = address
        self.network = network ?? address
        self.type = type
        self.offersTLS = offersTLS
        self.allowsPlaintext = allowsPlaintext
        self.redirection = redirection
    }
}
