// Whom a message wakes, from the client that sends it to the request to the provider: devices that are
// gone, hibernate or are inactive, once for a message (XEP-0357 sections 7 and 8).

import Addresses
import Engine
import HTTPClient
import Storage
import Testing
import XML

@testable import PushRelay

@Suite("Waking devices") struct WakingTests {
    static let romeo = "romeo@capulet.example"
    static let juliet = "juliet@capulet.example"
    static let sm = "urn:xmpp:sm:3"
    static let csi = "urn:xmpp:csi:0"

    static func message(_ text: String, id: String = "m1") -> String {
        "<message to='\(romeo)' type='chat' id='\(id)'><body>\(text)</body></message>"
    }

    @Test("A device that is gone is woken; the provider gets no text and no name")
    func gone() async throws {
        try await withPush { push in
            let phone = try await push.server.online("\(Self.romeo)/phone")
            try await push.enable(phone, token: "token:romeo")
            let juliet = try await push.server.online("\(Self.juliet)/pc")
            await juliet.send(Self.message("While you are here"))
            #expect(await push.pushes() == 0)
            await phone.drop()
            await juliet.send(Self.message("a secret thing", id: "m2"))
            #expect(await push.pushes() == 1)
            let request = try #require(push.transport.pushes.first)
            let text = String(decoding: request.request.body, as: UTF8.self)
            #expect(request.request.url.hasPrefix("https://fcm.googleapis.com/"))
            #expect(text.contains("token:romeo"))
            for word in ["a secret thing", "juliet", "romeo@"] { #expect(!text.contains(word)) }
            try push.expectBalance()
        }
    }

    @Test("What nobody is to be woken for wakes nobody")
    func nothing() async throws {
        try await withPush { push in
            let phone = try await push.server.online("\(Self.romeo)/phone")
            try await push.enable(phone)
            let pc = try await push.server.online("\(Self.romeo)/pc")
            let juliet = try await push.server.online("\(Self.juliet)/pc")
            await phone.drop()
            let states = "http://jabber.org/protocol/chatstates"
            await juliet.send(
                "<message to='\(Self.romeo)' type='chat'><composing xmlns='\(states)'/></message>")
            await juliet.send(
                "<message to='\(Self.romeo)' type='headline'><body>News</body></message>")
            await juliet.send(
                "<message to='\(Self.romeo)' type='chat'><received xmlns='urn:xmpp:receipts' "
                    + "id='1'/></message>")
            await pc.send(Self.message("To myself"))
            await pc.send("<message to='\(Self.juliet)' type='chat'><body>Out</body></message>")
            #expect(await push.pushes() == 0)
        }
    }

    @Test("Somebody who is blocked wakes nobody (XEP-0191)")
    func blocked() async throws {
        try await withPush { push in
            let phone = try await push.server.online("\(Self.romeo)/phone")
            try await push.enable(phone)
            let answer = try await phone.request(
                "set", "<block xmlns='urn:xmpp:blocking'><item jid='\(Self.juliet)'/></block>")
            #expect(answer["type"] == "result")
            let juliet = try await push.server.online("\(Self.juliet)/pc")
            await phone.drop()
            await juliet.send(Self.message("Hear me"))
            #expect(await push.pushes() == 0)
        }
    }

    @Test("A client that is inactive is woken, and one that is active again is not (XEP-0352)")
    func inactive() async throws {
        try await withPush { push in
            let phone = try await push.server.online("\(Self.romeo)/phone")
            try await push.enable(phone)
            let juliet = try await push.server.online("\(Self.juliet)/pc")
            await phone.send("<inactive xmlns='\(Self.csi)'/>")
            await juliet.send(Self.message("One"))
            #expect(await push.pushes() == 1)
            await phone.send("<active xmlns='\(Self.csi)'/>")
            await juliet.send(Self.message("Two", id: "m2"))
            #expect(await push.pushes() == 1)
            try push.expectBalance()
        }
    }

    @Test("Only the device whose client is away is woken, though another one is in use")
    func otherDevice() async throws {
        try await withPush { push in
            let phone = try await push.server.online("\(Self.romeo)/phone")
            try await push.enable(phone, token: "token:phone", device: "d1")
            let tablet = try await push.server.online("\(Self.romeo)/tablet")
            try await push.enable(tablet, token: "token:tablet", device: "d2")
            let juliet = try await push.server.online("\(Self.juliet)/pc")
            await phone.drop()
            await juliet.send(Self.message("One"))
            #expect(await push.pushes() == 1)
            let text = String(
                decoding: try #require(push.transport.pushes.first).request.body, as: UTF8.self)
            #expect(text.contains("token:phone"))
        }
    }

    @Test("A client whose connection broke is woken once for what had not reached it (XEP-0198)")
    func hibernation() async throws {
        try await withPush { push in
            let client = try await push.server.online("\(Self.romeo)/phone")
            try await push.enable(client)
            let phone = try await ResumingClient(client)
            let juliet = try await push.server.online("\(Self.juliet)/pc")
            await juliet.send(Self.message("One"))
            #expect(await push.pushes() == 0)
            await phone.client.drop()
            #expect(await push.pushes() == 1, "it had not acknowledged it")
            await juliet.send(Self.message("Two", id: "m2"))
            #expect(await push.pushes() == 2)
            #expect(try await phone.comeBack(to: push.server).name == "resumed")
            _ = try await phone.stanzas()
            await phone.acknowledge()
            await phone.client.drop()
            #expect(await push.pushes() == 2, "it has everything")
            try push.expectBalance()
        }
    }

    @Test("A message that is delivered again after its session's end wakes nobody again")
    func redelivered() async throws {
        try await withPush { push in
            let client = try await push.server.online("\(Self.romeo)/phone")
            try await push.enable(client)
            let phone = try await ResumingClient(client, max: 60)
            let juliet = try await push.server.online("\(Self.juliet)/pc")
            await juliet.send(Self.message("One"))
            await push.settle()
            await phone.client.drop()
            #expect(await push.pushes() == 1)
            await push.pass(61_000)
            #expect(await push.pushes() == 1)
            let again = try await push.server.online("\(Self.romeo)/phone")
            #expect(try await again.pending().contains { $0.child("body")?.text == "One" })
            #expect(await push.pushes() == 1)
            try push.expectBalance()
        }
    }

    @Test("What waits is not sent to a device that is in use again")
    func activeBeforeSent() async throws {
        try await withPush("push.window=5s") { push in
            let phone = try await push.server.online("\(Self.romeo)/phone")
            try await push.enable(phone)
            let juliet = try await push.server.online("\(Self.juliet)/pc")
            await phone.drop()
            await juliet.send(Self.message("One"))
            #expect(await push.pushes() == 1)
            await juliet.send(Self.message("Two", id: "m2"))
            await juliet.send(Self.message("Three", id: "m3"))
            #expect(await push.pushes() == 1, "once in a window")
            let back = try await push.server.online("\(Self.romeo)/phone")
            await push.pass(6000)
            #expect(await push.pushes() == 1)
            await back.drop()
            await juliet.send(Self.message("Four", id: "m4"))
            #expect(await push.pushes() == 2)
            try push.expectBalance()
        }
    }

    @Test("What waits for a window is sent when that is over, once")
    func window() async throws {
        try await withPush("push.window=5s") { push in
            let phone = try await push.server.online("\(Self.romeo)/phone")
            try await push.enable(phone)
            let juliet = try await push.server.online("\(Self.juliet)/pc")
            await phone.drop()
            for number in 1...4 {
                await juliet.send(Self.message("\(number)", id: "m\(number)"))
                await push.settle()
            }
            #expect(await push.pushes() == 1)
            await push.pass(5100)
            #expect(await push.pushes() == 2)
            let text = String(
                decoding: try #require(push.transport.pushes.last).request.body, as: UTF8.self)
            #expect(text.contains("\"4\""), "the number is absolute")
            await push.pass(60_000)
            #expect(await push.pushes() == 2)
            try push.expectBalance()
        }
    }

    @Test("What was read on another device wakes nobody (XEP-0333)")
    func read() async throws {
        try await withPush("push.window=5s") { push in
            let phone = try await push.server.online("\(Self.romeo)/phone")
            try await push.enable(phone)
            let pc = try await push.server.online("\(Self.romeo)/pc")
            let juliet = try await push.server.online("\(Self.juliet)/pc")
            await phone.drop()
            await juliet.send(Self.message("One"))
            #expect(await push.pushes() == 1)
            await juliet.send(Self.message("Two", id: "m2"))
            await push.settle()
            await pc.send(
                "<message to='\(Self.juliet)' type='chat'>"
                    + "<displayed xmlns='urn:xmpp:chat-markers:0' id='m2'/></message>")
            await push.settle()
            await push.pass(6000)
            #expect(await push.pushes() == 1)
            try push.expectBalance()
        }
    }

    @Test("What was read in one chat is no reason to keep quiet about another")
    func readElsewhere() async throws {
        try await withPush("push.window=5s") { push in
            let phone = try await push.server.online("\(Self.romeo)/phone")
            try await push.enable(phone)
            let pc = try await push.server.online("\(Self.romeo)/pc")
            let juliet = try await push.server.online("\(Self.juliet)/pc")
            await phone.drop()
            await juliet.send(Self.message("One"))
            #expect(await push.pushes() == 1)
            await juliet.send(Self.message("Two", id: "m2"))
            await push.settle()
            await pc.send(
                "<message to='nurse@capulet.example' type='chat'>"
                    + "<displayed xmlns='urn:xmpp:chat-markers:0' id='n1'/></message>")
            await push.settle()
            await push.pass(6000)
            #expect(await push.pushes() == 2)
            try push.expectBalance()
        }
    }

    @Test("A call wakes at once, though a message has just done so")
    func call() async throws {
        try await withPush("push.window=5s") { push in
            let phone = try await push.server.online("\(Self.romeo)/phone")
            try await push.enable(phone)
            let juliet = try await push.server.online("\(Self.juliet)/pc")
            await phone.drop()
            await juliet.send(Self.message("One"))
            #expect(await push.pushes() == 1)
            for name in ["propose", "retract"] {
                await juliet.send(
                    "<message to='\(Self.romeo)' type='chat' id='\(name)'>"
                        + "<\(name) xmlns='urn:xmpp:jingle-message:0' id='c1'/>"
                        + "<store xmlns='urn:xmpp:hints'/></message>")
                await push.settle()
            }
            #expect(await push.pushes() == 3)
            try push.expectBalance()
        }
    }

    @Test("What came while one was under way is sent after it")
    func underWay() async throws {
        try await withPush { push in
            let phone = try await push.server.online("\(Self.romeo)/phone")
            try await push.enable(phone)
            let juliet = try await push.server.online("\(Self.juliet)/pc")
            await phone.drop()
            push.transport.hold(true)
            await juliet.send(Self.message("One"))
            #expect(await push.pushes() == 1)
            await juliet.send(Self.message("Two", id: "m2"))
            await juliet.send(Self.message("Three", id: "m3"))
            #expect(await push.pushes() == 1, "one is under way")
            push.transport.hold(false)
            push.transport.release()
            await push.settle()
            await push.pass(1)
            #expect(await push.pushes() == 2)
            try push.expectBalance()
        }
    }

    @Test("What could not be sent is tried again; an invalid token ends the registration")
    func failures() async throws {
        try await withPush { push in
            let phone = try await push.server.online("\(Self.romeo)/phone")
            try await push.enable(phone)
            let juliet = try await push.server.online("\(Self.juliet)/pc")
            await phone.drop()
            push.transport.answer(
                HTTPResponse(status: 503, headers: [("Retry-After", "20")], body: []))
            await juliet.send(Self.message("One"))
            #expect(await push.pushes() == 1)
            await push.pass(19_000)
            #expect(await push.pushes() == 1, "Retry-After is obeyed")
            await push.pass(1100)
            #expect(await push.pushes() == 2)
            push.transport.answer(
                HTTPResponse(
                    status: 404, headers: [],
                    body: Array(
                        FCMTests.error("NOT_FOUND", FCMTests.code("UNREGISTERED")).utf8)))
            await juliet.send(Self.message("Two", id: "m2"))
            #expect(await push.pushes() == 3)
            let target = try #require(try push.targets(of: Self.romeo).first)
            #expect(target.disabledAt != nil && target.reason == .unregistered)
            await juliet.send(Self.message("Three", id: "m3"))
            #expect(await push.pushes() == 3)
            try push.expectBalance()
            // The client comes back, registers anew and is woken again.
            let back = try await push.server.online("\(Self.romeo)/phone")
            try await push.enable(back, token: "token:2")
            await back.drop()
            await juliet.send(Self.message("Four", id: "m4"))
            #expect(await push.pushes() == 4)
        }
    }

    @Test("What was committed and not sent is sent by the next process")
    func restart() async throws {
        let first = try PlayedPush()
        let phone = try await first.server.online("\(Self.romeo)/phone")
        try await first.enable(phone)
        let juliet = try await first.server.online("\(Self.juliet)/pc")
        await phone.drop()
        first.transport.hold(true)
        await juliet.send(Self.message("One"))
        #expect(await first.pushes() == 1)
        // The process dies before the answer.
        let second = try PlayedPush(over: first)
        #expect(await second.pushes() == 1)
        await second.pass(1000)
        #expect(await second.pushes() == 1)
        try second.expectBalance()
        await second.server.stop()
        await first.server.stop()
    }

    @Test("The end waits for what is under way, and begins nothing")
    func stop() async throws {
        try await withPush { push in
            let phone = try await push.server.online("\(Self.romeo)/phone")
            try await push.enable(phone)
            let juliet = try await push.server.online("\(Self.juliet)/pc")
            await phone.drop()
            push.transport.hold(true)
            await juliet.send(Self.message("One"))
            #expect(await push.pushes() == 1)
            let service = push.push
            let begun = ContinuousClock.now
            async let end: Void = service.stop(within: .seconds(100))
            push.transport.hold(false)
            await push.settle()
            push.transport.release(HTTPResponse(status: 503, headers: [], body: []))
            await end
            #expect(ContinuousClock.now - begun < .seconds(60), "it waits here no more")
            await push.pass(60_000)
            #expect(await push.pushes() == 1)
            let books = try push.server.host.database.readNow { try PushQueueStore.books($0) }
            #expect(books[.fcm]?.waiting == 1, "it stays in the queue")
        }
    }
}
