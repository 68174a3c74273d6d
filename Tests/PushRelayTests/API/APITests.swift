// The interface for programs apart from HTTP: tokens and what they allow, the document.

import Foundation
import Testing

@testable import PushRelay

@Suite("The interface for programs") struct APITests {
    private func token(rate: Int = 60, expires: Int64? = nil) -> (APIToken, header: String) {
        let text = APIToken.make()
        return (
            APIToken(
                id: 1, name: "a", digest: APIToken.digest(text), scopes: [.send], rate: rate,
                created: 0, expires: expires), "Bearer \(text)"
        )
    }

    private func at(_ seconds: Int64) -> PushMoment {
        PushMoment(monotonic: seconds * 1000, wall: seconds * 1000)
    }

    private func refusal(_ tokens: APITokens, _ header: String?, _ seconds: Int64)
        -> APITokens.Refusal?
    {
        if case .failure(let refusal) = tokens.take(header, now: at(seconds)) { return refusal }
        return nil
    }

    @Test("A token is good until its end, and not without its scheme (RFC 6750 section 2.1)")
    func expiry() {
        let tokens = APITokens()
        let (token, header) = token(expires: 100)
        tokens.insert(token)
        #expect(refusal(tokens, header, 99) == nil)
        #expect(refusal(tokens, header.replacing("Bearer", with: "bearer"), 99) == nil)
        #expect(refusal(tokens, header, 100) == .expired)
        #expect(refusal(tokens, nil, 1) == .missing)
        #expect(refusal(tokens, "Basic abc", 1) == .missing)
        #expect(refusal(tokens, header + "x", 1) == .unknown)
        tokens.remove(token.digest)
        #expect(refusal(tokens, header, 1) == .unknown)
    }

    @Test("A token's requests have a rate, which fills again")
    func rate() {
        let tokens = APITokens()
        let (token, header) = token(rate: 2)
        tokens.insert(token)
        #expect(refusal(tokens, header, 1000) == nil)
        #expect(refusal(tokens, header, 1000) == nil)
        #expect(refusal(tokens, header, 1000) == .rate(seconds: 31))
        #expect(refusal(tokens, header, 1031) == nil)
    }

    @Test("That a token was used is written down once a minute")
    func used() {
        let tokens = APITokens()
        let (token, header) = token()
        tokens.insert(token)
        let noted = ([0, 10, 59, 60, 61] as [Int64]).map { second -> Bool in
            guard case .success(let taken) = tokens.take(header, now: at(second)) else {
                return false
            }
            return taken.isNoted
        }
        #expect(noted == [true, false, false, true, false])
    }

    @Test("The document is JSON, whole, and every reference in it leads somewhere")
    func document() throws {
        let json = OpenAPIDocument.json
        #expect(json["openapi"] == .string("3.1.0"))
        let text = String(decoding: json.bytes, as: UTF8.self)
        let paths = try #require(json["paths"])
        guard case .object(let found) = paths else { return }
        #expect(found.count == 8)
        for match in text.matches(of: /"\$ref":"#\/components\/(\w+)\/(\w+)"/) {
            let target = json["components"]?[String(match.1)]?[String(match.2)]
            #expect(target != nil, "\(match.0)")
        }
    }

    @Test("A problem is what RFC 9457 section 3 has")
    func problem() throws {
        let answer = APIProblem(.invalid, "x", [.init(pointer: "/to", detail: "y")]).answer
        #expect(answer.status == 422)
        let json = try #require(JSONValue(answer.body))
        #expect(json["status"] == .integer(422) && json["detail"] == .string("x"))
        #expect(json["type"] == .string("urn:kinglet:problem:invalid"))
        #expect(json["errors"]?.elements.first?["pointer"] == .string("/to"))
        #expect(answer.headers.contains { $0 == ("Content-Type", "application/problem+json") })
        for kind in APIProblem.Kind.allCases { #expect((400..<600).contains(kind.status)) }
    }

    @Test(
        "A number of a badge is absolute, with a sign it is so many more",
        arguments: [
            ("5", PushContent.Badge.set(5)), ("0", .set(0)), ("\"+3\"", .add(3)),
            ("\"-3\"", .add(-3)),
        ])
    func badge(text: String, badge: PushContent.Badge) throws {
        let json = try #require(
            JSONValue(Array("{\"to\":{\"all\":true},\"badge\":\(text)}".utf8)))
        let request = try TaskRequest(json, lifetime: 60, isLocal: { _ in true })
        #expect(request.task.badge == badge)
    }

