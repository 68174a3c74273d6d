// RFC 6121 section 8.5 as one table. Where the RFC leaves a choice, ours stands here: a chat goes to
// all resources of the highest priority, a message for nobody waits, and what cannot wait comes
// back, except headlines.

import Testing
import XML

@Suite("Who gets a stanza that is sent to a local user (RFC 6121 section 8.5)")
struct DeliveryTableTests {
    /// Who is there: resource and priority; no priority for one that has not announced itself.
    private static let situations: [String: [(resource: String, priority: Int?)]] = [
        "nobody": [],
        "negative": [("n", -1)],
        "unannounced": [("u", nil)],
        "one": [("a", 0)],
        "several": [("a", 5), ("b", 5), ("c", 1), ("n", -1), ("u", nil)],
    ]

    private static let stanzas: [(name: String, text: String)] = [
        ("normal", "<message to='%'><body>x</body></message>"),
        ("chat", "<message to='%' type='chat'><body>x</body></message>"),
        ("groupchat", "<message to='%' type='groupchat'><body>x</body></message>"),
        ("headline", "<message to='%' type='headline'><body>x</body></message>"),
        ("error", "<message to='%' type='error'><body>x</body></message>"),
        ("presence", "<presence to='%'/>"),
        ("unavailable", "<presence to='%' type='unavailable'/>"),
        ("get", "<iq to='%' type='get' id='t'><q xmlns='urn:example'/></iq>"),
        ("set", "<iq to='%' type='set' id='t'><q xmlns='urn:example'/></iq>"),
        ("result", "<iq to='%' type='result' id='t'/>"),
        ("iq-error", "<iq to='%' type='error' id='t'/>"),
    ]

    /// Columns as in `stanzas`: the resources that get it, `-` for nobody and nothing, `E` for
    /// service-unavailable to the sender, `O` for storage until the next login.
    private static let table = """
        situation    address  normal chat groupchat headline error presence unavailable get set result iq-error
        no-account   bare     E      E    E         -        -     -        -           E   E   -      -
        no-account   full     E      E    E         -        -     -        -           E   E   -      -
        nobody       bare     O      O    E         -        -     -        -           E   E   -      -
        nobody       x        E      O    E         -        -     -        -           E   E   -      -
        unannounced  bare     O      O    E         -        -     -        -           E   E   -      -
        unannounced  u        u      u    u         u        u     u        u           u   u   u      u
        unannounced  x        E      O    E         -        -     -        -           E   E   -      -
        negative     bare     O      O    E         -        -     n        n           E   E   -      -
        negative     n        n      n    n         n        n     n        n           n   n   n      n
        negative     x        E      O    E         -        -     -        -           E   E   -      -
        one          bare     a      a    E         a        -     a        a           E   E   -      -
        one          a        a      a    a         a        a     a        a           a   a   a      a
        one          x        E      a    E         -        -     -        -           E   E   -      -
        several      bare     ab     ab   E         abc      -     abcn     abcn        E   E   -      -
        several      a        a      a    a         a        a     a        a           a   a   a      a
        several      c        c      c    c         c        c     c        c           c   c   c      c
        several      n        n      n    n         n        n     n        n           n   n   n      n
        several      u        u      u    u         u        u     u        u           u   u   u      u
        several      x        E      ab   E         -        -     -        -           E   E   -      -
        """

    private static let rows = table.split(separator: "\n").dropFirst().map(String.init)

    @Test("A row", arguments: rows)
    func row(_ row: String) async throws {
        let cells = row.split(separator: " ").map(String.init)
        try #require(cells.count == Self.stanzas.count + 2)
        let account = cells[0] == "no-account" ? "nobody" : "juliet"
        let address =
            switch cells[1] {
            case "bare": "\(account)@capulet.example"
            case "full": "\(account)@capulet.example/x"
            default: "\(account)@capulet.example/\(cells[1])"
            }
        for ((name, text), expected) in zip(Self.stanzas, cells.dropFirst(2)) {
            let outcome = try await outcome(
                of: text.replacing("%", with: address), Self.situations[cells[0]] ?? [],
                exists: account == "juliet")
            #expect(outcome == expected, "\(name) in: \(row)")
        }
    }

    private func outcome(
        of stanza: String, _ resources: [(resource: String, priority: Int?)], exists: Bool
    ) async throws -> String {
        var outcome = ""
        try await withServer(domains: [TestServer.domain, "montague.example"]) { server in
            if exists { try await server.addAccount("juliet") }
            var clients: [(String, TestClient)] = []
            for (resource, priority) in resources {
                let client = try await server.login("juliet@capulet.example/\(resource)")
                if let priority { try await client.announce(priority: priority) }
                clients.append((resource, client))
            }
            for (_, client) in clients { _ = try await client.pending() }
            let romeo = try await server.login("romeo@montague.example/orchard")
            await romeo.send(stanza)
            let answers = try await romeo.pending()
            #expect(answers.count <= 1)
            for answer in answers {
                #expect(answer.condition == "service-unavailable")
                #expect(answer["type"] == "error")
                outcome += "E"
            }
            for (resource, client) in clients {
                let elements = try await client.pending()
                #expect(elements.count <= 1)
                for element in elements {
                    #expect(element["from"] == "romeo@montague.example/orchard")
                    outcome += resource
                }
            }
            if server.metric("kinglet_offline_messages") == 1 { outcome += "O" }
        }
        return outcome.isEmpty ? "-" : outcome
    }
}
