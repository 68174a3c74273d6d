// Connections that are opened to other servers.

import COpenSSL

/// The TLS settings of connections to other servers: makes a handler for each of them. It shows them
/// the certificates of the server context that it was made with, also after that one's reloads.
///
/// Used by every event loop.
public final class TLSClientContext: Sendable {
    private let identities: IdentitySource
    private let trust: TLSTrust
    private let applicationProtocols: [String]

    /// Shares the certificates of `server`; peers are judged by `trust`.
    public init(
        _ server: TLSServerContext, trust: TLSTrust,
        applicationProtocols: [String] = ["xmpp-server"]
    ) {
        identities = server.identities
        self.trust = trust
        self.applicationProtocols = applicationProtocols
    }

    /// A handler for one connection in the client's role, which says hello as soon as its channel
    /// is active. Its handshake goes through whatever the certificate; ask for its `verdict`.
    ///
    /// - Parameters:
    ///   - serverName: the domain in ASCII that the server is asked for (RFC 6066 section 3).
    ///   - localDomain: the domain in ASCII whose certificate the server gets to see.
    public func makeHandler(serverName: String, localDomain: String) throws(TLSError) -> TLSHandler
    {
        let table = identities.tables.servers
        let identity = table.identity(for: localDomain) ?? table.defaultIdentity
        let connection = try TLSConnection(
            identity.sslContext, role: .client, keeping: table, trust: trust)
        // An address is no name of RFC 6066.
        if LocalAuthority.isHostName(serverName.asciiLowercased) {
            try connection.setServerName(serverName)
        }
        try connection.setApplicationProtocols(applicationProtocols)
        guard StapledStatus.request(connection.ssl) else {
            throw .openSSL("ask for a certificate's status")
        }
        return TLSHandler(client: connection)
    }
}
