// XEP-0357 section 7: what another app server gets, and what its answers mean.

import Addresses
import Testing
import XML
import XMPP

@testable import PushRelay

@Suite("Publishing to another app server") struct PublicationTests {
    static let romeo = "romeo@capulet.example"
    static let service = "push.montague.example"

    /// A server, a device that is gone, somebody who writes to it, and the app server.
    static func with(
        _ settings: String...,
        body: (PlayedPush, EstablishedPeer, _ write: (String) async -> Void) async throws -> Void
    ) async throws {
        let push = try PlayedPush(settings)
        do {
            let peer = try await EstablishedPeer(push.server, service)
            let phone = try await push.server.online("\(romeo)/phone")
            let answer = try await phone.request(
                "set",
                PlayedPush.enable("n1", at: service, PlayedPush.options([("secret", "s3")])))
            #expect(answer["type"] == "result")
            await phone.drop()
            let juliet = try await push.server.online("juliet@capulet.example/pc")
            try await body(push, peer) { text in
                await juliet.send(
                    "<message to='\(romeo)' type='chat' id='\(text)'><body>\(text)</body></message>"
                )
                await push.settle()
            }
        } catch {
            await push.server.stop()
            throw error
        }
        await push.server.stop()
    }

    static func answer(_ request: Element, _ error: String?, type: String = "cancel") -> String {
        let addresses = "from='\(service)' to='\(romeo)' id='\(request["id"] ?? "")'"
        guard let error else { return "<iq type='result' \(addresses)/>" }
        return "<iq type='error' \(addresses)><error type='\(type)'><\(error) "
            + "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    }

    static func fields(_ form: Element?) -> [String: String] {
        guard let form = form.flatMap({ DataForm($0) }) else { return [:] }
        return Dictionary(
            form.fields.map { ($0.name, $0.values.first ?? "") }, uniquingKeysWith: { $1 })
    }

    @Test("The item holds the summary, without a name and a text, and the client's options")
    func publish() async throws {
        try await Self.with { push, peer, write in
            await write("first")
            let request = try await peer.first { $0.name == "iq" }
            #expect(request["type"] == "set" && request["from"] == Self.romeo)
            #expect(request["to"] == Self.service)
            let namespace = "http://jabber.org/protocol/pubsub"
            let pubsub = try #require(request.child("pubsub", namespace))
            let publish = try #require(pubsub.child("publish", namespace))
            #expect(publish["node"] == "n1")
            let notification = publish.child("item", namespace)?
                .child("notification", "urn:xmpp:push:0")
            let summary = Self.fields(notification?.child("x", "jabber:x:data"))
            #expect(
                summary == [
                    "FORM_TYPE": "urn:xmpp:push:summary", "message-count": "1",
                    "last-message-body": "New message",
                ])
            let options = pubsub.child("publish-options", namespace)?.child("x", "jabber:x:data")
            #expect(
                Self.fields(options) == [
                    "FORM_TYPE": "http://jabber.org/protocol/pubsub#publish-options",
                    "secret": "s3",
                ])
            await write("second")
            #expect(try await peer.pending().isEmpty, "one is under way")
            await peer.send(Self.answer(request, nil))
            await push.settle()
            await push.pass(1)
            let next = try await peer.first { $0.name == "iq" }
            await peer.send(Self.answer(next, nil))
            await push.settle()
            let target = try #require(try push.targets(of: Self.romeo).first)
            #expect(target.sentAt != nil && target.reason == .accepted)
            try push.expectBalance()
        }
    }

    @Test("Who writes and what is told where the operator wants that")
    func includes() async throws {
        try await Self.with("push.include_sender=true", "push.include_body=true") {
            push, peer, write in
            await write("hello")
            let request = try await peer.first { $0.name == "iq" }
            let notification = request.elements.first?.elements.first?.elements.first?.elements
                .first
            let summary = Self.fields(notification?.child("x", "jabber:x:data"))
            #expect(summary["last-message-sender"] == "juliet@capulet.example")
            #expect(summary["last-message-body"] == "hello")
            _ = push
        }
    }

    @Test("A temporary error is tried again, within a while")
    func temporary() async throws {
        // The peer answers no pings.
        try await Self.with("limits.acknowledgement=1h") { push, peer, write in
            await write("first")
            var request = try await peer.first { $0["type"] == "set" }
            for (error, type) in [
                ("internal-server-error", "wait"), ("service-unavailable", "cancel"),
                ("resource-constraint", "wait"), ("recipient-unavailable", "wait"),
            ] {
                await peer.send(Self.answer(request, error, type: type))
                await push.settle()
                #expect(try await peer.pending().isEmpty, "not at once")
                for _ in 0..<17 { await push.pass(1000) }
                request = try await peer.first { $0["type"] == "set" }
            }
            await peer.send(Self.answer(request, nil))
            await push.settle()
            let target = try #require(try push.targets(of: Self.romeo).first)
            #expect(target.failures == 0 && target.disabledAt == nil)
            try push.expectBalance()
        }
    }

    @Test(
        "A final error is tolerated four times; the fifth in a row ends it, an enable begins again")
    func final() async throws {
        try await Self.with { push, peer, write in
            for number in 1...5 {
                #expect(try push.targets(of: Self.romeo).first?.disabledAt == nil)
                await write("m\(number)")
                let request = try await peer.first { $0.name == "iq" }
                await peer.send(Self.answer(request, "item-not-found"))
                await push.settle()
            }
            let target = try #require(try push.targets(of: Self.romeo).first)
            #expect(target.disabledAt != nil && target.code == "item-not-found")
            await write("m6")
            #expect(try await peer.pending().isEmpty)
            let phone = try await push.server.online("\(Self.romeo)/phone")
            let answer = try await phone.request("set", PlayedPush.enable("n1", at: Self.service))
            #expect(answer["type"] == "result")
            await phone.drop()
            await write("m7")
            _ = try await peer.first { $0.name == "iq" }
            try push.expectBalance()
        }
    }

    @Test("An answer of somebody else's counts for nothing")
    func forged() async throws {
        try await Self.with { push, peer, write in
            await write("first")
            let request = try await peer.first { $0.name == "iq" }
            let text = Self.answer(request, "item-not-found")
            await peer.send(
                text.replacing("from='\(Self.service)'", with: "from='x@\(Self.service)'"))
            await push.settle()
            #expect(try push.targets(of: Self.romeo).first?.failures == 0)
            await peer.send(Self.answer(request, nil))
            await push.settle()
            #expect(try push.targets(of: Self.romeo).first?.sentAt != nil)
        }
    }
}
