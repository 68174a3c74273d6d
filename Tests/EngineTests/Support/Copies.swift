// Message carbons (XEP-0280) from the client's side.

import Testing
import XML
import XMPP

/// A copy of a message, taken out of its wrapper.
struct Copy {
    /// `received` or `sent`.
    let direction: String
    let wrapper: Element
    let message: Element

    /// Nil for what is no copy.
    init?(_ element: Element) {
        guard element.name == "message", element.elements.count <= 2,
            let copy = element.elements.first(where: { $0.namespace == "urn:xmpp:carbons:2" }),
            copy.elements.count == 1, let forwarded = copy.child("forwarded", "urn:xmpp:forward:0"),
            forwarded.elements.count == 1,
            let message = forwarded.child("message", Namespaces.client)
        else { return nil }
        direction = copy.name
        wrapper = element
        self.message = message
    }
}

extension TestClient {
    /// Asks for copies.
    func enableCarbons(sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let answer = try await request("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
        #expect(answer["type"] == "result", sourceLocation: sourceLocation)
    }

    /// The messages that have come, copies among them.
    func pendingMessages() async throws -> [Element] {
        try await pending().filter { $0.name == "message" }
    }

    /// What has come, by body: `body`, or `received body` and `sent body` for copies.
    func pendingBodies() async throws -> [String] {
        try await pendingMessages().map { element in
            guard let copy = Copy(element) else { return element.body ?? "-" }
            return "\(copy.direction) \(copy.message.body ?? "-")"
        }
    }
}

extension TestServer {
    /// A client that is online and wants copies.
    func onlineWithCarbons(
        _ address: String, loop: Int = 0, priority: Int = 0
    ) async throws -> TestClient {
        let client = try await online(address, loop: loop, priority: priority)
        try await client.enableCarbons()
        return client
    }
}
