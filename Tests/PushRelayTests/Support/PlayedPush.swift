// The push relay in a whole engine without sockets: providers are played, and so is the time.

import Addresses
import Engine
import Foundation
import HTTPClient
import NIOCore
import NIOEmbedded
import Storage
import Synchronization
import Testing
import XML
import XMPP

@testable import PushRelay

/// Carries requests to nobody, and answers as it is told.
final class PlayedTransport: PushTransport {
    typealias Answer = Result<HTTPResponse, HTTPError>

    private struct State {
        var requests: [PushRequest] = []
        var answers: [Answer] = []
        var holds = false
        var waiting: [@Sendable (Answer) -> Void] = []
    }

    private let state = Mutex(State())

    /// What was sent to a device, without what fetched an authorization.
    var pushes: [PushRequest] { state.withLock { $0.requests } }

    /// The next answers; after them, everything is accepted.
    func answer(_ answers: HTTPResponse...) {
        state.withLock { $0.answers += answers.map { .success($0) } }
    }

    /// Has requests wait for their answer, or no more.
    func hold(_ holds: Bool) { state.withLock { $0.holds = holds } }

    /// Answers those that wait.
    func release(_ response: HTTPResponse = PlayedTransport.accepted) {
        let waiting = state.withLock { state in
            defer { state.waiting = [] }
            return state.waiting
        }
        for then in waiting { then(.success(response)) }
    }

    static let accepted = HTTPResponse(
        status: 200, headers: [], body: Array("{\"name\":\"projects/p/messages/1\"}".utf8))

    func send(
        _ request: PushRequest, then: @escaping @Sendable (Answer, _ written: Duration?) -> Void
    ) {
        if request.request.url.contains("/token") {
            let body = Array(FCMTests.token.utf8)
            return then(.success(HTTPResponse(status: 200, headers: [], body: body)), nil)
        }
        let answer = state.withLock { state -> Answer? in
            state.requests.append(request)
            guard !state.holds else {
                state.waiting.append { then($0, nil) }
                return nil
            }
            return state.answers.isEmpty ? .success(Self.accepted) : state.answers.removeFirst()
        }
        if let answer { then(answer, nil) }
    }

    func stop() {}
}

/// A server with a push relay. Used by one task.
final class PlayedPush {
    static let service = "push.capulet.example"
    static let key = [UInt8](repeating: 9, count: 32)

    let server: TestServer
    let push: PushService
    let transport: PlayedTransport
    private let clock: PlayedClock

    final class PlayedClock: Sendable {
        let now = Mutex(PushMoment(monotonic: 1_000_000, wall: Clock.millisecondsSince1970()))
    }

    /// - Parameter other: over whose database.
    init(_ settings: [String] = [], over other: PlayedPush? = nil) throws {
        let transport = PlayedTransport()
        let clock = other?.clock ?? PlayedClock()
        self.transport = transport
        self.clock = clock
        let file = "/tmp/kinglet-push-account-\(UInt64.random(in: 0...(.max))).json"
        defer { try? FileManager.default.removeItem(atPath: file) }
        try Data(try FCMTests.file()).write(to: URL(fileURLWithPath: file))
        try FileManager.default.setAttributes(
            [.posixPermissions: 0o600], ofItemAtPath: file)
        let app = "push.apps=[{name: chat, provider: fcm, service_account_file: \(file)}]"
        var declared: PushService?
        let declare: (HostBuilder) -> Void = { builder in
            let push = PushService(in: builder)
            push.serve([TestServer.domain], in: builder)
            var surroundings = PushSurroundings(
                key: Self.key, transport: transport, isClockRight: { true })
            surroundings.clock = { clock.now.withLock { $0 } }
            push.prepare(surroundings)
            declared = push
        }
        let all = [app, "push.window=0s"] + settings
        if let other {
            server = try TestServer(over: other.server, all, declaring: declare)
        } else {
            server = try TestServer(
                ["federation.policy=open"] + all, declaring: declare)
        }
        push = try #require(declared)
        push.start()
    }

