// PLAIN (RFC 4616): every field, every limit.

import SASL
import Testing

@Suite struct PlainExchangeTests {
    struct Accepted: Sendable {
        let message: String
        var authorizationID: String?
        let username: String
        let password: String
    }

    @Test(
        "The three fields are read as written (RFC 4616 section 2)",
        arguments: [
            Accepted(
                message: "\0tim\0tanstaaftanstaaf", username: "tim", password: "tanstaaftanstaaf"),
            Accepted(
                message: "Ursel\0Kurt\0xipj3plmq", authorizationID: "Ursel", username: "Kurt",
                password: "xipj3plmq"),
            Accepted(
                message: "juliet@example.com\0juliet\0r0m30", authorizationID: "juliet@example.com",
                username: "juliet", password: "r0m30"),
            Accepted(message: "\0jürgen\0pässwörd ,=", username: "jürgen", password: "pässwörd ,="),
            Accepted(message: "\0u\0p", username: "u", password: "p"),
        ])
    func accepted(_ expected: Accepted) throws {
        let fields = try PlainExchange.parse(Array(expected.message.utf8))
        #expect(fields.authorizationID == expected.authorizationID)
        #expect(fields.username == expected.username)
        #expect(fields.password == Array(expected.password.utf8))
    }

    static let invalidUTF8: [UInt8] = [0xC3, 0x28]

    static let refusedMessages: [(String, [UInt8])] = [
        ("nothing", []),
        ("no NUL", Array("juliet".utf8)),
        ("one NUL", Array("juliet\0r0m30".utf8)),
        ("three NULs", Array("\0juliet\0r0m30\0".utf8)),
        ("four NULs", Array("\0\0\0\0".utf8)),
        ("only NULs", [0, 0]),
        ("no user name", Array("\0\0r0m30".utf8)),
        ("no password", Array("\0juliet\0".utf8)),
        ("an identity and nothing else", Array("juliet@example.com\0\0".utf8)),
        ("identity not UTF-8", invalidUTF8 + Array("\0juliet\0r0m30".utf8)),
        ("user name not UTF-8", [0] + invalidUTF8 + Array("\0r0m30".utf8)),
        ("password not UTF-8", Array("\0juliet\0".utf8) + invalidUTF8),
        ("overlong form of a slash", Array("\0juliet\0".utf8) + [0xC0, 0xAF]),
        ("a surrogate", Array("\0juliet\0".utf8) + [0xED, 0xA0, 0x80]),
        ("identity too long", message(identity: 2_048, username: 1, password: 1)),
        ("user name too long", message(identity: 0, username: 1_024, password: 1)),
        ("password too long", message(identity: 0, username: 1, password: 1_025)),
        ("a megabyte of NULs", [UInt8](repeating: 0, count: 1 << 20)),
    ]

    static func message(identity: Int, username: Int, password: Int) -> [UInt8] {
        let letter = UInt8(ascii: "x")
        return [UInt8](repeating: letter, count: identity) + [0]
            + [UInt8](repeating: letter, count: username) + [0]
            + [UInt8](repeating: letter, count: password)
    }

    @Test("A message that is not PLAIN is malformed", arguments: refusedMessages.indices)
    func refused(_ index: Int) {
        let (name, message) = Self.refusedMessages[index]
        let failure = #expect(throws: SASLFailure.self, "\(name)") {
            _ = try PlainExchange.parse(message)
        }
        #expect(failure?.condition == .malformedRequest, "\(name)")
    }

    @Test("The longest fields are accepted, and fill the limit of a SASL message")
    func limits() throws {
        let message = Self.message(identity: 2_047, username: 1_023, password: 1_024)
        #expect(message.count == SCRAMExchange.maximumMessageLength)
        let fields = try PlainExchange.parse(message)
        #expect(fields.authorizationID?.utf8.count == 2_047)
        #expect(fields.username.utf8.count == 1_023)
        #expect(fields.password.count == 1_024)
    }
}
