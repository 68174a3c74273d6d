// A push relay over a database of its own, without event loops: what it sends is answered at once.

import Addresses
import Engine
import Features
import Foundation
import HTTPClient
import Logging
import Options
import Prometheus
import Storage
import Synchronization
import Testing

@testable import PushRelay

/// Answers as the test says, and keeps what came.
final class ScriptedTransport: PushTransport {
    typealias Reply = @Sendable (PushRequest) -> Result<HTTPResponse, HTTPError>

    private let reply: Mutex<Reply>
    private let requests = Mutex<[PushRequest]>([])

    init(_ reply: @escaping Reply) { self.reply = Mutex(reply) }

    /// What was sent, in order.
    var sent: [PushRequest] { requests.withLock { $0 } }

    func send(
        _ request: PushRequest,
        then: @escaping @Sendable (Result<HTTPResponse, HTTPError>, Duration?) -> Void
    ) {
        requests.withLock { $0.append(request) }
        let reply = reply.withLock { $0 }
        then(reply(request), .milliseconds(1))
    }

    func stop() {}
}

/// A relay at rest.
final class PlayedRelay {
    static let alice = BareJID(preparedLocal: "alice", preparedDomain: "example.org")
    static let bob = BareJID(preparedLocal: "bob", preparedDomain: "example.org")

    let service: PushService
    let transport: ScriptedTransport
    let host: Engine.Host
    private let directory: URL

    init(
        _ settings: String...,
        reply: @escaping ScriptedTransport.Reply = { _ in .success(answer(200, "{\"id\":\"a\"}")) }
    ) throws {
        directory = FileManager.default.temporaryDirectory
            .appendingPathComponent("push-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        var document = ConfigurationDocument.empty
        for setting in settings { try document.override(setting) }
        let options = OptionSet(document)
        let builder = HostBuilder(options: options, registry: Registry())
        for feature in AllFeatures.list { builder.add(feature) }
        service = PushService(in: builder)
        try options.finish()
        transport = ScriptedTransport(reply)
        service.prepare(
            PushSurroundings(
                key: Array(repeating: 7, count: PushKeys.length), transport: transport,
                isClockRight: { true }))
        host = try Engine.Host(
            builder, domains: ["example.org"],
            databaseFile: directory.appendingPathComponent("kinglet.db").path,
            loginSecret: Array(repeating: 1, count: 32), eventLoops: [],
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    func close() throws {
        try host.database.close()
        try FileManager.default.removeItem(at: directory)
    }

    // MARK: What the tests need

    /// Why a target is refused; nil if it is not.
    func refusal(_ new: NewPushTarget, for account: BareJID = alice) throws -> String? {
        do {
            _ = try service.add(new, for: account)
            return nil
        } catch let error as PushRefused {
            return error.description
        }
    }

    /// A target of ntfy.
    @discardableResult
    func add(
        _ topic: String = "topic", for account: BareJID = alice
    ) throws -> PushTargetDescription {
        try service.add(
            NewPushTarget(.ntfy, url: "https://ntfy.example/\(topic)", secret: "tk_secret"),
            for: account
        ).target
    }

    /// Asks for a target to be woken.
    func note(_ id: Int64, _ kind: PushNotification.Kind = .message) throws {
        let wakeups = try service.dispatcher().wakeups
        let now = Clock.millisecondsSince1970()
        try host.database.writeNow { connection in
            guard let target = try PushTargetStore.target(connection, id) else { return }
            _ = try wakeups.note(
                WakeReason(kind: kind), target, PushQueueStore.find(connection, id), now: now,
                connection)
        }
    }

    /// Gives up what waits for a target.
    func giveUp(_ id: Int64, disables: Bool = false, _ reason: PushReason = .request) throws {
        try host.database.writeNow { connection in
            guard let row = try PushQueueStore.find(connection, id),
                let target = try PushTargetStore.target(connection, id)
            else { return }
            try PushQueueStore.noteDead(
                connection,
                DeadLetter(
                    id: 0, target: id, provider: row.provider,
                    account: target.account?.description, kind: row.kind, reason: reason,
                    code: "400", unread: row.unread, tries: 1, added: row.added, died: row.added + 1
                ),
                version: row.version, endsAll: disables, limit: 100)
            if disables {
                try PushTargetStore.disable(connection, id, reason, "400", now: 1_780_000_000)
            }
        }
    }

    /// A target of another kind than can be added by hand.
    func insert(_ row: PushTargetRow, _ target: PushTarget) throws -> Int64? {
        var row = row
        row.secret = try service.dispatcher().keys.seal(target)
        let kept = row
        return try host.database.writeNow { connection in
            try PushTargetStore.insert(connection, kept, limit: 20)?.id
        }
    }

    /// The books of a provider.
    func books(_ provider: ProviderKind = .ntfy) throws -> PushBooksDescription? {
        try service.providers(isRunning: true).books.first { $0.provider == provider }
    }
}