    @Test("The dedupe key is no part of what is asked for")
    func digest() throws {
        func digest(_ text: String) throws -> [UInt8] {
            let json = try #require(JSONValue(Array(text.utf8)))
            return try TaskRequest(json, lifetime: 60, isLocal: { _ in true }).digest
        }
        let one = try digest(#"{"to":{"all":true},"title":"x","dedupe_key":"a"}"#)
        #expect(try digest(#"{"dedupe_key":"b","title":"x","to":{"all":true}}"#) == one)
        #expect(try digest(#"{"to":{"all":true},"title":"y","dedupe_key":"a"}"#) != one)
    }

    @Test("A query has only what is known, each once")
    func query() throws {
        let request = APIRequest(query: "after=3&limit=%31%30")
        let fields = try request.fields(["after", "limit"])
        #expect(fields == ["after": "3", "limit": "10"])
        for query in ["x=1", "after=1&after=2", "after=%zz", "after=%ff"] {
            #expect(throws: APIProblem.self) {
                try APIRequest(query: query).fields(["after", "limit"])
            }
        }
        for text in ["-1", "+1", "x", "", "99999999999999999999"] {
            #expect(throws: APIProblem.self) {
                try APIRequest.number(text, "after", in: 0...9, default: 0)
            }
        }
    }

    // MARK: Garbage

    /// Changes a text here and there, the same for the same seed.
    private struct Damage {
        var state: UInt64

        mutating func next(_ limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % max(1, limit)
        }

        mutating func damage(_ bytes: [UInt8]) -> [UInt8] {
            var bytes = bytes
            let words = [
                "-1", "1e400", "99999999999999999999", "null", "[]", "{}", "\"+9\"", "true",
            ]
            for _ in 0...next(3) {
                let place = next(bytes.count)
                switch next(4) {
                case 0: bytes[place] = UInt8(next(256))
                case 1: bytes.remove(at: place)
                case 2: bytes.insert(UInt8(next(128)), at: place)
                default: bytes.insert(contentsOf: words[next(words.count)].utf8, at: place)
                }
            }
            return bytes
        }
    }

    @Test("Whatever a body says, it is taken or refused", arguments: 1...4)
    func garbage(seed: Int) {
        let task =
            #"{"to":{"users":["a@b.c"],"devices":[{"user":"a@b","device":"x"}],"tags":["t"]},"title":"T","#
            + #""badge":"+1","ttl":5,"data":{"a":[1]},"vendor":{"fcm":{"a":1}},"dedupe_key":"k"}"#
        let device =
            #"{"tokens":[{"provider":"huawei","token":"t","parameters":{"auth":"x"}}],"tags":["a"],"#
            + #""alias":"b","badge":3,"resource":"r"}"#
        let receipts = #"{"statuses":[{"token":"a","biTag":"task-1","status":0}]}"#
        var damage = Damage(state: UInt64(seed))
        for _ in 0..<3000 {
            if let json = JSONValue(damage.damage(Array(task.utf8))) {
                _ = try? TaskRequest(json, lifetime: 60, isLocal: { $0 == "b.c" })
            }
            if let json = JSONValue(damage.damage(Array(device.utf8))) {
                _ = try? DeviceRequest(json)
            }
            for kind in ProviderKind.allCases {
                _ = Receipt.read(damage.damage(Array(receipts.utf8)), of: kind)
            }
        }
    }
}
