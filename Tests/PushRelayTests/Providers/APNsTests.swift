// Apple's reasons, headers and limits, and the token that is signed once.

import HTTPClient
import TLS
import Testing

@testable import PushRelay

@Suite struct APNsTests {
    static let token = String(repeating: "0a", count: 32)
    static let callToken = String(repeating: "0b", count: 32)
    let target = PushTarget(token)

    func provider(
        _ environment: APNs.Environment = .production, memory: any PushMemory = PlayedMemory(),
        key: SigningKey? = nil
    ) throws -> APNs {
        APNs(
            app: "chat", key: try key ?? Keys.fresh(), keyID: "ABCDEF1234", teamID: "TEAMID1234",
            topic: "org.example.chat", environment: environment, memory: memory)
    }

    static func error(_ reason: String) -> String { "{\"reason\":\"\(reason)\"}" }

    static let reasons: [(Int, String, PushOutcome, PushReason)] =
        [
            (400, "BadDeviceToken", .invalidToken(.environment, since: nil), .badToken),
            (400, "DeviceTokenNotForTopic", .invalidToken(.app, since: nil), .otherApp),
            (410, "Unregistered", .invalidToken(.token, since: nil), .unregistered),
            (410, "ExpiredToken", .invalidToken(.token, since: nil), .unregistered),
            (403, "ExpiredProviderToken", .authorizationExpired(.expired), .credentialExpired),
            (429, "TooManyRequests", .retry(.device, after: nil), .rate),
            (
                429, "TooManyProviderTokenUpdates", .retry(.circuit, after: .seconds(1200)), .rate
            ),
            (500, "InternalServerError", .retry(.circuit, after: nil), .unavailable),
            (503, "ServiceUnavailable", .retry(.circuit, after: nil), .unavailable),
            (503, "Shutdown", .retry(.circuit, after: nil), .unavailable),
            (400, "IdleTimeout", .retry(.circuit, after: nil), .unavailable),
            (413, "PayloadTooLarge", .rejected, .tooLarge),
        ]
        + [
            "InvalidProviderToken", "MissingProviderToken", "BadCertificate",
            "BadCertificateEnvironment", "UnrelatedKeyIdInToken", "BadEnvironmentKeyInToken",
            "BadEnvironmentKeyIdInToken",
        ].map { (403, $0, .authorizationExpired(.refused), .credentialRefused) }
        + [
            (400, "BadCollapseId"), (400, "BadExpirationDate"), (400, "BadMessageId"),
            (400, "BadPriority"), (400, "BadTopic"), (400, "DuplicateHeaders"),
            (400, "InvalidPushType"), (400, "MissingDeviceToken"), (400, "MissingTopic"),
            (400, "PayloadEmpty"), (400, "TopicDisallowed"), (403, "Forbidden"),
            (404, "BadPath"), (405, "MethodNotAllowed"),
        ].map { ($0.0, $0.1, .rejected, .request) }

    @Test("Every reason of Apple's has its outcome", arguments: reasons)
    func everyReason(
        status: Int, reason: String, outcome: PushOutcome, why: PushReason
    ) throws {
        let provider = try provider()
        let judged = provider.judge(answer(status, Self.error(reason)), to: target, at: now)
        #expect(judged == PushAnswer(outcome, why, code: reason))
    }

    @Test("An empty 200 is a success, and only that")
    func success() throws {
        let provider = try provider()
        #expect(provider.judge(answer(200), to: target, at: now).outcome == .accepted)
        let odd = provider.judge(answer(200, Self.error("BadTopic")), to: target, at: now)
        #expect(odd == PushAnswer(.retry(.circuit, after: nil), .garbage, code: "200"))
    }

    @Test("The time since which a token is gone comes in milliseconds")
    func since() throws {
        let provider = try provider()
        func since(_ text: String) -> PushOutcome {
            provider.judge(
                answer(410, "{\"reason\":\"Unregistered\",\"timestamp\":\(text)}"), to: target,
                at: now
            ).outcome
        }
        #expect(since("1779999999123") == .invalidToken(.token, since: 1_779_999_999))
        #expect(since("9999999999999") == .invalidToken(.token, since: now.seconds))
        for odd in ["-1", "0", "\"1779999999123\"", "1.5", "[]", "null"] {
            #expect(since(odd) == .invalidToken(.token, since: nil), "\(odd)")
        }
    }

