// The way of a stanza: whatever a client sends, everybody gets well-formed streams, nobody gets
// words in another's mouth, others are served, and the client leaves nothing behind.

import Engine
import Glibc
import Synchronization
import XML
import XMPP

enum StanzaTarget {
    /// - Parameter input: how far the client gets before it sends the rest: `0` a connection, `1`
    ///   logged in, `2` bound, `3` available and with its roster. The byte 0xFF, which no text
    ///   has, cuts the rest into chunks, between which the server comes to rest.
    static func run(_ input: [UInt8]) throws {
        guard let first = input.first else { return }
        try world.withLock { world in
            _ = leavesNothing
            // Kept only if everything holds.
            var current = try world ?? World()
            world = nil
            let stage = Int(first & 3)
            let attacker: DryClient
            do {
                attacker = try current.admit(stage: stage)
            } catch {
                // A change of password takes its time, and may meet the next account instead.
                current = try World()
                attacker = try current.admit(stage: stage)
            }
            try current.withstand(attacker, Array(input.dropFirst()))
            if current.attacks < World.lifetime { world = current }
        }
    }

    private static let world = Mutex<World?>(nil)
    /// The last database goes with the process.
    private static let leavesNothing = atexit { StanzaTarget.world.withLock { $0 = nil } }
}

/// A server, a bystander who stays, and an attacker whose account is new each time.
private final class World: Sendable {
    /// Attacks on one server, so that what they leave in the database stays small.
    static let lifetime = 500

    private let server: DryServer
    private let bystander: DryClient
    private let count = Mutex(0)
    var attacks: Int { count.withLock { $0 } }

    init() throws {
        server = try DryServer()
        try server.addAccount("juliet")
        // Whom nobody logs in as.
        try server.addAccount("romeo")
        bystander = try server.connect("juliet")
        try bystander.logIn()
        try bystander.bind("balcony")
        bystander.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>")
        server.settle()
    }

    func admit(stage: Int) throws -> DryClient {
        count.withLock { $0 += 1 }
        try server.addAccount("mallory")
        let attacker = try server.connect("mallory")
        if stage > 0 { try attacker.logIn() }
        if stage > 1 { try attacker.bind("mask") }
        if stage > 2 {
            attacker.send(
                "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>")
        }
        return attacker
    }

    func withstand(_ attacker: DryClient, _ input: [UInt8]) throws {
        for chunk in input.split(separator: 0xFF) {
            attacker.send(Array(chunk))
            server.settle()
            try answerRequests()
            try check(attacker.received(), of: attacker)
        }
        server.settle()
        attacker.drop()
        server.settle()
        try check(attacker.received(), of: attacker)
        // A session that its client could resume would outlive the connection.
        server.endSessions(of: "mallory")
        try check(bystander.ping("p\(attacks)"), of: bystander)
        try expect(server.host.sessions.all.count == 1, "a session is left")
        try expect(server.gauge("kinglet_sessions") == 1, "the gauge of sessions is off")
        try expect(server.gauge("kinglet_connections") == 1, "the gauge of connections is off")
        try server.removeAccount("mallory")
    }

    /// The bystander agrees to every request for its presence, and asks for the other's.
    private func answerRequests() throws {
        for stanza in try bystander.received() {
            try check([stanza], of: bystander)
            guard stanza.name == "presence", stanza["type"] == "subscribe",
                let from = stanza["from"]
            else { continue }
            var reply = Element("presence", Namespaces.client, [("to", from)])
            for type in ["subscribed", "subscribe"] {
                reply["type"] = type
                bystander.send(XMLWriter.bytes(reply, contentNamespace: Namespaces.client))
            }
            server.settle()
        }
    }

    /// RFC 6120 section 8.1.2.1: a stanza is from whom the server knows it to be.
    private func check(_ stanzas: [Element], of client: DryClient) throws {
        for stanza in stanzas where stanza.namespace == Namespaces.client {
            guard let from = stanza["from"] else { continue }
            let sender = String(from.prefix { $0 != "/" })
            // The attacker may write to anybody and get an answer in that one's name.
            let isAnswer = stanza["type"] == "error" || stanza["type"] == "result"
            let mallory = "mallory@\(DryServer.domain)"
            let juliet = "juliet@\(DryServer.domain)"
            try expect(
                sender == mallory || sender == juliet || sender == DryServer.domain
                    || isAnswer && client !== bystander,
                "\(client.account) gets a stanza from \(from): \(stanza)")
            // The bystander writes no messages.
            try expect(
                stanza.name != "message" || sender == mallory || isAnswer && client !== bystander,
                "\(client.account) gets a message from \(from): \(stanza)")
        }
    }
}
