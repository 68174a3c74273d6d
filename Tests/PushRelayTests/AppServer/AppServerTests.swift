// The app server at push.<domain>: registrations in three styles, publications of other servers with
// the node's secret.

import Addresses
import Engine
import HTTPClient
import Storage
import Testing
import XML

@testable import PushRelay

@Suite("The app server") struct AppServerTests {
    static let romeo = "romeo@capulet.example"
    static let friend = "friend@montague.example"

    /// What a server publishes.
    static func publish(
        _ node: String, secret: String? = nil, _ options: [(String, String)] = [],
        in place: String = "pubsub", body: String? = "New message"
    ) -> String {
        let pubsub = "http://jabber.org/protocol/pubsub"
        let fields = (secret.map { [("secret", $0)] } ?? []) + options
        let form =
            fields.isEmpty
            ? "" : "<publish-options>\(PlayedPush.options(fields))</publish-options>"
        let text =
            body.map { "<field var='last-message-body'><value>\($0)</value></field>" } ?? ""
        return
            "<pubsub xmlns='\(pubsub)'><publish node='\(node)'><item>"
            + "<notification xmlns='urn:xmpp:push:0'><x xmlns='jabber:x:data' type='form'>"
            + "<field var='FORM_TYPE'><value>urn:xmpp:push:summary</value></field>"
            + "<field var='message-count'><value>3</value></field>\(text)</x></notification>"
            + "</item>\(place == "publish" ? form : "")</publish>"
            + "\(place == "pubsub" ? form : "")</pubsub>"
            + (place == "iq"
                ? form.replacing(
                    "<publish-options>", with: "<publish-options xmlns='\(pubsub)'>") : "")
    }

    static func send(
        _ peer: EstablishedPeer, _ payload: String, from: String = friend
    ) async throws -> Element {
        let id = "p\(UInt32.random(in: 0...(.max)))"
        await peer.send(
            "<iq type='set' id='\(id)' from='\(from)' to='\(PlayedPush.service)'>\(payload)</iq>")
        return try await peer.first { $0.name == "iq" && $0["id"] == id }
    }

    /// Registers somebody elsewhere.
    static func register(
        _ peer: EstablishedPeer, _ command: String = "register-push-fcm",
        _ fields: [(String, String)] = [("token", "token:1"), ("device-id", "d1")]
    ) async throws -> PlayedPush.Node {
        try PlayedPush.node(
            of: try await send(
                peer, PlayedPush.command(command, fields), from: "\(friend)/phone"))
    }

    static func withPeer(
        _ settings: String..., body: (PlayedPush, EstablishedPeer) async throws -> Void
    ) async throws {
        let push = try PlayedPush(settings)
        do {
            try await body(
                push, try await EstablishedPeer(push.server, from: PlayedPush.service))
        } catch {
            await push.server.stop()
            throw error
        }
        await push.server.stop()
    }

    static func body(_ push: PlayedPush) -> String {
        String(decoding: push.transport.pushes.last?.request.body ?? [], as: UTF8.self)
    }

    // MARK: Registrations

    @Test("Registering again gives the same node and secret, and the new token is used")
    func registerAgain() async throws {
        try await withPush { push in
            let phone = try await push.server.online("\(Self.romeo)/phone")
            let first = try await push.enable(phone, token: "token:old")
            let again = try await push.register(phone, token: "token:new")
            #expect(again.node == first.node && again.secret == first.secret)
            let other = try await push.register(phone, token: "token:new", device: "d2")
            #expect(other.node != first.node && other.secret != first.secret)
            let juliet = try await push.server.online("juliet@capulet.example/pc")
            await phone.drop()
            await juliet.send("<message to='\(Self.romeo)' type='chat'><body>Hi</body></message>")
            #expect(await push.pushes() == 1)
            #expect(Self.body(push).contains("token:new"))
        }
    }

