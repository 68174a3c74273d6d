// Google's codes, messages and tokens.

import HTTPClient
import Testing

@testable import PushRelay

@Suite struct FCMTests {
    let target = PushTarget("device:APA91b-x_y")

    static func file(_ changes: [String: JSONValue] = [:]) throws -> [UInt8] {
        let fields: [String: JSONValue] = [
            "type": .string("service_account"), "project_id": .string("kinglet-test"),
            "private_key_id": .string("k1"), "private_key": .string(try Keys.rsa.get()),
            "client_email": .string("push@kinglet-test.iam.example"),
            "token_uri": .string("https://oauth2.googleapis.com/token"),
        ]
        return JSONValue.object(fields.merging(changes) { $1 }).bytes
    }

    static func account(_ tokenURL: String? = nil) throws -> FCMAccount {
        try FCMAccount(try file(), tokenURL: tokenURL, app: "chat", subject: "account.json")
    }

    static let token =
        "{\"access_token\":\"ya29.secret\",\"expires_in\":3599,\"token_type\":\"Bearer\"}"

    func provider(authorized: Bool = true) throws -> FCM {
        let provider = FCM(app: "chat", account: try Self.account())
        if authorized {
            #expect(provider.authorize(answer(200, Self.token), at: now).outcome == .accepted)
        }
        return provider
    }

    // MARK: Answers

    static func error(_ status: String, _ details: String = "") -> String {
        "{\"error\":{\"code\":1,\"message\":\"m\",\"status\":\"\(status)\",\"details\":[\(details)]}}"
    }

    static func code(_ code: String) -> String {
        "{\"@type\":\"type.googleapis.com/google.firebase.fcm.v1.FcmError\","
            + "\"errorCode\":\"\(code)\"}"
    }

    static func violation(_ field: String) -> String {
        "{\"@type\":\"type.googleapis.com/google.rpc.BadRequest\",\"fieldViolations\":"
            + "[{\"field\":\"\(field)\",\"description\":\"Invalid registration token\"}]}"
    }

    static func quota(_ subject: String) -> String {
        "{\"@type\":\"type.googleapis.com/google.rpc.QuotaFailure\",\"violations\":"
            + "[{\"subject\":\"\(subject)\",\"description\":\"Too much\"}]}"
    }

    static let cases: [(Int, String, PushOutcome, PushReason)] = [
        (
            404, error("NOT_FOUND", code("UNREGISTERED")), .invalidToken(.token, since: nil),
            .unregistered
        ),
        (
            403, error("PERMISSION_DENIED", code("SENDER_ID_MISMATCH")),
            .invalidToken(.app, since: nil), .otherApp
        ),
        (
            400,
            error("INVALID_ARGUMENT", code("INVALID_ARGUMENT") + "," + violation("message.token")),
            .invalidToken(.token, since: nil), .badToken
        ),
        (
            400,
            error(
                "INVALID_ARGUMENT", code("INVALID_ARGUMENT") + "," + violation("message.data[0]")),
            .rejected, .request
        ),
        (400, error("INVALID_ARGUMENT", code("INVALID_ARGUMENT")), .rejected, .request),
        (400, error("INVALID_ARGUMENT"), .rejected, .request),
        (
            429, error("RESOURCE_EXHAUSTED", code("QUOTA_EXCEEDED")),
            .retry(.circuit, after: .seconds(60)), .quota
        ),
        (
            429,
            error("RESOURCE_EXHAUSTED", code("QUOTA_EXCEEDED") + "," + quota("device:secret")),
            .retry(.device, after: .seconds(60)), .quota
        ),
        (
            503, error("UNAVAILABLE", code("UNAVAILABLE")), .retry(.circuit, after: .seconds(10)),
            .unavailable
        ),
        (
            500, error("INTERNAL", code("INTERNAL")), .retry(.circuit, after: .seconds(10)),
            .unavailable
        ),
        (
            401, error("UNAUTHENTICATED", code("THIRD_PARTY_AUTH_ERROR")),
            .authorizationExpired(.refused), .credentialRefused
        ),
        (401, error("UNAUTHENTICATED"), .authorizationExpired(.expired), .credentialExpired),
        (401, "", .authorizationExpired(.expired), .credentialExpired),
        (403, error("PERMISSION_DENIED"), .authorizationExpired(.refused), .credentialRefused),
        (404, error("NOT_FOUND"), .rejected, .request),
        (404, "", .rejected, .request),
        (503, "", .retry(.circuit, after: nil), .unavailable),
        (302, "", .retry(.circuit, after: nil), .redirection),
        (200, "{\"name\":\"projects/kinglet-test/messages/0:1\"}", .accepted, .accepted),
        (200, error("NOT_FOUND", code("UNREGISTERED")), .retry(.circuit, after: nil), .garbage),
        (200, "{\"name\":\"\"}", .retry(.circuit, after: nil), .garbage),
    ]

