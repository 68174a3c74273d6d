// What telephones' makers are sent, beyond what their fakes look at: signatures against known values,
// texts at their limits, tokens and clocks. What their codes mean is in `Tests/Clients/push_codes_vendors.py`.

import Foundation
import HTTPClient
import Options
import TLS
import Testing

@testable import PushRelay

@Suite struct MakerTests {
    static let secret = "s3cret"
    let target = PushTarget("device-1")

    private func provider<Provider: ConfiguredProvider>(
        _ type: Provider.Type, _ fields: String = ""
    ) throws -> Provider {
        let text =
            "push:\n  apps: [{name: app, provider: \(type.kind.rawValue), secret_file: /s, "
            + "\(fields)}]\n"
        let (options, problem) = try options(text)
        #expect(problem == nil)
        let record = try #require(options.records.value.first)
        return try type.init(
            record, memory: PlayedMemory(), read: { _ in Array("\(Self.secret)\n".utf8) })
    }

    private func form(_ request: PushRequest) -> [String: String] {
        var fields: [String: String] = [:]
        for pair in String(decoding: request.request.body, as: UTF8.self).split(separator: "&") {
            let parts = pair.split(separator: "=", omittingEmptySubsequences: false)
            fields[String(parts[0])] = String(parts[1]).removingPercentEncoding
        }
        return fields
    }

    // MARK: Signatures

    @Test("MD5 is that of RFC 1321 appendix A.5")
    func md5() throws {
        for (text, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
        ] {
            #expect(HexDigits.text(try #require(MD5.hash(Array(text.utf8)))) == digest)
        }
    }

    @Test("OPPO's and vivo's logins are signed with the time, and not before that is right")
    func logins() throws {
        let oppo = try provider(OPPO.self, "app_key: key")
        let first = form(try #require(try oppo.authorization(at: now)))
        #expect(first["timestamp"] == "1780000000000")
        // printf 'key1780000000000s3cret' | sha256sum
        #expect(
            first["sign"]
                == "0f849ff8c25eef3f4e40f057e7e94440ad3cd31cd3a431e4da50c9829aa6f77f")
        let vivo = try provider(Vivo.self, "app_id: '10004', app_key: key")
        let json = try #require(try vivo.authorization(at: now)?.json)
        #expect(json["appId"] == .integer(10004))
        // printf '10004key1780000000000s3cret' | md5sum
        #expect(json["sign"]?.text == "1089da824a4c4401ae0591ab8d98596b")
        let wrong = PushTime(seconds: 0, isRight: false)
        #expect(fault { _ = try oppo.authorization(at: wrong) } == PushFault.clock.answer)
        #expect(fault { _ = try vivo.authorization(at: wrong) } == PushFault.clock.answer)
    }

    @Test("Meizu's signature is of the fields as they are, not as they are escaped")
    func meizu() throws {
        let meizu = try provider(Meizu.self, "app_id: '7'")
        let request = try meizu.request(
            notification(sender: "李 & Ü=1", body: "中文 😀"), to: target, at: now)
        let fields = form(request)
        let message = try #require(fields["messageJson"])
        #expect(message.contains("李 & Ü=1") && message.contains("中文 😀"))
        let signed = "appId=7messageJson=\(message)pushIds=device-1\(Self.secret)"
        #expect(fields["sign"] == MD5.hash(Array(signed.utf8)).map { HexDigits.text($0) })
    }

    @Test("A clock that is far from vivo's is no reason to call the secret bad")
    func vendorClock() throws {
        let vivo = try provider(Vivo.self, "app_id: '10004', app_key: key")
        let refusal = "{\"result\":10000,\"desc\":\"\"}"
        let date = [(name: "Date", value: "Thu, 28 May 2026 20:26:40 GMT")]
        let near = vivo.authorize(answer(200, refusal), at: now)
        #expect(near.outcome == .authorizationExpired(.refused))
        let far = vivo.authorize(answer(200, refusal, date), at: now.later(900))
        #expect(far == PushAnswer(.retry(.circuit, after: nil), .clock, code: "10000"))
    }

