// A database with the tables of the push relay, and what writes into it, without a server.

import Addresses
import Options
import Prometheus
import Storage
import Testing

@testable import PushRelay

/// The queue on a disk. Used by one task.
final class PushDatabase {
    static let account = BareJID(preparedLocal: "romeo", preparedDomain: "capulet.example")
    static let start: Int64 = 1_780_000_000_000

    let database: Database
    let keys = PushKeys(key: Array(repeating: 7, count: 32))
    let wakeups: Wakeups
    private let directory: TemporaryDirectory

    init(_ settings: String...) throws {
        directory = try TemporaryDirectory()
        database = try Database(
            file: directory.database, steps: PushSchema.steps,
            durability: .relaxed, registry: Registry())
        var document = ConfigurationDocument.empty
        for setting in settings { try document.override(setting) }
        let set = OptionSet(document)
        let options = PushOptions(set)
        try set.finish()
        wakeups = Wakeups(keys: keys, options: options, services: ["push.capulet.example"])
    }

    func close() throws { try database.close() }

    func write<Value: Sendable>(
        _ body: @escaping @Sendable (Connection) throws -> Value
    ) throws -> Value {
        try database.writeNow(body)
    }

    // MARK: Targets

    /// Adds a registration with another app server, or enables it anew.
    func addService(_ node: String, service: String = "push.example", limit: Int = 20) throws
        -> Int64?
    {
        let keys = keys
        return try write { connection in
            let row = PushTargetRow(
                provider: .xmpp, account: Self.account, resource: node, service: service,
                node: node, circuit: "xmpp:\(service)",
                fingerprint: keys.name("service", service, node),
                secret: try keys.seal(PushTarget("")), created: 1, refreshed: 1)
            return try PushTargetStore.insert(connection, row, limit: limit)?.id
        }
    }

    /// Adds a user's own target, or changes it.
    func addOwn(_ name: String, _ provider: ProviderKind, refreshed: Int64 = 1) throws -> Int64 {
        let keys = keys
        return try write { connection in
            let row = PushTargetRow(
                provider: provider, account: Self.account,
                circuit: "\(provider.rawValue):\(name)", fingerprint: keys.name("own", name),
                secret: try keys.seal(PushTarget("https://\(provider.rawValue).example/\(name)")),
                created: 1, refreshed: refreshed)
            return try #require(try PushTargetStore.insert(connection, row, limit: 1000)).id
        }
    }

    /// Adds a device with a token of each of these, in this order; gives their targets.
    func addDevice(_ name: String, _ tokens: [(ProviderKind, String)]) throws -> [Int64] {
        let keys = keys
        return try write { connection in
            let (device, _) = try PushDeviceStore.put(
                connection,
                PushDeviceRow(account: Self.account, name: name, created: 1, refreshed: 1))
            return try tokens.enumerated().map { rank, token in
                var row = PushTargetRow(
                    provider: token.0, app: "chat", account: Self.account,
                    circuit: "\(token.0.rawValue):chat",
                    fingerprint: keys.name("device token", token.0.rawValue, "chat", token.1),
                    secret: try keys.seal(PushTarget(token.1)), created: 1, refreshed: 1)
                row.device = device
                row.rank = Int64(rank)
                return try #require(
                    try PushTargetStore.insert(connection, row, limit: 1000)
                ).id
            }
        }
    }

    func target(_ id: Int64) throws -> PushTargetRow? {
        try database.readNow { try PushTargetStore.target($0, id) }
    }

    func row(_ id: Int64) throws -> PushQueueRow? {
        try database.readNow { try PushQueueStore.find($0, id) }
    }

    // MARK: What happens

    @discardableResult
    func note(
        _ kind: PushNotification.Kind = .message, message: Int64? = nil, at now: Int64,
        to id: Int64? = nil
    ) throws -> [NotedPush] {
        let wakeups = wakeups
        return try write { connection in
            try wakeups.note(
                WakeReason(kind: kind, message: message), for: Self.account, now: now, connection
            ) { id == nil || $0.id == id }
        }
    }

    @discardableResult
    func end(
        _ item: DeliveryItem, _ end: DeliveryEnd, _ answer: PushAnswer, at now: Int64,
        deadLetters: Int = 1000
    ) throws -> Int64? {
        let record = PushRecord(
            item: item, answer: answer, end: end, now: PushMoment(monotonic: 0, wall: now),
            window: .seconds(5), lifetime: .seconds(3 * 86_400), deadLetters: deadLetters,
            wakeups: wakeups)
        return try write { try record.write($0).next }
    }

    func suppress(_ id: Int64) throws { try write { try PushQueueStore.suppress($0, id) } }

    var books: [ProviderKind: PushBooks] {
        get throws { try database.readNow { try PushQueueStore.books($0) } }
    }

    func expectBalance(
        _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        for (provider, books) in try books {
            #expect(books.isBalanced, comment, sourceLocation: sourceLocation)
            let counts = [
                books.requested, books.sent, books.collapsed, books.suppressed, books.dead,
                books.dropped, books.passedOn, books.waiting,
            ]
            #expect(
                counts.allSatisfy { $0 >= 0 }, "\(provider) \(books)",
                sourceLocation: sourceLocation)
        }
    }
}
