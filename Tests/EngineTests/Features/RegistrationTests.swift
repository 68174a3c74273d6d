// In-band registration (XEP-0077): new accounts, a new password, and leaving.

import Addresses
import Engine
import Testing
import XML
import XMPP

private let namespace = "jabber:iq:register"

private func fields(_ user: String, _ password: String) -> String {
    "<query xmlns='\(namespace)'><username>\(user)</username><password>\(password)</password>"
        + "</query>"
}

@Suite struct RegistrationTests {
    private func offers(_ features: Element) -> Bool {
        features.child("register", "http://jabber.org/features/iq-register") != nil
    }

    @Test("Registration is closed by default, and says so (XEP-0077 section 3.1)")
    func closed() async throws {
        try await withServer { server in
            let client = try await server.connect()
            #expect(try await !offers(client.open()))
            let answer = try await client.request("get", "<query xmlns='\(namespace)'/>")
            #expect(answer.condition == "not-allowed")
            let set = try await client.request("set", fields("mercutio", "q33n m4b"))
            #expect(set.condition == "not-allowed")
            #expect(server.refusals(.registrationClosed) == 2)
            #expect(try await client.plain("mercutio", "q33n m4b").condition == "not-authorized")
        }
    }

    @Test("Open registration makes an account that can log in at once (XEP-0077 section 3.1)")
    func open() async throws {
        try await withServer("registration.policy=open") { server in
            let client = try await server.connect()
            #expect(try await offers(client.open()))
            let form = try await client.request("get", "<query xmlns='\(namespace)'/>")
            let names = form.child("query", namespace)?.elements.map(\.name)
            #expect(names == ["instructions", "username", "password"])
            let answer = try await client.request("set", fields("Mercutio", "q33n m4b"))
            #expect(answer["type"] == "result")
            #expect(try await client.plain("mercutio", "q33n m4b").name == "success")
            #expect(try await !offers(client.open()), "not after the login")
        }
    }

    @Test("Without TLS, where that is required, nobody registers")
    func needsTLS() async throws {
        try await withServer("registration.policy=open") { server in
            let client = try await server.connect(offersTLS: true, allowsPlaintext: false)
            #expect(try await !offers(client.open()))
            await client.send("<iq type='set' id='1'>\(fields("mercutio", "q33n m4b"))</iq>")
            try await client.expectStreamError(.notAuthorized)
        }
    }

    @Test("A name that is taken stays with its owner (XEP-0077 section 3.1)")
    func conflict() async throws {
        try await withServer("registration.policy=open") { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            let answer = try await client.request("set", fields("JULIET", "stolen password"))
            #expect(answer.condition == "conflict")
            #expect(
                try await client.plain("juliet", "stolen password").condition == "not-authorized")
            #expect(try await client.plain("juliet").name == "success")
        }
    }

    @Test(
        "A bad name or password makes no account",
        arguments: [
            (fields("", "q33n m4b"), "not-acceptable"),
            (fields("two words", "q33n m4b"), "jid-malformed"),
            (fields("a@b", "q33n m4b"), "jid-malformed"),
            (fields("mercutio", ""), "not-acceptable"),
            (fields("mercutio", "short"), "not-acceptable"),
            (fields("mercutio", "tab&#9;tab tab"), "not-acceptable"),
            ("<query xmlns='\(namespace)'/>", "not-acceptable"),
            ("<query xmlns='\(namespace)'><username>x</username></query>", "not-acceptable"),
        ])
    func badFields(payload: String, condition: String) async throws {
        try await withServer("registration.policy=open") { server in
            let client = try await server.connect()
            try await client.open()
            #expect(try await client.request("set", payload).condition == condition)
            #expect(try server.host.accounts.count() == 0)
        }
    }

    @Test("One address makes so many accounts an hour; loopback is not limited")
    func rate() async throws {
        try await withServer(
            "registration.policy=open", "registration.per_address_per_hour=2"
        ) { server in
            for (address, allowed) in [("192.0.2.1", 2), ("192.0.2.2", 2), ("127.0.0.1", 3)] {
                let client = try await server.connect(from: address)
                try await client.open()
                for number in 0..<3 {
                    let user = "u\(number)-\(address)"
                    let answer = try await client.request("set", fields(user, "password"))
                    #expect(
                        answer.condition == (number < allowed ? nil : "resource-constraint"),
                        "\(user)")
                }
            }
            #expect(server.refusals(.registrationRate) == 2)
        }
    }

    @Test("A user sees the own registration and changes the password (XEP-0077 section 3.3)")
    func changesPassword() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            let form = try await client.request(
                "get", "<query xmlns='\(namespace)'/>", to: "capulet.example")
            let query = try #require(form.child("query", namespace))
            #expect(query.child("registered") != nil)
            #expect(query.child("username")?.text == "juliet")
            #expect(query.child("password")?.text == "")
            let answer = try await client.request(
                "set", fields("juliet", "new passwörd"), to: "capulet.example")
            #expect(answer["type"] == "result")
            let other = try await server.connect()
            try await other.open()
            #expect(try await other.plain("juliet").condition == "not-authorized")
            #expect(try await other.plain("juliet", "new passwörd").name == "success")
        }
    }

    @Test("Nobody changes another's password, or takes a bad one")
    func refusesChange() async throws {
        try await withServer { server in
            try await server.addAccount("romeo")
            let client = try await server.login("juliet@capulet.example/balcony")
            let other = try await client.request("set", fields("romeo", "my password"))
            #expect(other.condition == "not-allowed")
            let short = try await client.request("set", fields("juliet", "short"))
            #expect(short.condition == "not-acceptable")
            let login = try await server.connect()
            try await login.open()
            #expect(try await login.plain("romeo").name == "success")
        }
    }
}

