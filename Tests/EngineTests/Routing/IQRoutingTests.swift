// Requests and answers by the rules of RFC 6120 section 10 and RFC 6121 section 8.5.

import Addresses
import Engine
import Testing
import XML
import XMPP

@Suite struct IQRoutingTests {
    @Test("A request to a full address reaches that client, and its answer comes back (8.5.3.1)")
    func fullAddress() async throws {
        try await withServer(loops: 2) { server in
            let juliet = try await server.login("juliet@capulet.example/balcony", loop: 0)
            let romeo = try await server.login("romeo@capulet.example/orchard", loop: 1)
            await romeo.send(
                "<iq type='get' id='1' to='juliet@capulet.example/balcony'><q xmlns='urn:q'/></iq>")
            let request = try await juliet.next()
            #expect(request["from"] == "romeo@capulet.example/orchard")
            #expect(request.child("q", "urn:q") != nil)
            await juliet.send("<iq type='result' id='1' to='romeo@capulet.example/orchard'/>")
            let answer = try await romeo.next()
            #expect(answer["type"] == "result")
            #expect(answer["from"] == "juliet@capulet.example/balcony")
        }
    }

    @Test(
        "A request that nobody answers is refused (RFC 6120 section 10.3.3, RFC 6121 section 8.5)",
        arguments: [
            ("capulet.example", "service-unavailable"),
            ("capulet.example/resource", "service-unavailable"),
            ("juliet@capulet.example", "service-unavailable"),
            ("romeo@capulet.example", "service-unavailable"),
            ("romeo@capulet.example/gone", "service-unavailable"),
            ("nobody@capulet.example", "service-unavailable"),
            ("nobody@capulet.example/x", "service-unavailable"),
            ("montague.example", "remote-server-not-found"),
        ], ["get", "set"])
    func unanswered(target: (String, String), type: String) async throws {
        try await withServer { server in
            _ = try await server.online("romeo@capulet.example/orchard")
            let client = try await server.login("juliet@capulet.example/balcony")
            let answer = try await client.request(type, "<q xmlns='urn:unknown'/>", to: target.0)
            #expect(answer["type"] == "error")
            #expect(answer.condition == target.1)
            #expect(answer["from"] == target.0)
        }
    }

    @Test("A request to nobody is answered by the account, and says so (RFC 6120 section 10.3.3)")
    func withoutReceiver() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            let answer = try await client.request("get", "<q xmlns='urn:unknown'/>")
            #expect(answer.condition == "service-unavailable")
            #expect(answer["from"] == "juliet@capulet.example")
        }
    }

    @Test(
        "A request that breaks the rules is a bad request (RFC 6120 section 8.2.3)",
        arguments: [
            "<iq id='1' type='get'/>", "<iq id='1'><q xmlns='urn:q'/></iq>",
            "<iq id='1' type='ask'><q xmlns='urn:q'/></iq>",
            "<iq id='1' type='get'><q xmlns='urn:q'/><q xmlns='urn:q'/></iq>",
            "<iq type='get'><q xmlns='urn:q'/></iq>",
        ])
    func badRequests(xml: String) async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            await client.send(xml)
            #expect(try await client.next().condition == "bad-request")
        }
    }

    @Test(
        "Answers are never answered (RFC 6120 section 8.3.1)",
        arguments: ["result", "error"],
        [
            "", "to='capulet.example'", "to='romeo@capulet.example'",
            "to='romeo@capulet.example/gone'", "to='nobody@capulet.example'",
            "to='montague.example'", "to='capulet.example/x'",
        ])
    func answers(type: String, to: String) async throws {
        try await withServer { server in
            try await server.addAccount("romeo")
            let client = try await server.login("juliet@capulet.example/balcony")
            await client.send("<iq type='\(type)' id='1' \(to)/>")
            #expect(try await client.pending().isEmpty)
        }
    }
}