    @Test("Other answers go by their status, and no garbage ends a device", arguments: garbage)
    func odd(body: String) throws {
        let provider = try provider()
        for status in [0, 100, 200, 201, 302, 400, 404, 410, 418, 429, 500, 599, 999, -1] {
            let judged = provider.judge(answer(status, body), to: target, at: now)
            if case .invalidToken = judged.outcome { Issue.record("\(status) \(judged)") }
            #expect((judged.outcome == .accepted) == (status == 200 && body.isEmpty))
            if status == 302 { #expect(judged.reason == .redirection) }
        }
    }

    @Test("Retry-After is honoured, and an unknown word that could be the token is not shown")
    func unknown() throws {
        let provider = try provider()
        let busy = provider.judge(
            answer(503, Self.error("ServiceUnavailable"), [("retry-after", "30")]), to: target,
            at: now)
        #expect(busy.outcome == .retry(.circuit, after: .seconds(30)))
        let new = provider.judge(answer(400, Self.error("NewReason")), to: target, at: now)
        #expect(new == PushAnswer(.rejected, .request, code: "NewReason"))
        let echo = PushTarget(String(repeating: "ab", count: 32))
        let told = provider.judge(answer(400, Self.error("ababab")), to: echo, at: now)
        #expect(told.code == "400")
    }

    @Test("A visible message has the headers and the payload of an alert")
    func alert() throws {
        let request = try provider().request(
            notification(channel: "c4", unread: 3), to: target, at: now)
        #expect(request.needsHTTP2)
        #expect(!request.isToUsersHost)
        #expect(request.request.method == "POST")
        #expect(request.request.url == "https://api.push.apple.com/3/device/\(Self.token)")
        #expect(request.header("apns-topic") == "org.example.chat")
        #expect(request.header("apns-push-type") == "alert")
        #expect(request.header("apns-priority") == "10")
        #expect(request.header("apns-expiration") == String(now.seconds + 3600))
        #expect(request.header("apns-id") == "00010203-0405-0607-0809-0a0b0c0d0e0f")
        #expect((1...64).contains(request.header("apns-collapse-id")?.utf8.count ?? 0))
        let aps = try #require(request.json?["aps"])
        #expect(aps["mutable-content"]?.whole == 1)
        #expect(aps["content-available"] == nil)
        #expect(aps["badge"]?.whole == 3)
        #expect(aps["alert"]?["body"]?.text == "3 unread messages")
        #expect(aps["alert"]?["title"] == nil)
        #expect(request.json?["account"]?.text == "a1b2c3")
        #expect(request.json?["channel"]?.text == "c4")
    }

    @Test("A wake-up is of the background: priority 5, nothing to see")
    func background() throws {
        let request = try provider(.sandbox).request(
            notification(unread: 3, isVisible: false, lifetime: 0), to: target, at: now)
        #expect(request.request.url.hasPrefix("https://api.sandbox.push.apple.com/"))
        #expect(request.header("apns-push-type") == "background")
        #expect(request.header("apns-priority") == "5")
        #expect(request.header("apns-expiration") == "0")
        #expect(request.json?["aps"] == .object(["content-available": .integer(1)]))
    }

    @Test("Calls go to the token for calls, with its topic, and so do their ends")
    func calls() throws {
        let provider = try provider()
        let target = PushTarget(Self.token, ["voip_token": Self.callToken])
        for kind in [PushNotification.Kind.call, .callEnded] {
            let request = try provider.request(
                notification(kind, sender: "Juliet"), to: target, at: now)
            #expect(request.request.url.hasSuffix("/3/device/\(Self.callToken)"))
            #expect(request.header("apns-topic") == "org.example.chat.voip")
            #expect(request.header("apns-push-type") == "voip")
            #expect(request.header("apns-priority") == "10")
            #expect(request.json?["sender"]?.text == "Juliet")
        }
        let message = try provider.request(notification(), to: target, at: now)
        #expect(message.request.url.hasSuffix(Self.token))
        let call = try provider.request(notification(.call), to: self.target, at: now)
        #expect(call.header("apns-push-type") == "alert")
    }

    @Test("A payload fits, whatever is written, and is cut between characters")
    func limits() throws {
        let provider = try provider()
        let bodies = [
            String(repeating: "x", count: 9000), String(repeating: "\u{1}", count: 5000),
            String(repeating: "👩‍👩‍👧‍👦", count: 1000), String(repeating: "é\"\\\n", count: 3000),
        ]
        for body in bodies {
            let long = notification(sender: String(body.prefix(2000)), body: body)
            let alert = try provider.request(long, to: target, at: now)
            #expect((3500...4096).contains(alert.request.body.count))
            let shown = try #require(alert.json?["aps"]?["alert"]?["body"]?.text)
            #expect(shown.hasSuffix("…"))
            #expect(body.unicodeScalars.starts(with: shown.unicodeScalars.dropLast()))
            var call = long
            call.kind = .call
            let voip = PushTarget(Self.token, ["voip_token": Self.callToken])
            let ringing = try provider.request(call, to: voip, at: now)
            #expect((4500...5120).contains(ringing.request.body.count))
        }
        var huge = notification()
        huge.account = String(repeating: "a", count: 5000)
        let tooLarge = fault { _ = try provider.request(huge, to: target, at: now) }
        #expect(tooLarge == PushAnswer(.rejected, .tooLarge))
    }

    @Test("Only hexadecimal digits can be a token")
    func targets() throws {
        let provider = try provider()
        #expect(provider.problem(of: target) == nil)
        for bad in [
            "", "0a", String(repeating: "zz", count: 32), Self.token + "0", "../" + Self.token,
        ] {
            #expect(provider.problem(of: PushTarget(bad)) != nil)
            let refused = fault {
                _ = try provider.request(notification(), to: PushTarget(bad), at: now)
            }
            #expect(refused?.outcome == .invalidToken(.token, since: nil))
        }
        #expect(provider.problem(of: PushTarget(Self.token, ["voip_token": "x"])) != nil)
        #expect(provider.circuit(of: target) == "chat")
        #expect(try self.provider(.sandbox).circuit(of: target) == "chat/sandbox")
    }
}

@Suite struct APNsTokenTests {
    let memory = PlayedMemory()

