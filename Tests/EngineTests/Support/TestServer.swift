// The whole engine with all features, without sockets: on event loops that tests drive, over a
// database of its own. Completions of the database come on threads of their own, so tests wait
// for what they expect as an event, never for a time.

import Addresses
import Dispatch
import Engine
import Features
import Logging
import NIOCore
import NIOEmbedded
import Options
import Prometheus
import Synchronization
import TLS
import Testing

@testable import Storage

/// A running server. Safe on any thread.
final class TestServer: Sendable {
    static let domain = "capulet.example"
    static let password = "r0m30 myr0m30"
    static let iterations = 4096

    /// Derived once, for it takes some ten milliseconds.
    private static let keys = Result {
        try PasswordKeys(password: password, iterations: iterations)
    }

    let host: Host
    let loops: [NIOAsyncTestingEventLoop]
    let registry: Registry
    private let directory: TemporaryDirectory
    private let clients = Mutex<[TestClient]>([])
    private let isClosed = Atomic<Bool>(false)

    /// - Parameters:
    ///   - settings: as on the command line, `limits.resources=2`.
    ///   - declare: declares more than the features do.
    convenience init(
        _ settings: [String], domains: [String] = [domain], loops count: Int = 1,
        memoryInUse: @escaping @Sendable () -> Int? = { nil },
        declaring declare: (HostBuilder) -> Void = { _ in }
    ) throws {
        try self.init(
            settings, domains: domains, loops: count, in: TemporaryDirectory(),
            memoryInUse: memoryInUse, declaring: declare)
    }

    /// A second server over the same database: what the first one would find after a crash.
    convenience init(
        over other: TestServer, _ settings: [String] = [], loops count: Int = 1,
        declaring declare: (HostBuilder) -> Void = { _ in }
    ) throws {
        try self.init(
            settings, domains: other.host.domains, loops: count, in: other.directory,
            declaring: declare)
    }

    /// Stops as on SIGTERM, has something done to the database, and starts again on it.
    func restart(
        _ settings: String..., loops count: Int = 1,
        meanwhile body: (TestServer) async throws -> Void = { _ in }
    ) async throws -> TestServer {
        await host.stop()
        await stop()
        let next = try TestServer(over: self, settings, loops: count)
        try await body(next)
        await next.host.restoreSessions()
        return next
    }

    /// Stops and gives the database as a backup would have it.
    func stopForCopy() async throws -> [UInt8] {
        await host.stop()
        await stop()
        return try directory.read()
    }

    /// A server over the database that `copy` is of, in place of the other's; with the mark of a
    /// restore, or without.
    convenience init(over other: TestServer, copy: [UInt8], mark: String?) throws {
        try other.directory.write(copy)
        try self.init(
            [], domains: other.host.domains, loops: 1, in: other.directory, restoration: mark)
    }

    /// A server over a copy of a database, elsewhere.
    convenience init(copy: [UInt8]) throws {
        let directory = try TemporaryDirectory()
        try directory.write(copy)
        try self.init([], domains: [Self.domain], loops: 1, in: directory)
    }

