import Options
import Testing

@testable import Engine

@Suite("With whom the server federates")
struct FederationPolicyTests {
    private func allowed(
        _ settings: [String], _ domain: String, _ direction: FederationDirection = .outgoing
    ) throws -> Bool {
        let server = try TestServer(settings)
        return server.host.federation.policy.allows(domain, direction)
    }

    @Test(
        "Without a word in the configuration: with the app servers that wake phones alone",
        arguments: [
            ("p2.siacs.eu", true), ("eu.prod.push.monal-im.org", true),
            ("push.monal-im.org", false), ("push.tigase.im", true), ("push.snikket.net", true),
            ("push-ios.snikket.net", true), ("montague.example", false),
            ("evil-p2.siacs.eu", false),
        ])
    func defaults(domain: String, isAllowed: Bool) throws {
        #expect(try allowed([], domain) == isAllowed)
        #expect(try allowed([], domain, .incoming) == isAllowed)
    }

    @Test("The lists and the policy, deny before allow")
    func lists() throws {
        #expect(try !allowed(["federation.policy=off"], "p2.siacs.eu"))
        #expect(try allowed(["federation.policy=open"], "montague.example"))
        let denied = ["federation.policy=open", "federation.deny=[montague.example]"]
        #expect(try !allowed(denied, "montague.example"))
        #expect(try allowed(denied, "rooms.montague.example"))
        let below = ["federation.allow=[\"*.montague.example\"]"]
        #expect(try allowed(below, "rooms.montague.example"))
        #expect(try !allowed(below, "montague.example"))
        #expect(try !allowed(below, "p2.siacs.eu"), "a list of one's own replaces the default")
        let both = [
            "federation.allow=[montague.example]", "federation.deny=[\"*.example\"]",
        ]
        #expect(try !allowed(both, "montague.example"))
    }

    @Test("The nearest of those above a domain decides, and only whole labels count")
    func table() throws {
        var table = DomainTable(["a.example", "*.b.example", "*.example"])
        #expect(table.first("a.example") != nil && table.first("x.y.b.example") != nil)
        #expect(table.first("example") == nil && table.first("") == nil)
        #expect(table.first("b.other") == nil && table.first("badexample") == nil)
        table[try #require(DomainPattern("*.y.b.example"))] = false
        table[try #require(DomainPattern("y.b.example"))] = true
        #expect(table.first("x.y.b.example") == false && table.first("y.b.example") == true)
        #expect(table.first("z.b.example") == true)
    }

    @Test("A list that is changed while the server runs counts at once")
    func changed() throws {
        var document = ConfigurationDocument.empty
        try document.override("federation.allow=[a.example]")
        let options = OptionSet(document)
        let policy = FederationPolicy(FederationOptions(options))
        try options.finish()
        #expect(policy.allows("a.example", .outgoing) && !policy.allows("b.example", .outgoing))
        try document.override("federation.allow=['*.example']")
        try document.override("federation.deny=[a.example]")
        _ = try options.reload(document)
        #expect(!policy.allows("a.example", .outgoing) && policy.allows("b.example", .outgoing))
        try document.override("federation.policy=off")
        _ = try options.reload(document)
        #expect(!policy.allows("b.example", .outgoing))
    }

    @Test("A stream of several domains takes stanzas to one of them, and is judged by that one")
    func oneOfSeveral() throws {
        let server = try TestServer(["federation.policy=open"])
        let policy = server.host.federation.policy
        let stream = ServerStreamDescription(
            direction: .incoming, local: TestServer.domain,
            remotes: ["verona.example", "z.example"], since: 0, returning: "verona.example")
        func deny(_ domain: String, _ direction: FederationDirection) throws {
            let pattern = try #require(DomainPattern(domain))
            policy.replace([
                FederationRule(pattern: pattern, direction: direction, isAllowed: false)
            ])
        }
        #expect(stream.isBidirectional && !stream.isForbidden(by: policy))
        try deny("z.example", .outgoing)
        #expect(!stream.isForbidden(by: policy), "nothing goes there on it")
        try deny("verona.example", .outgoing)
        #expect(stream.isForbidden(by: policy))
        try deny("z.example", .incoming)
        #expect(stream.isForbidden(by: policy))
    }
}