    /// Lets time go by, and everything happen that is due.
    func pass(_ milliseconds: Int64) async {
        clock.now.withLock { $0 = $0.adding(milliseconds: milliseconds) }
        for loop in server.loops { await loop.advanceTime(by: .milliseconds(milliseconds)) }
        await settle()
    }

    /// Waits until everything has happened that is on its way.
    func settle() async {
        for _ in 0..<3 {
            await server.settle()
            // What is in no hurry is committed with this.
            _ = try? server.host.database.writeNow { _ in }
            for loop in server.loops { await loop.advanceTime(by: .milliseconds(2)) }
        }
        await server.settle()
    }

    /// How many pushes went out.
    func pushes() async -> Int {
        await settle()
        return transport.pushes.count
    }

    func targets(of account: String) throws -> [PushTargetRow] {
        let jid = try BareJID(account)
        return try server.host.database.readNow { try PushTargetStore.targets($0, of: jid) }
    }

    func expectBalance(sourceLocation: SourceLocation = #_sourceLocation) throws {
        for (_, books) in try server.host.database.readNow({ try PushQueueStore.books($0) }) {
            #expect(books.isBalanced, "\(books)", sourceLocation: sourceLocation)
        }
    }

    // MARK: A client's way

    struct Node {
        var node: String
        var secret: String
    }

    static func command(_ node: String, _ fields: [(String, String)]) -> String {
        let values = fields.map { "<field var='\($0)'><value>\($1)</value></field>" }.joined()
        return
            "<command xmlns='http://jabber.org/protocol/commands' node='\(node)' action='execute'>"
            + "<x xmlns='jabber:x:data' type='submit'>\(values)</x></command>"
    }

    /// Registers a token as p2's clients do.
    func register(
        _ client: TestClient, token: String = "token:1", device: String = "d1"
    ) async throws -> Node {
        let answer = try await client.request(
            "set",
            Self.command("register-push-fcm", [("token", token), ("device-id", device)]),
            to: Self.service)
        return try Self.node(of: answer)
    }

    static func node(of answer: Element) throws -> Node {
        let command = try #require(
            answer.child("command", "http://jabber.org/protocol/commands"), "\(answer)")
        #expect(command["status"] == "completed")
        let form = try #require(command.elements.lazy.compactMap { DataForm($0) }.first)
        #expect(form.value("jid") == service)
        return Node(
            node: try #require(form.value("node")), secret: try #require(form.value("secret")))
    }

    static func options(_ fields: [(String, String)]) -> String {
        let values = fields.map { "<field var='\($0)'><value>\($1)</value></field>" }.joined()
        return "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>"
            + "http://jabber.org/protocol/pubsub#publish-options</value></field>\(values)</x>"
    }

    static func enable(
        _ node: String?, at service: String? = service, _ form: String = ""
    ) -> String {
        let jid = service.map { " jid='\($0)'" } ?? ""
        let name = node.map { " node='\($0)'" } ?? ""
        return "<enable xmlns='urn:xmpp:push:0'\(jid)\(name)>\(form)</enable>"
    }

    static func disable(_ node: String? = nil, at service: String = service) -> String {
        let name = node.map { " node='\($0)'" } ?? ""
        return "<disable xmlns='urn:xmpp:push:0' jid='\(service)'\(name)/>"
    }

    /// Registers a client's device and enables it.
    @discardableResult
    func enable(_ client: TestClient, token: String = "token:1", device: String = "d1")
        async throws -> Node
    {
        let node = try await register(client, token: token, device: device)
        let answer = try await client.request(
            "set", Self.enable(node.node, Self.options([("secret", node.secret)])))
        #expect(answer["type"] == "result", "\(answer)")
        return node
    }
}

/// Runs a test with a push relay and stops it cleanly.
func withPush(
    _ settings: String..., sourceLocation: SourceLocation = #_sourceLocation,
    _ body: (PlayedPush) async throws -> Void
) async throws {
    let push = try PlayedPush(settings)
    do {
        try await body(push)
    } catch {
        await push.server.stop(sourceLocation: sourceLocation)
        throw error
    }
    await push.server.stop(sourceLocation: sourceLocation)
}
