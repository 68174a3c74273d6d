// The examples of RFC 7622 section 3.5 and the slicing of addresses (section 3.1).

import Addresses
import Testing

@Suite struct RFC7622ExampleTests {
    struct Legal: Sendable, CustomTestStringConvertible {
        let text: String
        let local: String
        let domain: String
        let resource: String

        init(_ text: String, _ local: String, _ domain: String, _ resource: String = "") {
            self.text = text
            self.local = local
            self.domain = domain
            self.resource = resource
        }

        var testDescription: String { text }
    }

    static let legal = [
        Legal("juliet@example.com", "juliet", "example.com"),
        Legal("juliet@example.com/foo", "juliet", "example.com", "foo"),
        Legal("juliet@example.com/foo bar", "juliet", "example.com", "foo bar"),
        Legal("juliet@example.com/foo@bar", "juliet", "example.com", "foo@bar"),
        Legal("foo\\20bar@example.com", "foo\\20bar", "example.com"),
        Legal("fussball@example.com", "fussball", "example.com"),
        Legal("fu\u{DF}ball@example.com", "fu\u{DF}ball", "example.com"),
        Legal("\u{3C0}@example.com", "\u{3C0}", "example.com"),
        Legal("\u{3A3}@example.com/foo", "\u{3C3}", "example.com", "foo"),
        Legal("\u{3C3}@example.com/foo", "\u{3C3}", "example.com", "foo"),
        Legal("\u{3C2}@example.com/foo", "\u{3C2}", "example.com", "foo"),
        Legal("king@example.com/\u{265A}", "king", "example.com", "\u{265A}"),
        Legal("example.com", "", "example.com"),
        Legal("example.com/foobar", "", "example.com", "foobar"),
        Legal("a.example.com/b@example.net", "", "a.example.com", "b@example.net"),
    ]

    @Test("Every legal example of RFC 7622 section 3.5 table 1 is accepted", arguments: legal)
    func legalExample(_ example: Legal) throws {
        let jid = try JID(example.text)
        #expect(jid.local == example.local)
        #expect(jid.domain == example.domain)
        #expect(jid.resource == example.resource)
    }

    @Test(
        "Every illegal example of RFC 7622 section 3.5 table 2 is refused, for its reason",
        arguments: [
            ("\"juliet\"@example.com", JIDError.Part.local, JIDError.Reason.disallowedCharacter),
            ("foo bar@example.com", .local, .disallowedCharacter),
            ("@example.com/", .local, .empty),
            ("henry\u{2163}@example.com", .local, .disallowedCharacter),
            ("\u{265A}@example.com", .local, .disallowedCharacter),
            ("juliet@", .domain, .empty),
            ("/foobar", .domain, .empty),
        ])
    func illegalExample(_ text: String, _ part: JIDError.Part, _ reason: JIDError.Reason) {
        let error = #expect(throws: JIDError.self) { try JID(text) }
        #expect(error?.part == part)
        #expect(error?.reason == reason)
    }

    @Test("A leading space in a resource is kept: table 2 is wrong there (RFC 7622 erratum 4560)")
    func leadingSpace() throws {
        #expect(try JID("juliet@example.com/ foo").resource == " foo")
    }

    @Test(
        "A delimiter with nothing before or after it is refused (RFC 7622 sections 3.2 to 3.4)",
        arguments: [
            "", "@", "/", "@/", "user@", "user@/x", "@host", "@host/x", "host/", "user@host/",
            "user@@host", "user@a@b", "user@host@", ".", "user@.",
        ])
    func emptyPart(_ text: String) {
        #expect(throws: JIDError.self) { try JID(text) }
    }

    @Test("The first '/' begins the resource, whatever follows (RFC 7622 section 3.1)")
    func slicing() throws {
        #expect(try JID("host/a@b/c").resource == "a@b/c")
        #expect(try JID("host/a@b/c").domain == "host")
        #expect(try JID("user@host//").resource == "/")
        #expect(try JID("user@host/@").resource == "@")
    }

    @Test("A fullwidth delimiter delimits nothing and is refused where it would map to one")
    func fullwidthDelimiters() throws {
        #expect(throws: JIDError.self) { try JID("user\u{FF20}host") }
        #expect(throws: JIDError.self) { try JID("a\u{FF20}b@host") }
        #expect(throws: JIDError.self) { try JID("user@ho\u{FF0F}st") }
        #expect(try JID("user@host/a\u{FF0F}b").resource == "a\u{FF0F}b")
    }
}
