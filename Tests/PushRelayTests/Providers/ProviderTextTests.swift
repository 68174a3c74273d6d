// Small texts that providers read and write.

import Foundation
import HTTPClient
import Testing

@testable import PushRelay

@Suite struct ProviderTextTests {
    @Test("base64url (RFC 4648 section 5) both ways, with one text for the same bytes")
    func base64URL() {
        for (bytes, text) in [
            ([], ""), ([0x66], "Zg"), ([0x66, 0x6F], "Zm8"), ([0x66, 0x6F, 0x6F], "Zm9v"),
            ([0xFB, 0xFF, 0xFE], "-__-"),
        ] as [([UInt8], String)] {
            #expect(Base64URL.encode(bytes) == text)
            #expect(Base64URL.decode(text) == bytes)
        }
        let all = (0...255).map { UInt8($0) }
        #expect(Base64URL.decode(Base64URL.encode(all)) == all)
        #expect(Base64URL.decode("Zg==") == [0x66])
        for bad in ["Z", "Zh", "Zm9", "Z+8_", "Zm 8", "=", "====", "Zg=", "é"] {
            #expect(Base64URL.decode(bad) == nil, "\(bad)")
        }
    }

    @Test(
        "Retry-After is seconds or a date, a day at most (RFC 9110 section 10.2.3)",
        arguments: [
            ("0", 0), ("120", 120), (" 5 ", 5), ("86401", 86_400),
            ("99999999999999999999999999", 86_400),
            ("Thu, 28 May 2026 20:27:40 GMT", 60), ("Thursday, 28-May-26 20:27:40 GMT", 60),
            ("Thu May 28 20:27:40 2026", 60), ("Thu, 28 May 2020 20:27:40 GMT", 0),
            ("Thu, 28 May 9999 20:27:40 GMT", 86_400),
            ("", nil), ("-1", nil), ("1.5", nil), ("soon", nil),
            ("Thu, 28 Foo 2026 20:27:40 GMT", nil), ("Thu, 99 May 2026 20:27:40 GMT", nil),
            ("Thu, 28 May 2026 25:27:40 GMT", nil), ("Thu, 28 May 2026 20:27 GMT", nil),
            (String(repeating: "1", count: 65), nil),
        ])
    func retryAfter(text: String, seconds: Int?) {
        let response = answer(503, "", [("RETRY-AFTER", text)])
        #expect(RetryAfter.of(response, at: now) == seconds.map { .seconds($0) })
    }

    @Test("A date is compared with the server's clock where it tells the time")
    func serversClock() {
        let response = answer(
            503, "",
            [
                ("Date", "Thu, 28 May 2026 20:27:30 GMT"),
                ("Retry-After", "Thu, 28 May 2026 20:27:40 GMT"),
            ])
        #expect(RetryAfter.of(response, at: PushTime(seconds: 0)) == .seconds(10))
        #expect(RetryAfter.of(answer(503), at: now) == nil)
        #expect(RetryAfter.date("Sun, 06 Nov 1994 08:49:37 GMT") == 784_111_777)
        #expect(RetryAfter.date("Thu, 29 Feb 2024 00:00:00 GMT") == 1_709_164_800)
    }

    @Test("An URL's origin has no port that goes without saying (RFC 6454 section 6.1)")
    func origins() {
        let usual = EndpointURL("HTTPS://Push.Example:443?x")
        #expect(usual?.origin == "https://push.example")
        #expect(usual?.circuit == "https://push.example:443")
        #expect(usual?.base == nil)
        #expect(EndpointURL("http://a_b.example:443/")?.origin == "http://a_b.example:443")
        #expect(EndpointURL("http://[FE80::1]/x/")?.base == "http://[FE80::1]/x")
        #expect(EndpointURL("http://[fe80::1%25eth0]/") == nil)
        #expect(EndpointURL("http://[::1]x/") == nil)
        #expect(EndpointURL("http://[]/") == nil)
    }

