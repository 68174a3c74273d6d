import Dispatch
import Testing
import XML
import XMPP

@Suite("XEP-0198: acknowledgements")
struct StreamManagementTests {
    private static let namespace = "urn:xmpp:sm:3"

    private func enabled(_ server: TestServer, _ address: String) async throws -> TestClient {
        let client = try await server.login(address)
        await client.send("<enable xmlns='\(Self.namespace)'/>")
        #expect(try await client.next().name == "enabled")
        return client
    }

    private func handled(_ client: TestClient) async throws -> String? {
        await client.send("<r xmlns='\(Self.namespace)'/>")
        return try await client.first { $0.name == "a" }["h"]
    }

    @Test("It is offered when a resource can be bound, not before (section 3)")
    func offered() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            #expect(try await client.open().child("sm", Self.namespace) == nil)
            _ = try await client.scram(SCRAMClient(username: "juliet"))
            #expect(try await client.open().child("sm", Self.namespace) != nil)
        }
    }

    @Test("Without a wish for resumption, and without time for it, there is none (section 3)")
    func enabling() async throws {
        for (setting, wish) in [
            ("limits.hibernation=600s", ""), ("limits.hibernation=0s", "resume='true'"),
        ] {
            try await withServer(setting) { server in
                let client = try await server.login("juliet@capulet.example/balcony")
                await client.send("<enable xmlns='\(Self.namespace)' \(wish)/>")
                let answer = try await client.next()
                #expect(answer.name == "enabled" && answer.namespace == Self.namespace)
                #expect(answer["resume"] == nil && answer["id"] == nil)
            }
        }
    }

    @Test(
        "What comes at the wrong time fails and the stream goes on (sections 3 and 5)",
        arguments: [
            ("<enable xmlns='urn:xmpp:sm:3'/>", true, "unexpected-request"),
            ("<r xmlns='urn:xmpp:sm:3'/>", false, "unexpected-request"),
            ("<a xmlns='urn:xmpp:sm:3' h='0'/>", false, "unexpected-request"),
            (
                "<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>", false,
                "unexpected-request"
            ),
        ])
    func failed(_ text: String, _ isEnabled: Bool, _ condition: String) async throws {
        try await withServer { server in
            let address = "juliet@capulet.example/balcony"
            let client =
                isEnabled ? try await enabled(server, address) : try await server.login(address)
            await client.send(text)
            let answer = try await client.next()
            #expect(answer.name == "failed" && answer.namespace == Self.namespace)
            #expect(answer.elements.first?.name == condition)
            #expect(try await client.pending().isEmpty)
        }
    }

    @Test("Before a resource is bound it cannot be enabled, and the client may go on (section 3)")
    func tooEarly() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            _ = try await client.scram(SCRAMClient(username: "juliet"))
            try await client.open()
            await client.send("<enable xmlns='\(Self.namespace)'/>")
            #expect(try await client.next().elements.first?.name == "unexpected-request")
            #expect(try await client.bind("balcony")["type"] == "result")
        }
    }

    @Test("Every stanza counts from <enable/> on, whatever becomes of it (section 4)")
    func counting() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            try await client.getRoster()
            await client.send("<enable xmlns='\(Self.namespace)'/>")
            #expect(try await handled(client) == "0")
            await client.send(
                "<presence/><message to='@@'/><message to='nobody@capulet.example' type='chat'/>"
                    + "<iq type='get' id='1'><unknown xmlns='urn:example'/></iq>")
            await server.settle()
            #expect(try await handled(client) == "4")
        }
    }

    @Test("A message for one who is away counts once it is stored, and the client hears of it")
    func committed() async throws {
        try await withServer { server in
            try await server.addAccount("romeo")
            let client = try await enabled(server, "juliet@capulet.example/balcony")
            let gate = await server.holdWriter()
            await client.send(
                "<message to='capulet.example' type='headline'/>"
                    + "<message to='romeo@capulet.example'><body>1</body></message>"
                    + "<message to='romeo@capulet.example'><body>2</body></message>"
                    + "<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>")
            #expect(try await handled(client) == "1", "at once, for what is committed")
            gate.signal()
            let answer = try await client.first { $0.name == "a" }
            #expect(answer["h"] == "4")
            #expect(try await client.pending().isEmpty, "one further answer")
        }
    }

    @Test("A roster change and a request for a subscription count once they are stored")
    func rosters() async throws {
        try await withServer { server in
            try await server.addAccount("romeo")
            let client = try await enabled(server, "juliet@capulet.example/balcony")
            let gate = await server.holdWriter()
            await client.send(
                "<iq type='set' id='1'><query xmlns='jabber:iq:roster'>"
                    + "<item jid='nurse@capulet.example'/></query></iq>")
            #expect(try await handled(client) == "0")
            await client.send("<presence type='subscribe' to='romeo@capulet.example'/>")
            #expect(try await handled(client) == "0")
            gate.signal()
            let answer = try await client.first { $0.name == "a" && $0["h"] == "2" }
            #expect(answer.namespace == Self.namespace)
        }
    }

    @Test("What the disk refused was answered with an error, and counts")
    func refused() async throws {
        try await withServer { server in
            try await server.addAccount("romeo")
            let client = try await enabled(server, "juliet@capulet.example/balcony")
            try server.refuse("INSERT", on: "offline_messages")
            await client.send("<message to='romeo@capulet.example'><body>1</body></message>")
            #expect(try await client.next().condition != nil)
            await server.settle()
            #expect(try await handled(client) == "1")
        }
    }

    @Test("A client that acknowledges more than it got is wrong (section 4)")
    func tooHigh() async throws {
        try await withServer { server in
            let client = try await enabled(server, "juliet@capulet.example/balcony")
            await client.send("<a xmlns='\(Self.namespace)' h='0'/>")
            #expect(try await client.pending().isEmpty)
            await client.send("<a xmlns='\(Self.namespace)' h='1'/>")
            #expect(try await client.pending().isEmpty, "the answer to the ping above")
            await client.send("<a xmlns='\(Self.namespace)' h='7'/>")
            let error = try await client.next()
            #expect(error.elements.first?.name == "undefined-condition")
            let detail = try #require(error.child("handled-count-too-high", Self.namespace))
            #expect(detail["h"] == "7" && detail["send-count"] == "2")
            try await client.expectEnd()
        }
    }

    @Test("An answer without a number is an error (section 4)", arguments: ["", "h='-1'", "h='x'"])
    func malformed(_ attribute: String) async throws {
        try await withServer { server in
            let client = try await enabled(server, "juliet@capulet.example/balcony")
            await client.send("<a xmlns='\(Self.namespace)' \(attribute)/>")
            try await client.expectStreamError(.badFormat)
        }
    }

    @Test("A client that does not read is answered when it does, once")
    func congested() async throws {
        try await withServer { server in
            let client = try await enabled(server, "juliet@capulet.example/balcony")
            await client.setWritable(false)
            for _ in 0..<10 { await client.send("<r xmlns='\(Self.namespace)'/>") }
            #expect(client.hasNothing)
            await client.setWritable(true)
            #expect(try await client.next()["h"] == "0")
            #expect(try await client.pending().isEmpty)
        }
    }
}