    @Test("What is no registration is refused")
    func malformed() async throws {
        try await withPush { push in
            let phone = try await push.server.online("\(Self.romeo)/phone")
            let cases: [(String, [(String, String)], String)] = [
                ("register-push-fcm", [("token", "t")], "bad-request"),
                ("register-push-fcm", [("device-id", "d")], "bad-request"),
                ("register-push-fcm", [("token", "a b"), ("device-id", "d")], "bad-request"),
                ("register-push-apns", [("token", "t"), ("device-id", "d")], "item-not-found"),
                (
                    "register-push-fcm",
                    [("token", String(repeating: "t", count: 3000)), ("device-id", "d")],
                    "bad-request"
                ),
                (
                    "v1-register-push", [("type", "x"), ("node", "n"), ("token", "t")],
                    "bad-request"
                ),
                ("v1-register-push", [("type", "fcm"), ("token", "t")], "bad-request"),
                ("unregister-push-fcm", [("device-id", "unknown")], "item-not-found"),
            ]
            for (command, fields, condition) in cases {
                let answer = try await phone.request(
                    "set", PlayedPush.command(command, fields), to: PlayedPush.service)
                #expect(answer.condition == condition, "\(command) \(fields.map(\.0))")
            }
        }
    }

    @Test("As Monal did it: v1-register-push, and its end")
    func v1() async throws {
        try await Self.withPeer { push, peer in
            let node = try await Self.register(
                peer, "v1-register-push",
                [("type", "fcm"), ("node", "device"), ("token", "token:v1")])
            var answer = try await Self.send(peer, Self.publish(node.node, secret: node.secret))
            #expect(answer["type"] == "result")
            #expect(await push.pushes() == 1)
            #expect(Self.body(push).contains("token:v1"))
            answer = try await Self.send(
                peer,
                PlayedPush.command("v1-unregister-push", [("type", "fcm"), ("node", "device")]),
                from: "\(Self.friend)/phone")
            #expect(answer["type"] == "result")
            answer = try await Self.send(peer, Self.publish(node.node, secret: node.secret))
            #expect(answer.condition == "item-not-found")
            try push.expectBalance()
        }
    }

    // MARK: Publications

    @Test("The options are taken where servers put them", arguments: ["pubsub", "publish", "iq"])
    func places(place: String) async throws {
        try await Self.withPeer { push, peer in
            let node = try await Self.register(peer)
            let answer = try await Self.send(
                peer, Self.publish(node.node, secret: node.secret, in: place))
            #expect(answer["type"] == "result" && answer["from"] == PlayedPush.service)
            #expect(await push.pushes() == 1)
            #expect(Self.body(push).contains("\"3\""), "the number of the publisher")
        }
    }

    @Test("Only the domain that registered publishes, from a bare address, with the secret")
    func forbidden() async throws {
        try await Self.withPeer { push, peer in
            let node = try await Self.register(peer)
            let good = Self.publish(node.node, secret: node.secret)
            var answer = try await Self.send(peer, Self.publish(node.node, secret: "wrong"))
            #expect(answer.condition == "forbidden")
            answer = try await Self.send(peer, Self.publish(node.node))
            #expect(answer.condition == "forbidden")
            answer = try await Self.send(peer, good, from: "\(Self.friend)/phone")
            #expect(answer.condition == "forbidden")
            answer = try await Self.send(peer, Self.publish("unknown", secret: node.secret))
            #expect(answer.condition == "item-not-found")
            let other = try await EstablishedPeer(
                push.server, "other.example", from: PlayedPush.service)
            answer = try await Self.send(other, good, from: "friend@other.example")
            #expect(answer.condition == "forbidden")
            #expect(await push.pushes() == 0)
            answer = try await Self.send(peer, good, from: "montague.example")
            #expect(answer["type"] == "result", "the domain's own")
        }
    }

    @Test("What is no publication is refused")
    func malformedPublish() async throws {
        try await Self.withPeer { push, peer in
            let pubsub = "http://jabber.org/protocol/pubsub"
            let cases: [(String, String)] = [
                ("<pubsub xmlns='\(pubsub)'/>", "feature-not-implemented"),
                ("<pubsub xmlns='\(pubsub)'><publish/></pubsub>", "bad-request"),
                ("<pubsub xmlns='\(pubsub)'><publish node='n'/></pubsub>", "bad-request"),
                (
                    "<pubsub xmlns='\(pubsub)'><publish node='n'><item/></publish></pubsub>",
                    "bad-request"
                ),
                (
                    "<pubsub xmlns='\(pubsub)'><create node='n'/></pubsub>",
                    "feature-not-implemented"
                ),
            ]
            for (payload, condition) in cases {
                let answer = try await Self.send(peer, payload)
                #expect(answer.condition == condition, "\(payload)")
            }
            _ = push
        }
    }

