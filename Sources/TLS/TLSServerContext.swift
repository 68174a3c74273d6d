// The certificates of a server: loaded, chosen by name, replaced while connections live.

import COpenSSL
import Glibc
import Synchronization

/// A certificate chain, its key and the domains it serves.
public struct TLSIdentity: Sendable, Equatable {
    /// ASCII (A-label) domains in lower case; `*.example.org` stands for one more label.
    public var domains: [String]
    /// A PEM file: the server's certificate first, then the chain above it.
    public var certificateFile: String
    /// A PEM file with the private key, not encrypted.
    public var keyFile: String

    /// An identity; nothing is read before it comes into a context.
    public init(domains: [String], certificateFile: String, keyFile: String) {
        self.domains = domains
        self.certificateFile = certificateFile
        self.keyFile = keyFile
    }
}

/// The TLS settings of a listener: makes a handler for each of its connections. Those of other
/// servers are asked for a certificate, those of clients and browsers are not.
///
/// Used by every event loop; `reload` may be called on any thread.
public final class TLSServerContext: Sendable {
    /// What a ticket's lifetime may be, in seconds: a minute to the week of RFC 8446.
    public static let ticketLifetimeBounds = 60...604_800

    private enum Role: Sendable {
        case clients
        /// Judged by this.
        case servers(TLSTrust)
        case web
    }

    /// Shared with the contexts for other servers and for the web.
    let identities: IdentitySource
    private let role: Role

    /// Loads `identities`; the first one serves clients that name no domain or an unknown one.
    ///
    /// - Parameters:
    ///   - ticketLifetime: seconds for which a session can be resumed at least, and at most twice;
    ///     the keys of tickets change with it.
    ///   - applicationProtocols: by preference (RFC 7301); with none, offers are ignored.
    public convenience init(
        _ identities: [TLSIdentity], ticketLifetime: Int = 43_200,
        applicationProtocols: [String] = ["xmpp-client"]
    ) throws(TLSError) {
        try self.init(
            identities, ticketLifetime: ticketLifetime, applicationProtocols: applicationProtocols,
            prefersChaCha: !ProcessorFeatures.hasAES, wallClock: { Int64(time(nil)) },
            steadyClock: { ContinuousClock.now })
    }

    /// As above, with the machine's facts passed in.
    init(
        _ identities: [TLSIdentity], ticketLifetime: Int, applicationProtocols: [String],
        prefersChaCha: Bool, wallClock: @escaping @Sendable () -> Int64,
        steadyClock: @escaping @Sendable () -> ContinuousClock.Instant
    ) throws(TLSError) {
        guard Self.ticketLifetimeBounds.contains(ticketLifetime),
            ApplicationProtocols.encode(applicationProtocols) != nil
        else {
            throw TLSError(
                code: .configuration, operation: "prepare TLS",
                message: "a ticket lifetime or an application protocol is out of bounds")
        }
        let tickets = TicketKeys(lifetime: .seconds(ticketLifetime), now: steadyClock)
        self.identities = try IdentitySource(
            identities,
            clients: ServerSettings(
                peers: .clients(tickets: tickets, lifetime: ticketLifetime),
                applicationProtocols: applicationProtocols.map { Array($0.utf8) },
                prefersChaCha: prefersChaCha),
            prefersChaCha: prefersChaCha, now: wallClock)
        role = .clients
    }

    private init(_ identities: IdentitySource, role: Role) {
        self.identities = identities
        self.role = role
    }

    /// A context for a listener of other servers, with the certificates of `context`: a reload of
    /// either is one of both. It asks for a certificate and accepts all handshakes, whatever that
    /// is and even without (RFC 6120 section 13.7.2); ask the handler for its `verdict`. There are
    /// no tickets, so that each handshake shows certificates.
    public static func forServers(
        of context: TLSServerContext, trust: TLSTrust
    ) -> TLSServerContext {
        TLSServerContext(context.identities, role: .servers(trust))
    }

    /// A context for HTTPS, with the certificates of `context`: a reload of either is one of both.
    /// It speaks HTTP/1.1 and nothing else; who offers other protocols only, such as XMPP, is
    /// turned away, so that nobody can lead a client of one port to the other (RFC 7301).
    public static func forWeb(of context: TLSServerContext) -> TLSServerContext {
        TLSServerContext(context.identities, role: .web)
    }

    /// Replaces all identities, or none of them if one cannot be loaded.
    ///
    /// New connections get the new ones; connections that exist keep what they have, and tickets
    /// stay valid.
    public func reload(_ identities: [TLSIdentity]) throws(TLSError) {
        try self.identities.reload(identities)
    }