    private init(
        _ settings: [String], domains: [String], loops count: Int,
        in directory: TemporaryDirectory, restoration: String? = nil,
        memoryInUse: @escaping @Sendable () -> Int? = { nil },
        declaring declare: (HostBuilder) -> Void = { _ in }
    ) throws {
        self.directory = directory
        var document = ConfigurationDocument.empty
        let defaults = [
            "storage.scram_iterations=\(Self.iterations)", "storage.durability=relaxed",
            // Failures are answered at once; the tests of the delay set it.
            "limits.login_delay=0s",
        ]
        for setting in defaults + settings { try document.override(setting) }
        let options = OptionSet(document)
        registry = Registry(cells: count + 1)
        let builder = HostBuilder(options: options, registry: registry)
        builder.memoryInUse = memoryInUse
        for feature in AllFeatures.list { builder.add(feature) }
        declare(builder)
        try options.finish()
        loops = (0..<count).map { _ in NIOAsyncTestingEventLoop() }
        host = try Host(
            builder, domains: domains, databaseFile: directory.database,
            loginSecret: SecureRandom.bytes(32), eventLoops: loops,
            restoration: restoration,
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    /// Ends all connections and closes the database, which must not throw.
    func stop(sourceLocation: SourceLocation = #_sourceLocation) async {
        guard !isClosed.exchange(true, ordering: .relaxed) else { return }
        let clients = clients.withLock { clients in
            defer { clients = [] }
            return clients
        }
        for client in clients { await client.drop() }
        await settle()
        #expect(throws: Never.self, "a clean close", sourceLocation: sourceLocation) {
            try host.database.close()
        }
    }

    // MARK: Accounts

    /// Adds an account with the password of all test accounts.
    func addAccount(_ local: String, domain: String = domain) async throws {
        let jid = BareJID(preparedLocal: local, preparedDomain: domain)
        let keys = try Self.keys.get()
        try await withCheckedThrowingContinuation { continuation in
            host.accounts.create(jid, keys, now: 0) { continuation.resume(with: $0) }
        }
    }

    /// Switches an account off.
    func disable(_ jid: String) async throws {
        let jid = try BareJID(jid)
        try await withCheckedThrowingContinuation { continuation in
            host.accounts.setDisabled(jid, true) { continuation.resume(with: $0) }
        }
    }

    // MARK: Clients

    /// A connection on which nothing was said yet.
    func connect(
        from address: String = "127.0.0.1", loop: Int = 0, offersTLS: Bool = false,
        allowsPlaintext: Bool = true, redirection: String? = nil
    ) async throws -> TestClient {
        let isLoopback = address == "127.0.0.1"
        #expect(host.admission.enter(address: address, isLoopback: isLoopback) == nil)
        let description = ConnectionDescription(
            address: address, type: .starttls, offersTLS: offersTLS,
            allowsPlaintext: allowsPlaintext, redirection: redirection)
        let client = try await TestClient(self, loops[loop], description)
        clients.withLock { $0.append(client) }
        return client
    }

    /// A client that has bound a resource and said nothing else; its account is made if need be.
    func login(_ address: String, loop: Int = 0) async throws -> TestClient {
        let jid = try JID(address)
        if try host.accounts.account(jid.bare) == nil {
            try await addAccount(jid.local, domain: jid.domain)
        }
        let client = try await connect(loop: loop)
        try await client.login(jid)
        return client
    }

    /// A client that has its roster and has announced itself.
    func online(
        _ address: String, loop: Int = 0, priority: Int = 0
    ) async throws -> TestClient {
        let client = try await login(address, loop: loop)
        try await client.getRoster()
        try await client.announce(priority: priority)
        return client
    }

    // MARK: Quiet

    /// Waits until everything has happened that is on its way: deliveries between loops and
    /// what commits and reads set off.
    func settle() async {
        for _ in 0..<3 {
            await withCheckedContinuation { continuation in
                host.database.writer.submit({ _ in }, then: { _ in continuation.resume() })
            }
            // Reads begin in their order; those that have begun are then waited for.
            await withCheckedContinuation { continuation in
                host.database.read({ _ in }, then: { _ in continuation.resume() })
            }
            host.database.awaitReaders()
            for loop in loops { await loop.call {} }
        }
    }

    /// Has the database refuse such statements on a table, as if the disk were full.
    func refuse(_ verb: String, on table: String) throws {
        try host.database.writeNow { connection in
            try connection.execute(
                "CREATE TRIGGER refuse_\(verb) BEFORE \(verb) ON \(table)"
                    + " BEGIN SELECT RAISE(ABORT, 'refused by the test'); END")
        }
    }

    /// Waits for what no client can see.
    func wait(
        sourceLocation: SourceLocation = #_sourceLocation, until isTrue: () -> Bool
    ) async throws {
        let limit = ContinuousClock.now + .seconds(120)
        while !isTrue() {
            try #require(ContinuousClock.now < limit, sourceLocation: sourceLocation)
            await Task.yield()
        }
    }

    /// Keeps the writer busy until the gate is signalled; returns when it is busy.
    func holdWriter() async -> DispatchSemaphore {
        let gate = DispatchSemaphore(value: 0)
        await withCheckedContinuation { continuation in
            host.database.writer.submit(
                { _ in
                    continuation.resume()
                    gate.wait()
                }, then: { _ in })
        }
        return gate
    }

    /// Keeps everybody from reading the database until the gate is opened; returns when all readers
    /// are busy.
    func holdReaders() async -> Gate {
        let gate = Gate(Database.readers)
        for _ in 0..<gate.size {
            await withCheckedContinuation { continuation in
                host.database.read(
                    { _ in
                        continuation.resume()
                        gate.wait()
                    }, then: { _ in })
            }
        }
        return gate
    }

    /// How often something was refused.
    func refusals(_ reason: RefusalReason) -> Int { host.metrics.refusals[reason].value }

    /// The value of a line of the metrics page, nil when there is no such line.
    func metric(_ series: String) -> Double? {
        String(decoding: registry.render(.text004), as: UTF8.self).split(separator: "\n")
            .first { $0.hasPrefix(series + " ") }
            .flatMap { Double($0.dropFirst(series.count + 1)) }
    }
}

/// Runs a test against a server of its own and stops it cleanly.
func withServer(
    _ settings: String...,
    domains: [String] = [TestServer.domain], loops: Int = 1,
    memoryInUse: @escaping @Sendable () -> Int? = { nil },
    declaring declare: (HostBuilder) -> Void = { _ in },
    sourceLocation: SourceLocation = #_sourceLocation,
    _ body: (TestServer) async throws -> Void
) async throws {
    let server = try TestServer(
        settings, domains: domains, loops: loops, memoryInUse: memoryInUse, declaring: declare)
    do {
        try await body(server)
    } catch {
        await server.stop(sourceLocation: sourceLocation)
        throw error
    }
    await server.stop(sourceLocation: sourceLocation)
}

extension NIOAsyncTestingEventLoop {
    /// Runs a body on the loop, and after it whatever it left to be run.
    func call<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        let value: Value = await withCheckedContinuation { continuation in
            execute { continuation.resume(returning: body()) }
        }
        await run()
        return value
    }
}

/// Where several threads wait.
final class Gate: Sendable {
    let size: Int
    private let semaphore = DispatchSemaphore(value: 0)

    init(_ size: Int) { self.size = size }

    func wait() { semaphore.wait() }

    func open() { for _ in 0..<size { semaphore.signal() } }
}
