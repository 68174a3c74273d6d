// The example of RFC 8291, the tokens of RFC 8292, and what services answer.

import HTTPClient
import TLS
import Testing

@testable import PushRelay

@Suite struct WebPushEncryptionTests {
    static func bytes(_ text: String) -> [UInt8] { Base64URL.decode(text) ?? [] }

    static let point =
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
    static let secret = "BTBZMqHH6r4Tts7J_aSIgg"

    @Test("The example of RFC 8291 appendix A")
    func example() throws {
        let keys = try #require(
            WebPushKeys(publicKey: Self.bytes(Self.point), secret: Self.bytes(Self.secret)))
        let sealed = try WebPushEncryption.encrypt(
            Array("When I grow up, I want to be a watermelon".utf8), for: keys,
            sender: (
                Self.bytes("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"),
                Self.bytes(
                    "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6"
                        + "PBru3jl7A8")
            ), salt: Self.bytes("DGv6ra1nlYgDCS1FRnbzlw"))
        #expect(
            Base64URL.encode(sealed)
                == "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3v"
                + "CYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwX"
                + "PXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN")
    }

    @Test("A body has 103 bytes more than its text, 4096 at most, and is never the same twice")
    func limits() throws {
        let keys = try #require(
            WebPushKeys(publicKey: Self.bytes(Self.point), secret: Self.bytes(Self.secret)))
        for length in [0, 1, 3993] {
            let text = [UInt8](repeating: 7, count: length)
            let one = try WebPushEncryption.encrypt(text, for: keys)
            let other = try WebPushEncryption.encrypt(text, for: keys)
            #expect(one.count == length + 103)
            #expect(one.prefix(86) != other.prefix(86))
        }
        #expect(throws: TLSError.self) {
            _ = try WebPushEncryption.encrypt([UInt8](repeating: 7, count: 3994), for: keys)
        }
    }

    @Test("Keys that are none are refused, a point that is on no curve too")
    func keys() {
        func problem(_ point: String?, _ secret: String?) -> String? {
            var parameters: [String: String] = [:]
            parameters["p256dh"] = point
            parameters["auth"] = secret
            return WebPushKeys.problem(of: PushTarget("https://push.example/x", parameters))
        }
        #expect(problem(Self.point, Self.secret) == nil)
        #expect(problem(Self.point + "=", Self.secret + "==") == nil)
        let off = Base64URL.encode([4] + [UInt8](repeating: 9, count: 64))
        for (point, secret) in [
            (nil, Self.secret), (Self.point, nil), ("", ""), (off, Self.secret),
            (Self.point, Self.secret + "AA"), ("*" + Self.point.dropFirst(), Self.secret),
        ] {
            #expect(problem(point, secret) != nil)
        }
    }
}

@Suite struct VAPIDTests {
    @Test("A token names the origin, an end within 12 hours and the contact")
    func claims() throws {
        let key = try Keys.fresh()
        let vapid = try VAPID(key: key, contact: "mailto:admin@example.org")
        let field = try vapid.authorization(for: "https://push.example", at: now)
        let words = field.split(separator: " ").map(String.init)
        try #require(words.count == 3)
        #expect(words[0] == "vapid")
        #expect(words[2] == "k=\(vapid.publicKey)")
        #expect(Base64URL.decode(vapid.publicKey) == key.publicPoint)
        let (header, claims, signature) = try #require(
            parts(of: String(words[1].dropFirst(2).dropLast())))
        #expect(header == .object(["alg": .string("ES256"), "typ": .string("JWT")]))
        #expect(
            claims
                == .object([
                    "aud": .string("https://push.example"),
                    "exp": .integer(now.seconds + 43_200),
                    "sub": .string("mailto:admin@example.org"),
                ]))
        #expect(signature.count == 64)
    }

    @Test("It is signed once for an origin, anew in time, and never with a wrong clock")
    func once() throws {
        let vapid = try VAPID(key: Keys.fresh(), contact: nil)
        func text(_ origin: String, _ time: PushTime) throws -> String {
            try vapid.authorization(for: origin, at: time)
        }
        let first = try text("https://a.example", now)
        #expect(try text("https://a.example", now.later(39_000)) == first)
        #expect(try text("https://b.example", now) != first)
        let second = try text("https://a.example", now.later(39_600))
        #expect(second != first)
        // The clock went back: what ends in more than 12 hours is refused.
        #expect(try text("https://a.example", now) != second)
        vapid.forget()
        #expect(try text("https://a.example", now) != first)
        let wrong = PushTime(seconds: now.seconds, isRight: false)
        #expect(fault { _ = try text("https://a.example", wrong) } == PushFault.clock.answer)
    }

    @Test("So many origins are kept, and no more")
    func bound() throws {
        let vapid = try VAPID(key: Keys.fresh(), contact: nil)
        let first = try vapid.authorization(for: "https://0.example", at: now)
        for number in 1...Int64(VAPID.mostTokens) {
            _ = try vapid.authorization(for: "https://\(number).example", at: now.later(number))
        }
        let last = "https://\(VAPID.mostTokens).example"
        let kept = try vapid.authorization(for: last, at: now.later(64))
        #expect(try vapid.authorization(for: last, at: now.later(64)) == kept)
        #expect(try vapid.authorization(for: "https://0.example", at: now.later(64)) != first)
    }

    @Test("The key is made once and kept; one that cannot be read is not replaced")
    func key() throws {
        let memory = PlayedMemory()
        let key = try VAPID.key("vapid", in: memory)
        #expect(try VAPID.key("vapid", in: memory).publicPoint == key.publicPoint)
        memory.save("vapid", Array("hunter2".utf8))
        let error = #expect(throws: PushCredentialError.self) {
            _ = try VAPID.key("vapid", in: memory)
        }
        #expect(error?.description.contains("hunter2") == false)
    }

    @Test("A contact is an address that others can reach")
    func contacts() {
        for good in ["mailto:a@example.org", "https://example.org/contact"] {
            #expect(VAPID.problem(ofContact: good) == nil)
        }
        for bad in [
            "", "a@example.org", "mailto:", "mailto:@", "mailto:a@", "http://example.org",
            "https://localhost/", "mailto:root@localhost", "https://", "mailto:a@ex ample.org",
        ] {
            #expect(VAPID.problem(ofContact: bad) != nil, "\(bad)")
        }
    }
}