    @Test("A node that is a token needs no registration; pushModule names the app")
    func tokenNode() async throws {
        try await Self.withPeer { push, peer in
            var answer = try await Self.send(
                peer, Self.publish("token:raw", [("pushModule", "unknown")]))
            #expect(answer.condition == "item-not-found")
            answer = try await Self.send(
                peer, Self.publish("token:raw", [("pushModule", "chat")]))
            #expect(answer["type"] == "result")
            #expect(await push.pushes() == 1)
            #expect(Self.body(push).contains("token:raw"))
            answer = try await Self.send(peer, Self.publish("token:other"))
            #expect(answer["type"] == "result", "the default app")
            #expect(await push.pushes() == 2)
        }
    }

    @Test("After an invalid token the next publication hears item-not-found")
    func invalidToken() async throws {
        try await Self.withPeer { push, peer in
            let node = try await Self.register(peer)
            let gone = HTTPResponse(
                status: 404, headers: [],
                body: Array(FCMTests.error("NOT_FOUND", FCMTests.code("UNREGISTERED")).utf8))
            push.transport.answer(gone)
            var answer = try await Self.send(peer, Self.publish(node.node, secret: node.secret))
            #expect(answer["type"] == "result", "it is in the queue")
            #expect(await push.pushes() == 1)
            answer = try await Self.send(peer, Self.publish(node.node, secret: node.secret))
            #expect(answer.condition == "item-not-found")
            // A node that is a token stays gone, too: no loop of registrations.
            push.transport.answer(gone)
            _ = try await Self.send(peer, Self.publish("token:raw"))
            await push.settle()
            answer = try await Self.send(peer, Self.publish("token:raw"))
            #expect(answer.condition == "item-not-found")
            #expect(await push.pushes() == 2)
            // A day later it may have come back, also for another app of the same node.
            _ = try push.server.host.database.writeNow {
                try $0.execute("UPDATE push_targets SET disabled = disabled - 86402")
            }
            answer = try await Self.send(peer, Self.publish("token:raw", [("pushModule", "chat")]))
            #expect(answer["type"] == "result")
            #expect(await push.pushes() == 3)
            // Registering anew is always possible.
            let again = try await Self.register(
                peer, "register-push-fcm", [("token", "token:2"), ("device-id", "d1")])
            #expect(again.node == node.node)
            answer = try await Self.send(peer, Self.publish(node.node, secret: node.secret))
            #expect(answer["type"] == "result")
            try push.expectBalance()
        }
    }

    // MARK: For users of this server

    @Test("A user of this server enables a node with its secret, and no one else's")
    func ownService() async throws {
        try await withPush { push in
            let phone = try await push.server.online("\(Self.romeo)/phone")
            let node = try await push.register(phone)
            func enable(_ client: TestClient, _ node: String, _ fields: [(String, String)])
                async throws -> String?
            {
                try await client.request(
                    "set", PlayedPush.enable(node, PlayedPush.options(fields))
                ).condition
            }
            #expect(try await enable(phone, node.node, [("secret", "wrong")]) == "forbidden")
            #expect(try await enable(phone, node.node, []) == "forbidden")
            #expect(
                try await enable(phone, "two words", [("secret", "x")]) == "item-not-found")
            #expect(try push.targets(of: Self.romeo).isEmpty)
            #expect(try await enable(phone, node.node, [("secret", node.secret)]) == nil)
            // A node that is a token, as with fpush.
            #expect(try await enable(phone, "token:raw", [("pushModule", "chat")]) == nil)
            let juliet = try await push.server.online("juliet@capulet.example/pc")
            await phone.drop()
            await juliet.send("<message to='\(Self.romeo)' type='chat'><body>Hi</body></message>")
            #expect(await push.pushes() == 2)
            try push.expectBalance()
        }
    }

    @Test("After the registration's end nothing is sent any more, and the owner can see why")
    func unregistered() async throws {
        try await withPush { push in
            let phone = try await push.server.online("\(Self.romeo)/phone")
            try await push.enable(phone)
            let answer = try await phone.request(
                "set", PlayedPush.command("unregister-push-fcm", [("device-id", "d1")]),
                to: PlayedPush.service)
            #expect(answer["type"] == "result")
            let juliet = try await push.server.online("juliet@capulet.example/pc")
            await phone.drop()
            await juliet.send("<message to='\(Self.romeo)' type='chat'><body>Hi</body></message>")
            #expect(await push.pushes() == 0)
            let target = try #require(try push.targets(of: Self.romeo).first)
            #expect(target.disabledAt != nil && target.code == "item-not-found")
            try push.expectBalance()
        }
    }
}