    /// The certificates in use, in the order of the identities.
    public var certificates: [CertificateSummary] {
        identities.tables.clients.identities.map(\.summary)
    }

    /// What an operator should look at: a domain that a certificate does not name, a key that
    /// everybody can read, a certificate that is not valid yet.
    public var warnings: [String] {
        identities.tables.clients.identities.flatMap(\.warnings)
    }

    /// A handler for one connection in the server's role. OpenSSL's part of it, about 14 KB, is
    /// made when the first byte arrives.
    public func makeHandler() -> TLSHandler { TLSHandler(self) }

    /// OpenSSL's part of a connection, with the identities of this moment.
    func makeConnection() throws(TLSError) -> TLSConnection {
        let tables = identities.tables
        let (table, trust): (IdentityTable, TLSTrust?) =
            switch role {
            case .clients: (tables.clients, nil)
            case .servers(let trust): (tables.servers, trust)
            case .web: (tables.web, nil)
            }
        return try TLSConnection(
            table.defaultIdentity.sslContext, role: .server, keeping: table, trust: trust)
    }
}

/// The identities of a server, set up for clients, for other servers and for the web, and replaced
/// together.
final class IdentitySource: Sendable {
    typealias Tables = (clients: IdentityTable, servers: IdentityTable, web: IdentityTable)

    private let clients: ServerSettings
    private let servers: ServerSettings
    private let web: ServerSettings
    private let now: @Sendable () -> Int64
    private let current: Mutex<Tables>

    init(
        _ identities: [TLSIdentity], clients: ServerSettings, prefersChaCha: Bool,
        now: @escaping @Sendable () -> Int64
    ) throws(TLSError) {
        self.clients = clients
        servers = ServerSettings(
            peers: .servers, applicationProtocols: [Array("xmpp-server".utf8)],
            prefersChaCha: prefersChaCha)
        var web = clients
        web.applicationProtocols = [Array("http/1.1".utf8)]
        self.web = web
        self.now = now
        current = Mutex(try Self.load(identities, clients, servers, web, now: now()))
    }

    var tables: Tables { current.withLock { $0 } }

    func reload(_ identities: [TLSIdentity]) throws(TLSError) {
        let fresh = try Self.load(identities, clients, servers, web, now: now())
        current.withLock { $0 = fresh }
    }

    private static func load(
        _ identities: [TLSIdentity], _ clients: ServerSettings, _ servers: ServerSettings,
        _ web: ServerSettings, now: Int64
    ) throws(TLSError) -> Tables {
        var loaded: [LoadedIdentity] = []
        for identity in identities { loaded.append(try LoadedIdentity(identity, now: now)) }
        return (
            try IdentityTable(loaded, settings: clients),
            try IdentityTable(loaded, settings: servers),
            try IdentityTable(loaded, settings: web)
        )
    }
}

/// The identities between two reloads, found by domain.
///
/// A connection keeps its table alive, because OpenSSL's callbacks point into it. Unchanged after
/// `init`, so it may be read by all loops.
final class IdentityTable: Sendable {
    let identities: [ServerIdentity]
    let defaultIdentity: ServerIdentity
    private let byDomain: [String: ServerIdentity]

    init(_ identities: [LoadedIdentity], settings: ServerSettings) throws(TLSError) {
        var ready: [ServerIdentity] = []
        var byDomain: [String: ServerIdentity] = [:]
        for identity in identities {
            let fresh = try ServerIdentity(identity, settings: settings)
            ready.append(fresh)
            for domain in fresh.domains where byDomain[domain] == nil { byDomain[domain] = fresh }
        }
        guard let first = ready.first else {
            throw TLSError(
                code: .configuration, operation: "prepare TLS", message: "no certificate is given",
                advice: "set tls.certificate and tls.key in the configuration")
        }
        self.identities = ready
        self.byDomain = byDomain
        defaultIdentity = first
        let argument = Unmanaged.passUnretained(self).toOpaque()
        for identity in ready {
            kinglet_SSL_CTX_set_servername_callback(
                identity.sslContext, OpenSSLCallbacks.chooseIdentity, argument)
        }
    }

    /// The identity for `name`: exact, else by a wildcard in place of its first label.
    func identity(for name: String) -> ServerIdentity? {
        let name = name.asciiLowercased
        if let exact = byDomain[name] { return exact }
        guard let dot = name.firstIndex(of: ".") else { return nil }
        return byDomain["*" + name[dot...]]
    }
}

extension String {
    /// Lower case for A-labels, which are ASCII: independent of locale and Unicode version.
    var asciiLowercased: String {
        String(decoding: utf8.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
    }
}