    @Test("A text is cut between characters, with a mark")
    func cuts() {
        #expect(PushNotification.cut("abc", to: 3) == "abc")
        #expect(PushNotification.cut("abcdef", to: 5) == "ab…")
        #expect(PushNotification.cut("ééé", to: 5) == "é…")
        #expect(PushNotification.cut("ééé", to: 4) == "")
        for limit in 0...40 {
            let cut = PushNotification.cut("a🇩🇪é👩‍👩‍👧‍👦漢字漢字漢字", to: limit)
            #expect(cut.utf8.count <= limit)
            #expect(!cut.contains("\u{FFFD}"))
        }
    }

    @Test("JSON is written in one way and read without trust")
    func json() {
        let value: JSONValue = .object([
            "b": .array([.null, .boolean(true), .integer(-1)]), "a": .string("/\"\n\u{1}é"),
        ])
        let text = String(decoding: value.bytes, as: UTF8.self)
        #expect(text == "{\"a\":\"/\\\"\\n\\u0001é\",\"b\":[null,true,-1]}")
        #expect(JSONValue(value.bytes) == value)
        #expect(
            JSONValue(Array("{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[\"}".utf8)) != nil)
        #expect(JSONValue(Array(String(repeating: "[", count: 40).utf8)) == nil)
        #expect(JSONValue(Array("1.0".utf8))?.whole == 1)
        #expect(JSONValue(Array("1.5".utf8))?.whole == nil)
        #expect(JSONValue([0xFF, 0xFE]) == nil)
    }

    @Test(
        "RFC 8259: what is JSON is read as it is meant",
        arguments: [
            (" { } ", .object([:])), ("[]", .array([])),
            ("[1 , 2]", .array([.integer(1), .integer(2)])),
            ("\"\"", .string("")),
            ("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", .string("\"\\/\u{8}\u{C}\n\r\t")),
            ("\"\\u00e9\\uD83D\\uDE00\"", .string("é😀")), ("-0", .integer(0)),
            ("9223372036854775807", .integer(.max)), ("9223372036854775808", .number(0x1p63)),
            ("1e2", .number(100)), ("-1.5E-1", .number(-0.15)), ("\tnull\r\n", .null),
            ("{\"a\":1,\"a\":2}", .object(["a": .integer(2)])),
        ] as [(String, JSONValue)])
    func readJSON(text: String, value: JSONValue) {
        #expect(JSONValue(Array(text.utf8)) == value)
    }

    @Test(
        "RFC 8259: what is not JSON is nothing",
        arguments: [
            "", " ", "{", "}", "{]", "[1,]", "[,1]", "[1 2]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}",
            "{a:1}",
            "{1:1}", "\"", "\"\\", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"",
            "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\n\"", "01", "+1", "1.", ".5", "1e", "1e+",
            "--1", "-",
            "1e999", "nul", "True", "truefalse", "1 1", "NaN", "\u{FEFF}1", "'a'", "/**/1",
        ])
    func refuseJSON(text: String) {
        #expect(JSONValue(Array(text.utf8)) == nil)
    }

    @Test("JSON of a text with damage is read as Foundation reads it, or not at all")
    func damagedJSON() throws {
        let seed = Array(
            #"{"error":{"code":404,"details":[{"@type":"a/b","n":-1.5e2},null,true,"x\u00e9\n"]}}"#
                .utf8)
        var random = SeededGenerator(8259)
        for _ in 0..<4000 {
            var bytes = seed
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[place] = UInt8.random(in: 0x20..<0x7F, using: &random)
                case 1: bytes.remove(at: place)
                default:
                    bytes.insert(seed[Int.random(in: 0..<seed.count, using: &random)], at: place)
                }
            }
            let known = try? JSONSerialization.jsonObject(
                with: Data(bytes), options: .fragmentsAllowed)
            let text = String(decoding: bytes, as: UTF8.self)
            // Foundation takes a comma before an end, which RFC 8259 does not.
            guard known == nil || !text.contains(",}") && !text.contains(",]") else { continue }
            #expect((JSONValue(bytes) != nil) == (known != nil), "\(text)")
        }
    }
}
