// A provider of endpoints on a server without sockets, clients or time of its own.

import Addresses
import Engine
import Features
import Foundation
import Logging
import NIOEmbedded
import Options
import Prometheus
import Storage
import Synchronization
import TLS
import XML
import XMPP

@testable import PushRelay

/// A server with endpoints. Safe on any thread.
final class PlayedEndpoints: Sendable {
    static let domain = "example.org"
    static let service = "push.example.org"
    static let digest = PaddedBase64.encode([UInt8](repeating: 7, count: 32))

    /// A file of keys.
    final class KeyFile: Sendable {
        let content = Mutex<[UInt8]?>(nil)
        let isFull = Mutex(false)

        var file: EndpointKeyFile {
            EndpointKeyFile(
                load: { self.content.withLock { $0 } },
                save: { bytes in
                    if self.isFull.withLock({ $0 }) { throw CancellationError() }
                    self.content.withLock { $0 = bytes }
                })
        }
    }

    let host: Engine.Host
    let registry: Registry
    let provider: UnifiedPushProvider
    let app: PushAppService
    private let directory: URL

    init(_ settings: String..., keys: KeyFile = KeyFile(), port: Int? = 5443) throws {
        var document = ConfigurationDocument.empty
        for setting in ["storage.durability=relaxed", "federation.policy=off"] + settings {
            try document.override(setting)
        }
        let options = OptionSet(document)
        registry = Registry(cells: 2)
        let builder = HostBuilder(options: options, registry: registry)
        for feature in AllFeatures.list { builder.add(feature) }
        let relay = PushRelayState(PushOptions(options), registry)
        let clock = PlayedClock()
        provider = UnifiedPushProvider(
            relay.options.endpoints, EndpointMetrics(registry), patience: .milliseconds(40),
            now: { clock.now })
        app = PushAppService(Self.service, relay)
        provider.serve(at: app, for: Self.domain)
        builder.add(app, key: "push.app_server")
        try options.finish()
        directory = FileManager.default.temporaryDirectory
            .appendingPathComponent("kinglet-endpoints-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        host = try Engine.Host(
            builder, domains: [Self.domain],
            databaseFile: directory.appendingPathComponent("kinglet.db").path,
            loginSecret: SecureRandom.bytes(32), eventLoops: [NIOAsyncTestingEventLoop()],
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        self.clock = clock
        try provider.open(host, keys.file, isClockRight: { true })
        provider.setPublicPort(port)
    }

    private let clock: PlayedClock

    /// Time passes.
    func pass(seconds: Int64) { clock.pass(seconds) }

    /// Asks for an endpoint, and gives the answer or the error.
    func register(
        _ from: String = "romeo@example.org/phone", type: String = "set",
        _ attributes: String? = nil
    ) throws -> Result<(endpoint: String, expiration: String), StanzaError> {
        let attributes =
            attributes ?? "application='\(Self.digest)' instance='\(Self.digest)'"
        let text = """
            <iq xmlns='jabber:client' from='\(from)' to='\(Self.service)' type='\(type)' id='1'>\
            <register xmlns='\(UnifiedPushProvider.namespace)' \(attributes)/></iq>
            """
        guard let stanza = Stanza(routed: Array(text.utf8)), let request = try IQRequest(stanza)
        else { throw CancellationError() }
        do throws(StanzaError) {
            let element = try provider.register(
                request, at: Self.service, for: Self.domain, host)
            return .success((element["endpoint"] ?? "", element["expiration"] ?? ""))
        } catch {
            return .failure(error)
        }
    }

    /// The token of a new endpoint.
    func token(_ from: String = "romeo@example.org/phone") throws -> String {
        let endpoint = try register(from).get().endpoint
        return endpoint.split(separator: "/").last.map { String($0) } ?? ""
    }

    /// The status that a post gets.
    func post(_ token: String, _ body: [UInt8] = [1]) async -> Int {
        await provider.post(token, body).status
    }

    func count(_ outcome: EndpointOutcome) -> Int { provider.metrics.requests[outcome].value }

    func addAccount(_ jid: String) async throws {
        let keys = try PasswordKeys(password: "secret", iterations: 4096)
        let account = try BareJID(jid)
        try await withCheckedThrowingContinuation { continuation in
            host.accounts.create(account, keys, now: 0) { continuation.resume(with: $0) }
        }
    }

    /// Closes the database and takes it away.
    func stop() {
        try? host.database.close()
        try? FileManager.default.removeItem(at: directory)
    }
}

/// Time that passes when it is told to.
private final class PlayedClock: Sendable {
    private let time = Mutex(PushMoment(monotonic: 0, wall: 1_780_000_000_000))

    var now: PushMoment { time.withLock { $0 } }

    func pass(_ seconds: Int64) {
        time.withLock { $0 = $0.adding(milliseconds: seconds * 1000) }
    }
}
