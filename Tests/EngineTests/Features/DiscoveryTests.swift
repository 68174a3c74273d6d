// Service discovery (XEP-0030), ping (XEP-0199), software version (XEP-0092), and the session of
// RFC 3921.

import Addresses
import Engine
import Features
import Testing
import XML
import XMPP

@Suite struct DiscoveryTests {
    private static let info = "http://jabber.org/protocol/disco#info"
    private static let items = "http://jabber.org/protocol/disco#items"

    @Test("The server says what it is and what it can (XEP-0030 section 3)")
    func serverInfo() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            let answer = try await client.request(
                "get", "<query xmlns='\(Self.info)'/>", to: "capulet.example")
            #expect(answer["from"] == "capulet.example")
            let query = try #require(answer.child("query", Self.info))
            let identity = try #require(query.child("identity"))
            #expect(identity["category"] == "server")
            #expect(identity["type"] == "im")
            let features = query.elements.filter { $0.name == "feature" }.compactMap { $0["var"] }
            #expect(features == features.sorted())
            #expect(
                Set(features).isSuperset(of: [
                    Self.info, Self.items, "urn:xmpp:ping", "jabber:iq:version", "msgoffline",
                ]))
        }
    }

    @Test("An account is described to its owner and to who may see it (XEP-0030 section 8)")
    func accountInfo() async throws {
        try await withServer { server in
            let juliet = try await server.online("juliet@capulet.example/balcony")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let query = "<query xmlns='\(Self.info)'/>"
            let own = try await juliet.request("get", query)
            let identity = own.child("query", Self.info)?.child("identity")
            #expect(identity?["category"] == "account")
            for address in ["juliet@capulet.example", "nobody@capulet.example"] {
                let refused = try await romeo.request("get", query, to: address)
                #expect(refused.condition == "service-unavailable", "the same for both")
            }
            try await befriend(romeo, juliet)
            let seen = try await romeo.request("get", query, to: "juliet@capulet.example")
            #expect(seen["type"] == "result")
        }
    }

    @Test("There are no items, and no nodes (XEP-0030 sections 3.2 and 4)")
    func itemsAndNodes() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            let items = try await client.request(
                "get", "<query xmlns='\(Self.items)'/>", to: "capulet.example")
            #expect(items.child("query", Self.items)?.elements == [])
            for namespace in [Self.info, Self.items] {
                let node = try await client.request(
                    "get", "<query xmlns='\(namespace)' node='x'/>", to: "capulet.example")
                #expect(node.condition == "item-not-found")
                let set = try await client.request(
                    "set", "<query xmlns='\(namespace)'/>", to: "capulet.example")
                #expect(set.condition == "not-allowed")
            }
        }
    }

    @Test("Pings are answered by server and own account (XEP-0199 section 4.2)")
    func ping() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            let ping = "<ping xmlns='urn:xmpp:ping'/>"
            for to in [nil, "capulet.example", "juliet@capulet.example"] {
                let answer = try await client.request("get", ping, to: to)
                #expect(answer["type"] == "result")
                #expect(answer["from"] == to)
                #expect(answer.elements.isEmpty)
            }
        }
    }

    @Test("A ping does not tell who exists (RFC 6121 section 8.5.1)")
    func pingToOthers() async throws {
        try await withServer { server in
            let juliet = try await server.online("juliet@capulet.example/balcony")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let ping = "<ping xmlns='urn:xmpp:ping'/>"
            for address in ["romeo@capulet.example", "nobody@capulet.example"] {
                let answer = try await juliet.request("get", ping, to: address)
                #expect(answer.condition == "service-unavailable")
            }
            try await befriend(romeo, juliet)
            let answer = try await juliet.request("get", ping, to: "romeo@capulet.example")
            #expect(answer["type"] == "result")
        }
    }

    @Test("The version is told without the operating system (XEP-0092 section 2)")
    func version() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            let answer = try await client.request(
                "get", "<query xmlns='jabber:iq:version'/>", to: "capulet.example")
            let query = try #require(answer.child("query", "jabber:iq:version"))
            #expect(query.elements.map(\.name) == ["name", "version"])
            #expect(query.elements.map(\.text) == [Software.name, Software.version])
            let set = try await client.request(
                "set", "<query xmlns='jabber:iq:version'/>", to: "capulet.example")
            #expect(set.condition == "not-allowed")
        }
    }

    @Test("The session of RFC 3921 is granted to whoever asks (RFC 6121 appendix E)")
    func session() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            for to in [nil, "capulet.example"] {
                let answer = try await client.request(
                    "set", "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>", to: to)
                #expect(answer["type"] == "result")
            }
        }
    }

    @Test("Every feature's specifications are declared once, with a version for each XEP")
    func specifications() {
        let all = AllFeatures.list.flatMap { $0.specifications }
        #expect(Set(all.map(\.number)).count == all.count)
        for specification in all {
            #expect(specification.number.hasPrefix("XEP-") == !specification.version.isEmpty)
        }
    }
}
