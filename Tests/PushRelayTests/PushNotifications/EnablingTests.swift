// XEP-0357 sections 5 and 6: a client says where it can be woken, and that it is not to be any more.

import Testing
import XML

@testable import PushRelay

@Suite("Enabling and disabling push") struct EnablingTests {
    static let romeo = "romeo@capulet.example"
    static let peer = "push.montague.example"

    @Test("The feature is announced at the account")
    func discovery() async throws {
        try await withPush { push in
            let client = try await push.server.online("\(Self.romeo)/phone")
            let info = try await client.request(
                "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>", to: Self.romeo)
            let features = info.elements.first?.elements.compactMap { $0["var"] } ?? []
            #expect(features.contains("urn:xmpp:push:0"))
            let service = try await client.request(
                "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>",
                to: PlayedPush.service)
            let identity = service.elements.first?.elements.first { $0.name == "identity" }
            #expect(identity?["category"] == "pubsub" && identity?["type"] == "push")
        }
    }

    @Test("What is no enable or disable is refused")
    func malformed() async throws {
        try await withPush { push in
            let client = try await push.server.online("\(Self.romeo)/phone")
            let large = PlayedPush.options([("secret", String(repeating: "x", count: 5000))])
            let cases: [(String, String, String)] = [
                ("set", PlayedPush.enable(nil, at: Self.peer), "bad-request"),
                ("set", PlayedPush.enable("n", at: nil), "bad-request"),
                ("set", PlayedPush.enable("", at: Self.peer), "bad-request"),
                ("set", PlayedPush.enable("n", at: "@"), "bad-request"),
                ("set", PlayedPush.enable("n", at: Self.romeo), "not-acceptable"),
                ("set", PlayedPush.enable("n", at: Self.peer, large), "not-acceptable"),
                (
                    "set", PlayedPush.enable(String(repeating: "n", count: 1024), at: Self.peer),
                    "bad-request"
                ),
                ("get", PlayedPush.enable("n", at: Self.peer), "bad-request"),
                ("set", "<disable xmlns='urn:xmpp:push:0'/>", "bad-request"),
                ("get", PlayedPush.disable(at: Self.peer), "bad-request"),
            ]
            for (type, payload, condition) in cases {
                let answer = try await client.request(type, payload)
                #expect(answer.condition == condition, "\(payload.prefix(80))")
            }
            #expect(try push.targets(of: Self.romeo).isEmpty)
            let other = try await client.request(
                "set", PlayedPush.enable("n", at: Self.peer), to: "juliet@capulet.example")
            #expect(other["type"] == "error", "only one's own")
        }
    }

    @Test("The same service and node again replaces the options; a disable ends one or all")
    func replace() async throws {
        try await withPush { push in
            let client = try await push.server.online("\(Self.romeo)/phone")
            for (node, secret) in [("a", "1"), ("b", "1"), ("a", "2")] {
                let answer = try await client.request(
                    "set",
                    PlayedPush.enable(
                        node, at: Self.peer, PlayedPush.options([("secret", secret)])))
                #expect(answer["type"] == "result")
            }
            let keys = try #require(push.push.state.keys)
            let (a, b) = (keys.nodeName("a"), keys.nodeName("b"))
            let targets = try push.targets(of: Self.romeo)
            #expect(targets.map(\.node) == [a, b])
            let options = keys.target(targets[0].secret)?.parameters["options"] ?? ""
            #expect(options.contains(">2<") && !options.contains(">1<"))
            var answer = try await client.request("set", PlayedPush.disable("b", at: Self.peer))
            #expect(answer["type"] == "result")
            #expect(try push.targets(of: Self.romeo).map(\.node) == [a])
            answer = try await client.request("set", PlayedPush.disable(at: "other.example"))
            #expect(answer["type"] == "result")
            #expect(try push.targets(of: Self.romeo).map(\.node) == [a])
            answer = try await client.request("set", PlayedPush.disable(at: Self.peer))
            #expect(answer["type"] == "result")
            #expect(try push.targets(of: Self.romeo).isEmpty)
        }
    }

    @Test("An account has so many and no more")
    func limit() async throws {
        try await withPush("limits.push_targets=2") { push in
            let client = try await push.server.online("\(Self.romeo)/phone")
            var answers: [String?] = []
            for node in ["a", "b", "c", "a"] {
                let answer = try await client.request(
                    "set", PlayedPush.enable(node, at: Self.peer))
                answers.append(answer.condition)
            }
            #expect(answers == [nil, nil, "resource-constraint", nil])
        }
    }
}
