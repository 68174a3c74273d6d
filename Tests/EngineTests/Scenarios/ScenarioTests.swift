// The scenarios, dry: every one on a server of its own, without a socket.

import Addresses
import SASL
import Testing
import XML

@Suite("Scenarios")
struct ScenarioTests {
    @Test("They are where they should be")
    func found() {
        #expect(Scenario.files.count >= 30)
    }

    @Test("Every one goes as it is written", arguments: Scenario.files)
    func plays(_ file: String) async throws {
        let scenario = try Scenario(file: file)
        try await withServer(domains: [Play.domain]) { server in
            for name in scenario.people { try await server.addAccount(name, domain: Play.domain) }
            let play = Play(server)
            for step in scenario.steps {
                do {
                    try await play.play(step)
                } catch {
                    Issue.record("\(step.subject): \(error)", sourceLocation: step.line)
                    return
                }
            }
            let end = try #require(scenario.steps.last).line
            try await play.expectQuiet(end)
        }
    }
}

/// A scenario that is being played. Used by one task.
private final class Play {
    static let domain = "example.test"

    /// A client, and what it has been sent that no step has asked for yet.
    private final class Actor {
        let client: TestClient
        var unread: [Element] = []

        init(_ client: TestClient) {
            self.client = client
        }

        /// The next element, be it unread or still to come.
        func next() async throws -> Element {
            guard unread.isEmpty else { return unread.removeFirst() }
            while true {
                switch try await client.event() {
                case .element(let element) where element.isRequestForAcknowledgement: continue
                case .element(let element): return element
                case .header: continue
                case let event: throw Unexpected("\(event) instead of an element")
                }
            }
        }
    }

    private struct Unexpected: Error, CustomStringConvertible {
        var description: String

        init(_ description: String) {
            self.description = description
        }
    }

    private let server: TestServer
    private var actors: [String: Actor] = [:]
    private var named = NamedValues()

    init(_ server: TestServer) {
        self.server = server
    }

    func play(_ step: Scenario.Step) async throws {
        switch step.action {
        case .isOnline(let resource):
            try await comeOnline(try await connect(step.subject, resource))
        case .isConnected(let resource): _ = try await connect(step.subject, resource)
        case .comesBack(let resource): try await comeBack(step.subject, resource)
        case .opensStream: try await openStream(step.subject)
        case .befriends(let other):
            try await befriend(actor(step.subject).client, actor(other).client)
        case .sends(let text):
            let message = "\0\(step.subject)\0\(TestServer.password)"
            try await actor(step.subject).client.send(
                named.fill(text)
                    .replacing("{plain}", with: Base64.encode(Array(message.utf8)))
                    .replacing("{username}", with: step.subject))
        case .receives(let expected, let inAnyOrder):
            try await receive(try actor(step.subject), expected, inAnyOrder)
        case .receivesNothing: try await expectNothing(try actor(step.subject), step.line)
        case .leaves:
            let actor = try actor(step.subject)
            await actor.client.send("</stream:stream>")
            try await expectEnd(of: actor, step)
        case .isDisconnected: try await expectEnd(of: try actor(step.subject), step)
        case .isCutOff:
            let actor = try actor(step.subject)
            await actor.client.drop()
            await server.settle()
            forget(actor)
        }
    }

    /// That nobody has been sent anything that the scenario does not tell of.
    func expectQuiet(_ line: SourceLocation) async throws {
        for (name, actor) in actors where !name.contains("/") {
            try await expectNothing(actor, line)
        }
    }

    // MARK: Those who act

    private func actor(_ subject: String) throws -> Actor {
        guard let actor = actors[subject] else { throw Unexpected("is not connected") }
        return actor
    }

    private func forget(_ actor: Actor) {
        actors = actors.filter { $0.value !== actor }
    }

    /// Logs in. Who acts by name alone is the one who came first.
    private func connect(_ name: String, _ resource: String) async throws -> Actor {
        let client = try await server.login("\(name)@\(Self.domain)/\(resource)")
        return add(Actor(client), name, resource)
    }

    private func comeBack(_ name: String, _ resource: String) async throws {
        let client = try await server.connect()
        try await client.open(to: Self.domain)
        guard try await client.scram(SCRAMClient(username: name)).name == "success" else {
            throw Unexpected("cannot log in")
        }
        try await client.open(to: Self.domain)
        _ = add(Actor(client), name, resource)
    }

    private func add(_ actor: Actor, _ name: String, _ resource: String) -> Actor {
        if actors[name] == nil { actors[name] = actor }
        actors["\(name)/\(resource)"] = actor
        return actor
    }

    private func comeOnline(_ actor: Actor) async throws {
        let own = try actor.client.jid.description
        await actor.client.send(
            "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq><presence/>")
        var others: [Element] = []
        var awaited = 2
        while awaited > 0 {
            let element = try await actor.next()
            if element["id"] == "roster" || element.isPresence(from: own) {
                awaited -= 1
            } else {
                others.append(element)
            }
        }
        actor.unread = others
    }

    private func openStream(_ subject: String) async throws {
        if actors[subject] == nil { actors[subject] = Actor(try await server.connect()) }
        let client = try actor(subject).client
        await client.send(TestClient.header(to: Self.domain))
        let header = try await client.header()
        guard header.from == Self.domain, header.version == "1.0" else {
            throw Unexpected("is given the header \(header)")
        }
    }

    // MARK: What they are sent

    private func receive(
        _ actor: Actor, _ expected: [Element], _ inAnyOrder: Bool
    ) async throws {
        var missing = expected
        while !missing.isEmpty {
            let element = try await actor.next()
            let candidates = inAnyOrder ? missing.indices : 0..<1
            let index = candidates.first { index in
                var attempt = named
                guard element.matches(missing[index], &attempt) else { return false }
                named = attempt
                return true
            }
            guard let index else {
                throw Unexpected(
                    """
                    receives \(element.readable)
                    instead of \(missing.map(\.readable).joined(separator: "\nand "))
                    """)
            }
            missing.remove(at: index)
        }
    }

    private func expectNothing(_ actor: Actor, _ line: SourceLocation) async throws {
        actor.unread += try await actor.client.pending()
            .filter { !$0.isRequestForAcknowledgement }
        #expect(actor.unread.map(\.readable) == [], sourceLocation: line)
    }

    private func expectEnd(of actor: Actor, _ step: Scenario.Step) async throws {
        #expect(actor.unread.map(\.readable) == [], sourceLocation: step.line)
        try await actor.client.expectEnd(sourceLocation: step.line)
        forget(actor)
        await server.settle()
    }
}