    @Test("Every code of Google's has its outcome", arguments: cases)
    func codes(status: Int, body: String, outcome: PushOutcome, reason: PushReason) throws {
        let judged = try provider().judge(answer(status, body), to: target, at: now)
        #expect(judged.outcome == outcome)
        #expect(judged.reason == reason)
    }

    @Test("Retry-After counts before our own pauses")
    func retryAfter() throws {
        let provider = try provider()
        for (code, why) in [("QUOTA_EXCEEDED", PushReason.quota), ("UNAVAILABLE", .unavailable)] {
            let judged = provider.judge(
                answer(429, Self.error("X", Self.code(code)), [("Retry-After", "120")]),
                to: target, at: now)
            #expect(judged == PushAnswer(.retry(.circuit, after: .seconds(120)), why, code: code))
        }
    }

    @Test("No garbage is a success or ends a device", arguments: garbage)
    func odd(body: String) throws {
        let provider = try provider()
        for status in [0, 200, 302, 400, 403, 404, 410, 429, 503, 999] {
            let judged = provider.judge(answer(status, body), to: target, at: now)
            if case .invalidToken = judged.outcome { Issue.record("\(status) \(judged)") }
            #expect(judged.outcome != .accepted)
        }
        let fresh = try self.provider(authorized: false)
        for status in [0, 200, 302, 400, 404, 500] {
            let judged = fresh.authorize(answer(status, body), at: now)
            guard case .retry = judged.outcome else {
                Issue.record("\(status) \(judged)")
                continue
            }
        }
    }

    // MARK: Requests