    // MARK: Texts

    @Test("A text is cut between characters, and counted as its maker counts")
    func cut() {
        #expect(PushNotification.cut("abc", units: 3) == "abc")
        #expect(PushNotification.cut("abcd", units: 3) == "ab…")
        #expect(PushNotification.cut("a😀b", units: 4) == "a😀b")
        #expect(PushNotification.cut("a😀bc", units: 4) == "a😀…")
        #expect(PushNotification.cut("a😀bc", units: 3) == "a…")
        #expect(PushNotification.cut("👩‍👩‍👧‍👦x", units: 8) == "…", "a family stays together")
        #expect(PushNotification.cut("汉字汉字", units: 8, wide: 2) == "汉字汉字")
        #expect(PushNotification.cut("汉字汉字a", units: 8, wide: 2) == "汉字汉…")
        #expect(PushNotification.cut("", units: 5) == "")
    }

    @Test("Whatever is written fits where it goes", arguments: ["x", "汉", "😀", "é", "\"", "\n"])
    func fits(unit: String) throws {
        let long = String(repeating: unit, count: 5000)
        let message = notification(sender: long, body: long)
        let ready = try providers()
        for provider in ready {
            let request = try provider.request(message, to: target, at: now)
            #expect(request.request.body.count < 4 * 4096, "\(provider.kind)")
        }
        let xiaomi = form(
            try provider(Xiaomi.self, "package: a.b").request(
                message, to: target, at: now))
        #expect(try #require(xiaomi["title"]).utf16.count < 50)
        #expect(try #require(xiaomi["description"]).utf16.count < 128)
        #expect(try #require(xiaomi["payload"]).utf8.count < 4096)
    }

    /// One of each, with an access token where that is needed.
    private func providers() throws -> [any PushProvider] {
        let made: [any PushProvider] = [
            try provider(Huawei.self, "app_id: '1'"), try provider(Honor.self, "app_id: '1'"),
            try provider(Xiaomi.self, "package: a.b"), try provider(OPPO.self, "app_key: k"),
            try provider(Vivo.self, "app_id: '1', app_key: k"),
            try provider(Meizu.self, "app_id: '1'"),
        ]
        let login =
            "{\"access_token\":\"t\",\"expires_in\":3600,\"token_type\":\"Bearer\",\"code\":0,"
            + "\"result\":0,\"authToken\":\"t\",\"data\":{\"auth_token\":\"t\"}}"
        for provider in made where try provider.authorization(at: now) != nil {
            #expect(provider.authorize(answer(200, login), at: now).outcome == .accepted)
            #expect(try provider.authorization(at: now) == nil)
        }
        return made
    }

    // MARK: Tokens and answers

    @Test("What cannot be a token is not sent", arguments: ["", "a b", "a,b", "ü", "a\n"])
    func badTokens(token: String) throws {
        for provider in try providers() {
            #expect(provider.problem(of: PushTarget(token)) != nil)
            let answer = fault {
                _ = try provider.request(notification(), to: PushTarget(token), at: now)
            }
            #expect(answer?.outcome == .invalidToken(.token, since: nil))
        }
    }