@Suite struct WebPushTests {
    let target = PushTarget(
        "https://Push.Example:8443/v2/secret?x=1",
        ["p256dh": WebPushEncryptionTests.point, "auth": WebPushEncryptionTests.secret])

    func provider(allowsHTTP: Bool = false) throws -> WebPush {
        WebPush(vapid: try VAPID(key: Keys.fresh(), contact: nil), allowsHTTP: allowsHTTP)
    }

    @Test("A request has the fields of RFC 8030")
    func request() throws {
        let provider = try provider()
        #expect(provider.problem(of: target) == nil)
        #expect(provider.circuit(of: target) == "https://push.example:8443")
        let request = try provider.request(notification(lifetime: 90), to: target, at: now)
        #expect(request.isToUsersHost)
        #expect(!request.needsHTTP2)
        #expect(request.request.url == target.token)
        #expect(request.header("ttl") == "90")
        #expect(request.header("urgency") == "normal")
        #expect(request.header("topic")?.utf8.count == 32)
        #expect(request.header("content-encoding") == "aes128gcm")
        #expect(request.request.body.count > 103)
        let token = try #require(
            request.header("authorization")?.dropFirst(8).split(separator: ",").first)
        let claims = try #require(parts(of: String(token))).claims
        #expect(claims["aud"]?.text == "https://push.example:8443")
        #expect(claims["sub"] == nil)
        let call = try provider.request(notification(.call, lifetime: -1), to: target, at: now)
        #expect(call.header("urgency") == "high")
        #expect(call.header("ttl") == "0")
        let long = try provider.request(
            notification(body: String(repeating: "é", count: 9000), lifetime: .max), to: target,
            at: now)
        #expect((3900...4096).contains(long.request.body.count))
        #expect(long.header("ttl") == "2419200")
    }

    static let statuses: [(Int, PushOutcome, PushReason)] = [
        (200, .accepted, .accepted), (201, .accepted, .accepted), (202, .accepted, .accepted),
        (204, .accepted, .accepted),
        (400, .rejected, .request),
        (401, .authorizationExpired(.expired), .credentialExpired),
        (403, .rejected, .credentialRefused),
        (404, .invalidToken(.token, since: nil), .unregistered),
        (410, .invalidToken(.token, since: nil), .unregistered),
        (413, .rejected, .tooLarge),
        (429, .retry(.device, after: .seconds(5)), .rate),
        (302, .retry(.device, after: .seconds(5)), .redirection),
        (500, .retry(.circuit, after: .seconds(5)), .unavailable),
        (503, .retry(.circuit, after: .seconds(5)), .unavailable),
        (0, .retry(.device, after: nil), .garbage),
    ]

    @Test("Every status has its outcome", arguments: statuses)
    func everyStatus(status: Int, outcome: PushOutcome, reason: PushReason) throws {
        for body in garbage {
            let judged = try provider().judge(
                answer(status, body, [("Retry-After", "5")]), to: target, at: now)
            #expect(judged.outcome == outcome)
            #expect(judged.reason == reason)
        }
    }

    @Test("Endpoints are URLs with TLS and nothing hidden in them")
    func endpoints() throws {
        let provider = try provider()
        for bad in [
            "", "push.example", "http://push.example/x", "ftp://push.example/", "https://",
            "https:///x", "https://user@push.example/", "https://push.example/#x",
            "https://push.example:0/", "https://push.example:99999/", "https://push.example:/",
            "https://push example/", "https://push.example/\r\nHost: x", "https://push..example/",
            "https://push.example\\@127.0.0.1/", "https://[::1", "https://[::g]/",
            "https://é.example",
            "https://push.example/" + String(repeating: "x", count: 2048),
        ] {
            let target = PushTarget(bad, target.parameters)
            #expect(provider.problem(of: target) != nil, "\(bad)")
            #expect(fault { _ = try provider.request(notification(), to: target, at: now) } != nil)
        }
        let plain = PushTarget("http://[::1]:8080/x", target.parameters)
        #expect(try self.provider(allowsHTTP: true).problem(of: plain) == nil)
        #expect(provider.circuit(of: plain) == "http://[::1]:8080")
    }
}
