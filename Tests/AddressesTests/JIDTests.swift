// The values JID and BareJID: printing, equality, order, limits.

import Addresses
import Testing

@Suite struct JIDTests {
    @Test(
        "A prepared address prints as it was written (RFC 7622 section 3.1)",
        arguments: [
            "juliet@example.com/balcony", "juliet@example.com", "example.com", "example.com/x",
            "\u{3C0}@b\u{FC}cher.example/\u{265A}", "user@[2001:db8::1]/a", "user@192.0.2.1",
        ])
    func printing(_ text: String) throws {
        #expect(try JID(text).description == text)
    }

    @Test("Spellings of one address are equal and hash alike")
    func equality() throws {
        let spellings = [
            "Juliet@EXAMPLE.com./Balcony", "juliet@example.com/Balcony",
            "\u{FF2A}uliet@example.com/Balcony", "JULIET@\u{FF25}xample.com/Balcony",
        ]
        #expect(Set(try spellings.map { try JID($0) }).count == 1)
        #expect(try JID("juliet@example.com/balcony") != JID("juliet@example.com/Balcony"))
    }

    @Test("The parts are reachable from the full address")
    func parts() throws {
        let jid = try JID("juliet@example.com/balcony")
        #expect(jid.local == "juliet")
        #expect(jid.domain == "example.com")
        #expect(!jid.isBare)
        #expect(try jid.bare == BareJID("juliet@example.com"))
        #expect(JID(bare: jid.bare).isBare)
        #expect(JID(bare: jid.bare, preparedResource: "balcony") == jid)
        #expect(try JID("example.com").bare.isDomain)
        #expect(!jid.bare.isDomain)
        #expect(
            BareJID(preparedLocal: "juliet", preparedDomain: "example.com") == jid.bare)
    }

    @Test("A bare JID refuses a resource, even an empty one", arguments: ["a@b/c", "b/c", "a@b/"])
    func bareOnly(_ text: String) {
        let error = #expect(throws: JIDError.self) { try BareJID(text) }
        #expect(error?.reason == .unexpectedResource)
        #expect(error?.part == .address)
    }

    @Test("Bare JIDs sort by domain, then by localpart")
    func order() throws {
        let sorted = try ["b@a.example", "a@b.example", "b.example", "a@a.example"]
            .map { try BareJID($0) }.sorted().map(\.description)
        #expect(sorted == ["a@a.example", "b@a.example", "b.example", "a@b.example"])
    }

    @Test("A slice of a text and raw bytes give the same address as the text")
    func sources() throws {
        let expected = try JID("juliet@example.com/x")
        #expect(try JID("<juliet@example.com/x>".dropFirst().dropLast()) == expected)
        let raw = Array("juliet@example.com/x".utf8).withUnsafeBufferPointer { bytes in
            Result { () throws(JIDError) in try JID(utf8: bytes) }
        }
        #expect(try raw.get() == expected)
    }

    @Test("A part of 1023 bytes is accepted, of 1024 refused (RFC 7622 sections 3.3 and 3.4)")
    func partLimits() throws {
        let longest = String(repeating: "a", count: 1023)
        #expect(try JID("\(longest)@example.com/\(longest)").local == longest)
        for text in ["\(longest)a@example.com", "a@example.com/\(longest)a"] {
            let error = #expect(throws: JIDError.self) { try JID(text) }
            #expect(error?.reason == .tooLong)
        }
        // Two bytes each: 511 of them fit with one byte over, 512 do not.
        let umlauts = String(repeating: "\u{FC}", count: 511)
        #expect(try JID("\(umlauts)a@example.com/a\(umlauts)").local.utf8.count == 1023)
        #expect(throws: JIDError.self) { try JID("\(umlauts)\u{FC}@example.com") }
        #expect(throws: JIDError.self) { try JID("example.com/\(umlauts)\u{FC}") }
    }

    @Test("The limit holds after preparation: fullwidth letters shrink to a third")
    func limitAfterPreparation() throws {
        let wide = String(repeating: "\u{FF21}", count: 1000)
        #expect(try JID("\(wide)@example.com").local == String(repeating: "a", count: 1000))
        // U+0958 is excluded from composition: in normal form C it grows from three bytes to six.
        let growing = String(repeating: "\u{958}", count: 200)
        let error = #expect(throws: JIDError.self) { try JID("example.com/\(growing)") }
        #expect(error?.reason == .tooLong)
    }

    @Test("An address of more than 3 * 1023 + 2 bytes is refused as a whole")
    func wholeLimit() {
        let text = "a@b/" + String(repeating: "c", count: 3 * 1023 + 2 - 3)
        let error = #expect(throws: JIDError.self) { try JID(text) }
        #expect(error?.part == .address)
        #expect(error?.reason == .tooLong)
    }

    @Test("The longest possible address is accepted")
    func longestAddress() throws {
        let part = String(repeating: "a", count: 1023)
        let label = String(repeating: "b", count: 61)
        let domain = [label, label, label, label, "bbbbb"].joined(separator: ".")
        #expect(domain.utf8.count == 253)
        #expect(try JID("\(part)@\(domain)/\(part)").domain == domain)
    }
}