    @Test("Garbage is neither a success nor the end of a device, and repeats no token")
    func garbageAnswers() throws {
        for provider in try providers() {
            for text in garbage {
                for status in [200, 404, 500] {
                    let found = provider.judge(answer(status, text), to: target, at: now)
                    #expect(found.outcome != .accepted, "\(provider.kind) \(status) \(text)")
                    if case .invalidToken = found.outcome { Issue.record("\(provider.kind)") }
                }
                #expect(
                    provider.authorize(answer(200, text), at: now).outcome != .accepted
                        || provider.kind == .xiaomi || provider.kind == .meizu)
            }
            let echo = "{\"code\":\"\(target.token)\",\"result\":\"\(target.token)\"}"
            let found = provider.judge(answer(200, echo), to: target, at: now)
            #expect(!found.code.contains(target.token))
        }
    }

    @Test("A quota of a day is over at midnight in China")
    func midnight() {
        var deliveries = Deliveries(DeliveryLimits())
        let now = PushMoment(monotonic: 0, wall: 1_780_000_000_000)
        _ = deliveries.add(
            .of(1, provider: .vivo, circuit: "vivo:app"), due: now.wall, now: now)
        for item in deliveries.takeReady(now: now) {
            _ = deliveries.finish(
                item, PushAnswer(.quotaOfDay, .quota), random: 0.5, now: now)
        }
        let day: Int64 = 86_400_000
        let beijing = (now.wall + 8 * 3_600_000) % day
        #expect(deliveries.nextWake(now: now) == day - beijing)
    }

    // MARK: Forms

    @Test("A form escapes every byte that is not unreserved (RFC 3986 section 2.3)")
    func forms() {
        let text = String(
            decoding: FormText.bytes([("a b", "é&=+~-._"), ("c", "")]), as: UTF8.self)
        #expect(text == "a%20b=%C3%A9%26%3D%2B~-._&c=")
    }

    // MARK: Several at once

    private static let many = [PushTarget("a"), PushTarget("b"), PushTarget("c")]

    @Test("One request is for a thousand, or a hundred; of the others each has its own")
    func batchSizes() throws {
        let sizes = try providers().map { ($0.kind, $0.batchSize) }
        #expect(
            Dictionary(uniqueKeysWithValues: sizes) == [
                .huawei: 1000, .honor: 1000, .xiaomi: 1000, .oppo: 1000, .vivo: 1, .meizu: 100,
            ])
    }

    @Test("Of several, those that a maker names are gone, and the others have it")
    func severalAnswers() throws {
        let answers: [ProviderKind: String] = [
            .huawei:
                #"{"code":"80100000","msg":"{\"illegal_tokens\":[\"b\"],\"success\":2}"}"#,
            .honor: #"{"code":200,"data":{"sendResult":true,"expireTokens":["b"]}}"#,
            .xiaomi: #"{"result":"ok","code":0,"data":{"bad_regids":"b"}}"#,
            .oppo:
                #"{"code":0,"data":[{"registrationId":"b","errorCode":10000},{"registrationId":"a","errorCode":0}]}"#,
            .meizu: #"{"code":"200","value":{"110002":["b"]}}"#,
        ]
        for provider in try providers() {
            guard let text = answers[provider.kind] else { continue }
            let judged = provider.judge(answer(200, text), to: Self.many, at: now)
            #expect(judged[0].outcome == .accepted, "\(provider.kind)")
            #expect(
                judged[1].outcome == .invalidToken(.token, since: nil), "\(provider.kind)")
            #expect(judged[2].outcome == .accepted, "\(provider.kind)")
        }
    }

    @Test("An answer about a thousand is read to its end")
    func longAnswer() throws {
        let tokens = (0..<1000).map { PushTarget(String(repeating: "t", count: 200) + "\($0)") }
        let bad = tokens.map { "\"\($0.token)\"" }.joined(separator: ",")
        let huawei = try #require(try providers().first { $0.kind == .huawei })
        let list = "{\"illegal_tokens\":[\(bad)]}".replacing("\"", with: "\\\"")
        let judged = huawei.judge(
            answer(200, "{\"code\":\"80100000\",\"msg\":\"\(list)\"}"), to: tokens, at: now)
        #expect(judged.others.count == 1000)
        let request = try huawei.request(notification(body: "x"), to: tokens, at: now)
        #expect(request.longestAnswer > list.utf8.count)
    }

    // MARK: OPPO

    @Test(
        "The beginning of a registration id says where OPPO's telephone was sold",
        arguments: [
            ("0123abc", false), ("CN_0123", false), ("OPPO_CN_0123", false), ("IN_0123", true),
            ("OPPO_IN_0123", true), ("OPPO_0123", false), ("ab_0123", false),
        ])
    func abroad(token: String, isAbroad: Bool) throws {
        let oppo = try provider(OPPO.self, "app_key: k")
        let target = PushTarget(token)
        #expect(OPPO.isFromAbroad(token) == isAbroad)
        #expect(oppo.circuit(of: target) == (isAbroad ? "app abroad" : "app"))
        let request = try #require(try oppo.serving(target).authorization(at: now))
        #expect(request.request.url.contains("api-intl") == isAbroad)
    }

    @Test("A template stands for the text of a private message")
    func template() throws {
        let oppo = try provider(OPPO.self, "app_key: k, template_id: '17'")
        _ = oppo.authorize(answer(200, #"{"code":0,"data":{"auth_token":"t"}}"#), at: now)
        let message = try #require(
            form(try oppo.request(notification(body: "secret"), to: target, at: now))["message"])
        #expect(message.contains("\"private_msg_template_id\":\"17\""))
        #expect(!message.contains("secret") && !message.contains("\"title\""))
    }

    // MARK: What programs tell

    private func told(_ extras: [ProviderKind: [String: JSONValue]] = [:]) -> PushNotification {
        var notification = PushNotification(
            .notification, identifier: [1], account: "", collapse: [9, 9, 9, 9],
            sender: "Title", body: "Text", lifetime: 60)
        notification.content = PushContent(
            data: ["door": .integer(3)], badge: .add(2), isHigh: true, extras: extras)
        notification.receipt = PushReceiptAddress(
            url: "https://chat.example.org/push/receipts/x", reference: "task-7")
        return notification
    }

    @Test("Whom a message is for is no program's business")
    func extras() throws {
        let stolen: [String: JSONValue] = [
            "token": .string("stolen"), "registration_id": .string("stolen"),
            "regId": .string("stolen"), "restricted_package_name": .string("stolen"),
            "mark": .string("kept"),
        ]
        let kinds = ProviderKind.allCases
        let told = told(Dictionary(uniqueKeysWithValues: kinds.map { ($0, stolen) }))
        for provider in try providers() {
            let body = try provider.request(told, to: [target], at: now).request.body
            let text = String(decoding: body, as: UTF8.self)
            #expect(text.contains("device-1") && text.contains("kept"), "\(provider.kind)")
            switch provider.kind {
            case .oppo, .meizu: break
            case .huawei, .honor: #expect(!text.contains("\"token\":\"stolen\""))
            case .xiaomi: #expect(!text.contains("registration_id=stolen"))
            default: #expect(!text.contains("\"regId\":\"stolen\""))
            }
        }
    }

    @Test("Makers that call back are told where, and what to say")
    func receipts() throws {
        for provider in try providers() {
            let body = try provider.request(told(), to: [target], at: now).request.body
            let text = String(decoding: body, as: UTF8.self)
            #expect(text.contains("task-7"), "\(provider.kind)")
            let isPerMessage = Receipt.way(of: provider.kind) == .perMessage
            #expect(text.contains("receipts") == isPerMessage, "\(provider.kind)")
        }
    }

    @Test("A count on the icon is more of it, where the maker counts itself")
    func badge() throws {
        let huawei = try provider(Huawei.self, "app_id: '1', badge_class: org.example.Main")
        _ = huawei.authorize(answer(200, #"{"access_token":"t","expires_in":3600}"#), at: now)
        let request = try huawei.request(told(), to: [target], at: now)
        let badge = try #require(
            request.json?["message"]?["android"]?["notification"]?["badge"])
        #expect(badge["add_num"] == .integer(2) && badge["class"]?.text == "org.example.Main")
    }

    @Test("What there is nothing to see of is not for those that only show")
    func nothingToShow() throws {
        var silent = told()
        (silent.sender, silent.body, silent.isVisible) = (nil, nil, false)
        for provider in try providers() {
            let onlyShows = [.oppo, .vivo, .meizu].contains(provider.kind)
            let answer = fault { _ = try provider.request(silent, to: target, at: now) }
            #expect((answer?.outcome == .rejected) == onlyShows, "\(provider.kind)")
        }
    }
}
