// TLS on a connection to another server.

internal import Engine
internal import TLS

/// What is needed to begin it, and whom to tell.
final class OutgoingTLS: Sendable {
    private let context: TLSClientContext
    private let serverName: String
    private let localDomain: String
    private let report: @Sendable (FederationStep) -> Void

    /// - Parameters:
    ///   - serverName: the other domain in ASCII; not the host that an SRV record leads to
    ///     (XEP-0368 section 3).
    ///   - localDomain: ours in ASCII, whose certificate is shown.
    init(
        _ context: TLSClientContext, serverName: String, localDomain: String,
        report: @escaping @Sendable (FederationStep) -> Void
    ) {
        self.context = context
        self.serverName = serverName
        self.localDomain = localDomain
        self.report = report
    }

    func makeHandler() throws(TLSError) -> TLSHandler {
        try context.makeHandler(serverName: serverName, localDomain: localDomain)
    }

    func didSecure(_ version: TLSVersion, _ cipher: String?) {
        report(.secured(version: version.rawValue, cipher: cipher ?? ""))
    }
}