    @Test("A message is data alone, as p2 sends it")
    func message() throws {
        let provider = try provider()
        let request = try provider.request(
            notification(channel: "c4", lifetime: 60), to: target, at: now)
        #expect(
            request.request.url
                == "https://fcm.googleapis.com/v1/projects/kinglet-test/messages:send")
        #expect(request.header("authorization") == "Bearer ya29.secret")
        #expect(!request.needsHTTP2)
        let message = try #require(request.json?["message"])
        #expect(message["token"]?.text == target.token)
        #expect(
            message["data"]
                == .object(["account": .string("a1b2c3"), "channel": .string("c4")]))
        #expect(message["notification"] == nil)
        #expect(message["android"]?["priority"]?.text == "HIGH")
        #expect(message["android"]?["ttl"]?.text == "60s")
        #expect(message["android"]?["collapse_key"]?.text?.utf8.count == 6)
    }

    @Test("All data are texts, and the lifetime is within Google's bounds")
    func bounds() throws {
        let provider = try provider()
        for (lifetime, text) in [(-5, "0s"), (0, "0s"), (.max, "2419200s")] {
            let request = try provider.request(
                notification(.call, unread: 3, isVisible: false, lifetime: lifetime), to: target,
                at: now)
            let message = try #require(request.json?["message"])
            #expect(message["android"]?["ttl"]?.text == text)
            #expect(message["android"]?["priority"]?.text == "HIGH")
            #expect(message["data"]?["unread"]?.text == "3")
            #expect(message["data"]?["type"]?.text == "call")
        }
        let quiet = try provider.request(notification(isVisible: false), to: target, at: now)
        #expect(quiet.json?["message"]?["android"]?["priority"]?.text == "NORMAL")
        let long = try provider.request(
            notification(sender: "Romeo", body: String(repeating: "ü\"", count: 4000)),
            to: target, at: now)
        let data = try #require(long.json?["message"]?["data"])
        #expect((3900...4096).contains(data.bytes.count))
        #expect(data["sender"]?.text == "Romeo")
    }

    @Test("An account has one key for wake-ups and one for calls; what says more has its own")
    func collapseKeys() {
        var other = notification()
        other.collapse = Array(repeating: 1, count: 32)
        #expect(FCM.collapseKey(notification()) == FCM.collapseKey(other))
        #expect(FCM.collapseKey(notification(.call)) != FCM.collapseKey(other))
        #expect(FCM.collapseKey(notification(.call)) == FCM.collapseKey(notification(.callEnded)))
        other.body = "Hello"
        #expect(FCM.collapseKey(other) == "010101")
    }

    // MARK: Tokens

    @Test("The assertion has Google's claims and is sent as a form")
    func assertion() throws {
        let account = try Self.account()
        let request = try #require(try account.authorization(at: now)).request
        #expect(request.url == "https://oauth2.googleapis.com/token")
        let form = String(decoding: request.body, as: UTF8.self)
        let prefix =
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion="
        #expect(form.hasPrefix(prefix))
        let (header, claims, signature) = try #require(
            parts(of: String(form.dropFirst(prefix.count))))
        #expect(
            header
                == .object([
                    "alg": .string("RS256"), "typ": .string("JWT"), "kid": .string("k1"),
                ]))
        #expect(claims["iss"]?.text == "push@kinglet-test.iam.example")
        #expect(claims["scope"]?.text == "https://www.googleapis.com/auth/firebase.messaging")
        #expect(claims["aud"]?.text == "https://oauth2.googleapis.com/token")
        #expect(claims["iat"]?.whole == now.seconds)
        #expect(claims["exp"]?.whole == now.seconds + 3600)
        #expect(signature.count == 256)
        let other = try Self.account("http://127.0.0.1:9/token")
        #expect(try other.authorization(at: now)?.request.url == "http://127.0.0.1:9/token")
    }

    @Test("A token is used until five minutes before its end, and dropped when it is refused")
    func life() throws {
        let provider = try provider(authorized: false)
        let none = fault { _ = try provider.request(notification(), to: target, at: now) }
        #expect(none?.outcome == .authorizationExpired(.expired))
        #expect(provider.authorize(answer(200, Self.token), at: now).outcome == .accepted)
        #expect(try provider.authorization(at: now.later(3298)) == nil)
        #expect(try provider.authorization(at: now.later(3299)) != nil)
        #expect(throws: Never.self) {
            _ = try provider.request(notification(), to: target, at: now.later(3598))
        }
        #expect(
            fault { _ = try provider.request(notification(), to: target, at: now.later(3599)) }
                != nil)
        #expect(
            provider.expiries == [CredentialExpiry(kind: "access_token", time: now.seconds + 3599)])
        // A clock that went back by a year.
        #expect(try provider.authorization(at: now.later(-31_536_000)) != nil)
        provider.renew(at: now)
        #expect(try provider.authorization(at: now) != nil)
        let wrong = PushTime(seconds: 0, isRight: false)
        #expect(fault { _ = try provider.authorization(at: wrong) } == PushFault.clock.answer)
    }

    @Test("A short life is not refreshed at each request, an odd one is garbage")
    func shortLife() throws {
        let account = try Self.account()
        func take(_ life: String, _ type: String = "Bearer") -> PushReason {
            account.authorize(
                answer(
                    200,
                    "{\"access_token\":\"t\",\"expires_in\":\(life),\"token_type\":\"\(type)\"}"),
                at: now
            ).reason
        }
        #expect(take("100") == .accepted)
        #expect(try account.authorization(at: now.later(49)) == nil)
        for odd in ["0", "-1", "1e300", "\"3599\"", "null", "99999999999"] {
            #expect(take(odd) == .garbage, "\(odd)")
        }
        #expect(take("3599", "mac") == .garbage)
    }

    @Test("invalid_grant is the time's fault if Google's clock says so, else the key's")
    func grants() throws {
        let account = try Self.account()
        let body = "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT Signature.\"}"
        let refused = PushAnswer(
            .authorizationExpired(.refused), .credentialRefused, code: "invalid_grant")
        #expect(account.authorize(answer(400, body), at: now) == refused)
        let date = "Thu, 28 May 2026 20:26:40 GMT"
        #expect(RetryAfter.date(date) == now.seconds)
        #expect(account.authorize(answer(400, body, [("Date", date)]), at: now) == refused)
        let late = account.authorize(answer(400, body, [("Date", date)]), at: now.later(-7200))
        #expect(late == PushAnswer(.retry(.circuit, after: nil), .clock, code: "invalid_grant"))
        let told =
            "{\"error\":\"invalid_grant\",\"error_description\":\"Token must be in a reasonable "
            + "timeframe. Check your iat and exp values\"}"
        #expect(account.authorize(answer(400, told), at: now).reason == .clock)
        #expect(
            account.authorize(answer(401, "{\"error\":\"invalid_client\"}"), at: now).outcome
                == .authorizationExpired(.refused))
        #expect(
            account.authorize(answer(503, "", [("Retry-After", "7")]), at: now).outcome
                == .retry(.circuit, after: .seconds(7)))
    }

    @Test("A file that is no service account is refused without a word of what is in it")
    func files() throws {
        let key = JSONValue.string(
            "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----")
        let bad: [[UInt8]] = [
            [], Array("hunter2".utf8), Array("{\"hunter2\":1}".utf8),
            try Self.file(["private_key": key]),
            try Self.file(["project_id": .string("../hunter2")]),
            try Self.file(["token_uri": .string("http://hunter2.example/")]),
            try Self.file(["client_email": .string("")]),
        ]
        for bytes in bad {
            let error = #expect(throws: PushCredentialError.self) {
                _ = try FCMAccount(bytes, tokenURL: nil, app: "chat", subject: "account.json")
            }
            let text = try #require(error).description
            #expect(text.hasPrefix("push.apps: chat: account.json: "))
            #expect(!text.contains("hunter2"))
        }
    }
}
