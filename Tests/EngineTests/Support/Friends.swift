// Two users who see each other, by the way that clients take.

import Addresses
import Testing
import XML

/// Makes two users who are online contacts of each other (RFC 6121 section 3.1), and leaves
/// nothing for them to read.
func befriend(_ one: TestClient, _ other: TestClient) async throws {
    try await subscribe(one, to: other)
    try await subscribe(other, to: one)
    _ = try await one.pending()
    _ = try await other.pending()
}

/// Has one user ask for the other's presence, and the other agree.
func subscribe(_ one: TestClient, to other: TestClient) async throws {
    let asking = try one.jid.bare.description
    let asked = try other.jid.bare.description
    await one.send("<presence type='subscribe' to='\(asked)'/>")
    _ = try await other.first { $0.isPresence(from: asking, "subscribe") }
    await other.send("<presence type='subscribed' to='\(asking)'/>")
    _ = try await one.first { $0.isPresence(from: asked, "subscribed") }
}
