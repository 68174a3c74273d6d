// A client that uses stream management as XEP-0198 wants it, and comes back for its session.

import Addresses
import Testing
import XML

/// A user's client that counts what it gets. Used by one task.
final class ResumingClient {
    private static let namespace = "urn:xmpp:sm:3"
    private static let stanzas: Set<String> = ["message", "presence", "iq"]

    private(set) var client: TestClient
    /// The name of its session.
    let id: String
    private let user: String
    /// Stanzas that it got since it began to count.
    private(set) var received = 0
    /// What it has looked at.
    private var seen: [Element] = []

    /// Begins to count, with the wish to resume.
    init(_ client: TestClient, max: Int? = nil) async throws {
        self.client = client
        user = try client.jid.local
        let time = max.map { " max='\($0)'" } ?? ""
        await client.send("<enable xmlns='\(Self.namespace)' resume='true'\(time)/>")
        id = try #require(try await client.first { $0.name == "enabled" }["id"])
    }

    /// Reads everything that the server has said and will say about what has happened so far;
    /// gives the stanzas that were not given before.
    func stanzas() async throws -> [Element] {
        await client.server.settle()
        await client.send("<r xmlns='\(Self.namespace)'/>")
        while true {
            let element = try await client.next()
            if element.name == "a" { break }
            note(element)
        }
        defer { seen = [] }
        return seen
    }

    /// The bodies of the messages among them.
    func bodies() async throws -> [String] {
        try await stanzas().compactMap { $0.name == "message" ? $0.child("body")?.text : nil }
    }

    private func note(_ element: Element) {
        guard Self.stanzas.contains(element.name) else { return }
        received += 1
        seen.append(element)
    }

    /// Says what it has: everything, or only so many stanzas.
    func acknowledge(_ count: Int? = nil) async {
        await client.send("<a xmlns='\(Self.namespace)' h='\(count ?? received)'/>")
    }

    /// Takes back that it got the last ones.
    func forget(_ count: Int) { received -= count }

    /// How much of what it sent the server has handled.
    func handled() async throws -> String? {
        await client.server.settle()
        await client.send("<r xmlns='\(Self.namespace)'/>")
        while true {
            let element = try await client.next()
            if element.name == "a" { return element["h"] }
            note(element)
        }
    }

    /// Reads up to the end of its stream, which the server announces.
    func expectShutdown() async throws {
        while true {
            let element = try await client.next()
            if element.name == "error" {
                #expect(element.elements.first?.name == "system-shutdown")
                return try await client.expectEnd()
            }
            note(element)
        }
    }

    /// Asks for its session on a new connection; gives the server's answer.
    @discardableResult
    func comeBack(to server: TestServer, loop: Int = 0) async throws -> Element {
        client = try await server.connect(loop: loop)
        try await client.open()
        let verdict = try await client.scram(SCRAMClient(username: user))
        try #require(verdict.name == "success")
        try await client.open()
        await client.send("<resume xmlns='\(Self.namespace)' previd='\(id)' h='\(received)'/>")
        return try await client.next()
    }
}
