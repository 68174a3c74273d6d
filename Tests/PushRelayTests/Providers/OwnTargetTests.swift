// The targets that users have without anybody's app: UnifiedPush, ntfy and Gotify.

import Foundation
import HTTPClient
import Testing

@testable import PushRelay

@Suite struct UnifiedPushTests {
    let target = PushTarget("https://up.example/up0123456789ab?up=1")

    func provider() throws -> UnifiedPush {
        UnifiedPush(webPush: WebPush(vapid: try VAPID(key: Keys.fresh(), contact: nil)))
    }

    @Test("Without keys a short JSON is posted, with keys it is Web Push")
    func request() throws {
        let provider = try provider()
        #expect(provider.problem(of: target) == nil)
        let plain = try provider.request(notification(unread: 2), to: target, at: now)
        #expect(plain.isToUsersHost)
        #expect(plain.request.url == target.token)
        #expect(plain.header("ttl") == "3600")
        #expect(plain.header("authorization") == nil)
        #expect(
            plain.json
                == .object([
                    "type": .string("message"), "account": .string("a1b2c3"),
                    "unread": .integer(2),
                ]))
        let long = try provider.request(
            notification(body: String(repeating: "é", count: 9000)), to: target, at: now)
        #expect((4000...4096).contains(long.request.body.count))
        // No clock is needed where nothing is signed.
        let wrong = PushTime(seconds: 0, isRight: false)
        #expect(throws: Never.self) {
            _ = try provider.request(notification(), to: target, at: wrong)
        }
        let keys = [
            "p256dh": WebPushEncryptionTests.point, "auth": WebPushEncryptionTests.secret,
        ]
        let sealed = try provider.request(
            notification(), to: PushTarget(target.token, keys), at: now)
        #expect(sealed.header("content-encoding") == "aes128gcm")
        #expect(sealed.json == nil)
    }

    @Test("One key without the other is a mistake, and so is a long endpoint")
    func targets() throws {
        let provider = try provider()
        let half = PushTarget(target.token, ["p256dh": WebPushEncryptionTests.point])
        #expect(provider.problem(of: half) != nil)
        #expect(fault { _ = try provider.request(notification(), to: half, at: now) } != nil)
        let long = PushTarget("https://up.example/" + String(repeating: "x", count: 982))
        #expect(provider.problem(of: long) != nil)
    }

    @Test(
        "Any success will do, and an endpoint that is gone is gone",
        arguments: [
            (200, PushOutcome.accepted), (201, .accepted), (204, .accepted),
            (400, .rejected), (401, .invalidToken(.token, since: nil)), (403, .rejected),
            (404, .invalidToken(.token, since: nil)), (410, .invalidToken(.token, since: nil)),
            (413, .rejected), (429, .retry(.device, after: nil)),
            (503, .retry(.circuit, after: nil)), (507, .retry(.device, after: nil)),
            (301, .retry(.device, after: nil)),
        ])
    func statuses(status: Int, outcome: PushOutcome) throws {
        for body in garbage {
            let judged = try provider().judge(answer(status, body), to: target, at: now)
            #expect(judged.outcome == outcome)
        }
    }
}

@Suite struct NtfyTests {
    let provider = Ntfy()
    let target = PushTarget("https://ntfy.example/base/my-Topic_1")