    func token(_ key: SigningKey, _ memory: any PushMemory) -> APNsToken {
        APNsToken(key: key, keyID: "ABCDEF1234", teamID: "TEAMID1234", memory: memory)
    }

    @Test("It says who signs and when, and no more")
    func claims() throws {
        let text = try token(Keys.fresh(), memory).text(at: now)
        let (header, claims, signature) = try #require(parts(of: text))
        #expect(header == .object(["alg": .string("ES256"), "kid": .string("ABCDEF1234")]))
        #expect(
            claims == .object(["iss": .string("TEAMID1234"), "iat": .integer(now.seconds)]))
        #expect(signature.count == 64)
    }

    @Test("It is signed once in 50 minutes, also over restarts and for two apps with one key")
    func once() throws {
        let key = try Keys.fresh()
        let one = token(key, memory)
        let first = try one.text(at: now)
        #expect(try one.text(at: now.later(2999)) == first)
        #expect(try token(key, memory).text(at: now.later(1)) == first)
        let second = try one.text(at: now.later(3000))
        #expect(second != first)
        #expect(try token(key, memory).text(at: now.later(3001)) == second)
        #expect(one.expiry == now.seconds + 6600)
    }

    @Test("Nothing is signed before the clock is right")
    func clock() throws {
        let token = token(try Keys.fresh(), memory)
        let wrong = PushTime(seconds: 0, isRight: false)
        #expect(fault { _ = try token.text(at: wrong) } == PushFault.clock.answer)
        #expect(memory.names.isEmpty)
    }

    @Test("One that is said to be expired is replaced, but not within 20 minutes")
    func refused() throws {
        let token = token(try Keys.fresh(), memory)
        let first = try token.text(at: now)
        token.refuse()
        let young = fault { _ = try token.text(at: now.later(200)) }
        #expect(young?.outcome == .retry(.circuit, after: .seconds(1000)))
        #expect(try token.text(at: now.later(1200)) != first)
    }

    @Test("After too many updates nothing is signed for 20 minutes, also after a restart")
    func quiet() throws {
        let key = try Keys.fresh()
        let token = token(key, memory)
        let first = try token.text(at: now)
        token.stopSigning(at: now.later(2900))
        // What is there is used as long as Apple takes it.
        #expect(try token.text(at: now.later(3100)) == first)
        let over = fault { _ = try token.text(at: now.later(3600)) }
        #expect(over?.outcome == .retry(.circuit, after: .seconds(500)))
        let restarted = self.token(key, memory)
        #expect(fault { _ = try restarted.text(at: now.later(3600)) } == over)
        #expect(try restarted.text(at: now.later(4100)) != first)
    }

    @Test("A clock that went back, or damage in the memory, stops nothing for ever")
    func damage() throws {
        let key = try Keys.fresh()
        let first = try token(key, memory).text(at: now.later(1_000_000))
        #expect(try token(key, memory).text(at: now) != first)
        for text in ["", "{", "[]", "{\"token\":\"x\",\"issued\":9223372036854775807}"] {
            memory.save("apns.TEAMID1234.ABCDEF1234", Array(text.utf8))
            #expect(throws: Never.self) { _ = try token(key, memory).text(at: now) }
        }
    }
}