@Suite struct AccountRemovalTests {
    private static let remove = "<query xmlns='\(namespace)'><remove/></query>"

    @Test("Leaving ends all sessions and deletes what was kept (XEP-0077 section 3.2)")
    func removes() async throws {
        try await withServer("registration.policy=open", loops: 2) { server in
            let romeo = try await server.online("romeo@capulet.example/orchard", loop: 0)
            let juliet = try await server.online("juliet@capulet.example/balcony", loop: 0)
            let phone = try await server.login("juliet@capulet.example/phone", loop: 1)
            try await befriend(romeo, juliet)
            await juliet.send("<presence><priority>-1</priority></presence>")
            await romeo.send("<message to='juliet@capulet.example'><body>x</body></message>")
            _ = try await romeo.pending()
            _ = try await juliet.pending()
            #expect(server.metric("kinglet_offline_messages") == 1)

            let answer = try await juliet.request("set", Self.remove)
            #expect(answer["type"] == "result", "before the end")
            try await juliet.expectStreamError(.notAuthorized)
            try await phone.expectStreamError(.notAuthorized)

            let seen = try await romeo.pending()
            #expect(
                seen.contains {
                    $0.isPresence(from: "juliet@capulet.example/balcony", "unavailable")
                })
            #expect(try await romeo.getRoster().first?["subscription"] == "none")
            #expect(server.metric("kinglet_offline_messages") == 0)

            let login = try await server.connect()
            try await login.open()
            #expect(try await login.plain("juliet").condition == "not-authorized")
        }
    }

    @Test("Who takes the address of somebody who left inherits nothing")
    func inheritsNothing() async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let juliet = try await server.online("juliet@capulet.example/balcony")
            try await befriend(romeo, juliet)
            #expect(try await juliet.request("set", Self.remove)["type"] == "result")
            try await juliet.expectStreamError(.notAuthorized)
            _ = try await romeo.pending()
            let impostor = try await server.online("juliet@capulet.example/mask")
            #expect(try await impostor.getRoster().isEmpty)
            await romeo.send("<presence><status>private</status></presence>")
            #expect(try await impostor.pending().isEmpty)
            // Nor from what is stored, once Romeo's roster is read anew.
            await romeo.drop()
            let later = try await server.online("romeo@capulet.example/orchard")
            #expect(try await later.getRoster().first?["subscription"] == "none")
            #expect(try await impostor.pending().isEmpty)
        }
    }

    @Test("<remove/> stands alone (XEP-0077 section 3.2.1)")
    func standsAlone() async throws {
        try await withServer { server in
            let juliet = try await server.login("juliet@capulet.example/balcony")
            let answer = try await juliet.request(
                "set", "<query xmlns='\(namespace)'><remove/><username>x</username></query>")
            #expect(answer.condition == "bad-request")
            #expect(try await juliet.pending().isEmpty)
        }
    }
}
