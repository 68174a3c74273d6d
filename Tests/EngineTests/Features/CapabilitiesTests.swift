// Entity capabilities of the server (XEP-0115) and its contact addresses (XEP-0157).

import Engine
import Features
import Options
import Prometheus
import SASL
import TLS
import Testing
import XML
import XMPP

@Suite struct CapabilitiesTests {
    private static let caps = "http://jabber.org/protocol/caps"
    private static let info = DiscoveryInfo.namespace

    private func features(_ server: TestServer) async throws -> Element {
        try await server.addAccount("mercutio")
        let client = try await server.connect()
        try await client.open()
        #expect(try await client.plain("mercutio").name == "success")
        return try await client.open()
    }

    /// Computes the hash from the answer as it came, by section 5.1.
    private func version(_ query: Element) -> String {
        var text = ""
        for identity in query.elements where identity.name == "identity" {
            text += "\(identity["category"] ?? "")/\(identity["type"] ?? "")//"
            text += "\(identity["name"] ?? "")<"
        }
        for feature in query.elements.filter({ $0.name == "feature" }).compactMap({ $0["var"] })
            .sorted()
        {
            text += "\(feature)<"
        }
        for form in query.elements.compactMap({ DataForm($0) }) {
            text += "\(form.formType ?? "")<"
            for field in form.fields.sorted(by: { $0.name < $1.name })
            where field.name != "FORM_TYPE" {
                text += ([field.name] + field.values.sorted()).map { $0 + "<" }.joined()
            }
        }
        return Base64.encode(DigestAlgorithm.sha1.hash(Array(text.utf8)))
    }

    @Test(
        "The hash in the stream features is the one of the answer (XEP-0115 sections 5.1 and 6.3)",
        arguments: [
            [],
            [
                "features.contact.security=[https://b.example/,mailto:a@example.org]",
                "features.contact.abuse=mailto:abuse@example.org",
            ],
        ])
    func verification(settings: [String]) async throws {
        let server = try TestServer(settings)
        let c = try #require(try await features(server).child("c", Self.caps))
        #expect(c["hash"] == "sha-1")
        let node = "\(try #require(c["node"]))#\(try #require(c["ver"]))"
        let client = try await server.login("juliet@capulet.example/balcony")
        for asked in [nil, node] {
            let answer = try await client.request(
                "get", "<query xmlns='\(Self.info)'\(asked.map { " node='\($0)'" } ?? "")/>",
                to: "capulet.example")
            let query = try #require(answer.child("query", Self.info))
            #expect(query["node"] == asked)
            #expect(version(query) == c["ver"])
            #expect(query.elements.contains { $0["var"] == Self.caps }, "section 6.4")
            #expect(query.elements.contains { $0.name == "x" } == !settings.isEmpty)
        }
        await server.stop()
    }

    @Test("The specification's example has its hash (XEP-0115 section 5.2)")
    func example() {
        var info = DiscoveryInfo()
        info.identities = [.init(category: "client", type: "pc", name: "Exodus 0.9.1")]
        info.features = ["caps", "disco#info", "disco#items", "muc"]
            .reduce(into: []) { $0.insert("http://jabber.org/protocol/\($1)") }
        let hash = DigestAlgorithm.sha1.hash(Array(info.verificationText.utf8))
        #expect(Base64.encode(hash) == "QgayPKawpkPSDYmwT/WM94uAlu0=")
    }

    @Test("Another node is not found, and accounts have none (XEP-0115 section 6.2)")
    func otherNodes() async throws {
        try await withServer { server in
            let c = try #require(try await features(server).child("c", Self.caps))
            let node = "\(try #require(c["node"]))#\(try #require(c["ver"]))"
            let client = try await server.login("juliet@capulet.example/balcony")
            for (node, to) in [
                (node, "juliet@capulet.example"), (node + "x", "capulet.example"),
                ("", "capulet.example"),
            ] {
                let answer = try await client.request(
                    "get", "<query xmlns='\(Self.info)' node='\(node)'/>", to: to)
                #expect(answer.condition == "item-not-found", "\(node) at \(to)")
            }
        }
    }

    @Test("Nobody learns what the server can before the login")
    func beforeLogin() async throws {
        try await withServer { server in
            let features = try await server.connect().open()
            #expect(features.child("c", Self.caps) == nil)
        }
    }

    @Test("Contact addresses stand in a registered form (XEP-0157 sections 3 and 7.1)")
    func contacts() async throws {
        try await withServer(
            "features.contact.admin=[mailto:xmpp@example.org,xmpp:admin@example.org]",
            "features.contact.status=https://status.example.org"
        ) { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            let answer = try await client.request(
                "get", "<query xmlns='\(Self.info)'/>", to: "capulet.example")
            let forms = answer.child("query", Self.info)?.elements.compactMap { DataForm($0) }
            #expect(
                forms == [
                    DataForm(
                        .result, formType: "http://jabber.org/network/serverinfo",
                        [
                            .init(
                                "admin-addresses", type: "list-multi",
                                ["mailto:xmpp@example.org", "xmpp:admin@example.org"]),
                            .init(
                                "status-addresses", type: "list-multi",
                                ["https://status.example.org"]),
                        ])
                ])
            let own = try await client.request("get", "<query xmlns='\(Self.info)'/>")
            #expect(own.child("query", Self.info)?.child("x", DataForm.namespace) == nil)
        }
    }

    @Test(
        "An address has to be a URI (XEP-0157 section 3)",
        arguments: [
            "admin@example.org", "mailto:", "mailto:a b@example.org", ":a", "1a:b", "a<b:c",
            "https://example.org/<x>", "xmpp:a\\\"b",
        ])
    func noURI(address: String) throws {
        var document = ConfigurationDocument.empty
        try document.override("features.contact.admin=\"\(address)\"")
        let options = OptionSet(document)
        let builder = HostBuilder(options: options, registry: Registry(cells: 1))
        for feature in AllFeatures.list { builder.add(feature) }
        let errors = try #require(throws: ConfigurationErrors.self) { try options.finish() }
        #expect("\(errors)".contains("expected a URI"), "\(errors)")
    }
}