    @Test("A message is JSON to the server's root and tells nothing by itself")
    func request() throws {
        #expect(provider.problem(of: target) == nil)
        let request = try provider.request(notification(unread: 2), to: target, at: now)
        #expect(request.isToUsersHost)
        #expect(request.request.url == "https://ntfy.example/base/")
        #expect(request.header("authorization") == nil)
        #expect(request.header("x-cache") == nil)
        #expect(
            request.json
                == .object([
                    "topic": .string("my-Topic_1"), "title": .string("New message"),
                    "message": .string("2 unread messages"), "priority": .integer(3),
                    "tags": .array([.string("speech_balloon")]),
                ]))
        #expect(!String(decoding: request.request.body, as: UTF8.self).contains("a1b2c3"))
        let call = try provider.request(
            notification(.call, sender: "Jülia\r\nX-Evil: 1"), to: target, at: now)
        #expect(call.json?["priority"]?.whole == 5)
        #expect(call.json?["title"]?.text == "Jülia\r\nX-Evil: 1")
        #expect(call.header("x-cache") == "no")
        let long = try provider.request(
            notification(body: String(repeating: "\u{1}é", count: 4000)), to: target, at: now)
        #expect((4000...4096).contains(long.request.body.count))
    }

    @Test("A credential is a token or a user's password")
    func credentials() throws {
        func field(_ token: String) throws -> String? {
            let target = PushTarget(target.token, ["access_token": token])
            return try provider.request(notification(), to: target, at: now).header(
                "authorization")
        }
        #expect(try field("tk_secret") == "Bearer tk_secret")
        #expect(try field("phil:pä:ss") == "Basic \(Data("phil:pä:ss".utf8).base64EncodedString())")
        for bad in ["", "tk_a\r\nb", "a:b\nc", "tk a", String(repeating: "x", count: 513)] {
            let target = PushTarget(target.token, ["access_token": bad])
            #expect(provider.problem(of: target) != nil)
            #expect(fault { _ = try field(bad) } != nil)
        }
    }

    @Test("A topic has a name", arguments: ["", "/", "/a b", "/a/b?c", "/t/", "/ä", "/a.b"])
    func topics(path: String) {
        let problem = provider.problem(of: PushTarget("https://ntfy.example\(path)"))
        #expect((problem == nil) == (path == "/t/"))
    }

    static let cases: [(Int, String, PushOutcome, PushReason)] = [
        (200, "{\"id\":\"x\",\"event\":\"message\"}", .accepted, .accepted),
        (
            200, "{\"code\":40101,\"id\":\"x\"}", .retry(.device, after: nil), .garbage
        ),
        (401, "{\"code\":40101,\"http\":401}", .rejected, .credentialRefused),
        (403, "{\"code\":40301,\"http\":403}", .rejected, .credentialRefused),
        (403, "", .rejected, .credentialRefused),
        (413, "{\"code\":41301,\"http\":413}", .rejected, .tooLarge),
        (
            429, "{\"code\":42901,\"http\":429}", .retry(.circuit, after: .seconds(5)), .rate
        ),
        (429, "", .retry(.circuit, after: .seconds(5)), .rate),
        (429, "{\"code\":42908,\"http\":429}", .quotaOfDay, .quota),
        (507, "{\"code\":50701,\"http\":507}", .retry(.device, after: nil), .unavailable),
        (400, "{\"code\":40009,\"http\":400}", .rejected, .request),
        (404, "{\"code\":40401,\"http\":404}", .rejected, .request),
        (500, "{\"code\":50001,\"http\":500}", .retry(.circuit, after: nil), .unavailable),
        (502, "<html>", .retry(.circuit, after: nil), .unavailable),
        (302, "", .retry(.device, after: nil), .redirection),
    ]

    @Test("Every code has its outcome", arguments: cases)
    func codes(status: Int, body: String, outcome: PushOutcome, reason: PushReason) {
        let judged = provider.judge(answer(status, body), to: target, at: now)
        #expect(judged.outcome == outcome)
        #expect(judged.reason == reason)
    }

    @Test("Who has an account waits alone")
    func accounts() {
        let target = PushTarget(target.token, ["access_token": "tk_x"])
        func judged(_ code: Int) -> PushOutcome {
            provider.judge(answer(429, "{\"code\":\(code)}"), to: target, at: now).outcome
        }
        #expect(judged(42901) == .retry(.device, after: .seconds(5)))
        #expect(judged(42908) == .retry(.device, after: .seconds(3600)))
    }

    @Test("No garbage is a success or ends a target", arguments: garbage)
    func odd(body: String) {
        for status in [0, 200, 302, 404, 410, 500, 999] {
            let ntfy = provider.judge(answer(status, body), to: target, at: now)
            let gotify = Gotify().judge(answer(status, body), to: target, at: now)
            for judged in [ntfy, gotify] {
                if case .invalidToken = judged.outcome { Issue.record("\(status) \(judged)") }
                #expect(judged.outcome != .accepted)
            }
        }
    }
}

@Suite struct GotifyTests {
    let provider = Gotify()
    let target = PushTarget("https://gotify.example/base/", ["app_token": "AbC.secret"])

    @Test("A message is JSON with the application's token in its field")
    func request() throws {
        #expect(provider.problem(of: target) == nil)
        let request = try provider.request(notification(body: "Hi"), to: target, at: now)
        #expect(request.isToUsersHost)
        #expect(request.request.url == "https://gotify.example/base/message")
        #expect(request.header("x-gotify-key") == "AbC.secret")
        #expect(
            request.json
                == .object([
                    "title": .string("New message"), "message": .string("Hi"),
                    "priority": .integer(5),
                ]))
        for bad in [
            PushTarget(target.token), PushTarget(target.token, ["app_token": "a\r\nb"]),
            PushTarget(target.token + "?x", target.parameters),
            PushTarget("http://gotify.example/", target.parameters),
        ] {
            #expect(provider.problem(of: bad) != nil)
            #expect(fault { _ = try provider.request(notification(), to: bad, at: now) } != nil)
        }
    }

    @Test(
        "Every status has its outcome",
        arguments: [
            (200, "{\"id\":25}", PushOutcome.accepted, PushReason.accepted),
            (200, "<html>", .retry(.device, after: nil), .garbage),
            (400, "", .rejected, .request), (401, "", .rejected, .credentialRefused),
            (403, "", .rejected, .credentialRefused), (404, "", .rejected, .request),
            (429, "", .retry(.device, after: nil), .rate),
            (301, "", .retry(.device, after: nil), .redirection),
            (500, "", .retry(.circuit, after: nil), .unavailable),
        ])
    func statuses(status: Int, body: String, outcome: PushOutcome, reason: PushReason) {
        let judged = provider.judge(answer(status, body), to: target, at: now)
        #expect(judged == PushAnswer(outcome, reason, code: judged.code))
    }
}
