// Which conversations are archived (XEP-0441).

import Addresses
import Testing
import XML
import XMPP

@testable import Features

@Suite struct ArchivePreferencesTests {
    private func element(_ xml: String) throws -> Element {
        try Element(parsing: Array(xml.utf8), contentNamespace: Namespaces.client)
    }

    private func preferences(_ content: String) throws -> ArchivePreferences {
        try ArchivePreferences(
            element("<prefs xmlns='urn:xmpp:mam:2' default='always'>\(content)</prefs>"))
    }

    private func list(_ range: ClosedRange<Int>) -> String {
        range.map { "<jid>n\($0)@c.lit</jid>" }.joined()
    }

    @Test(
        "Preferences read back as they were written (section 2.1)",
        arguments: ArchivePreferences.Rule.allCases)
    func roundTrip(rule: ArchivePreferences.Rule) throws {
        let preferences = ArchivePreferences(
            otherwise: rule, always: [try JID("romeo@m.lit"), try JID("r@m.lit/o'<b")],
            never: [try JID("m.lit")])
        let bytes = XMLWriter.bytes(preferences.element, contentNamespace: Namespaces.client)
        let element = try Element(parsing: bytes, contentNamespace: Namespaces.client)
        #expect(try ArchivePreferences(element) == preferences)
    }

    @Test("Both lists are there, even when empty (section 2.1)")
    func emptyLists() throws {
        #expect(
            ArchivePreferences(otherwise: .roster).element
                == (try element(
                    "<prefs xmlns='urn:xmpp:mam:2' default='roster'><always/><never/></prefs>")))
    }

    @Test("A list that is missing is empty (sections 2.1.2 and 2.1.3)")
    func missingLists() throws {
        #expect(try preferences("") == ArchivePreferences(otherwise: .always))
        let one = try preferences(
            "<never> <jid>A@c.lit</jid><jid>a@C.lit</jid><jid xmlns='urn:x'>@</jid>\n</never>"
                + "<always xmlns='urn:x'><jid>b@c.lit</jid></always>")
        #expect(one == ArchivePreferences(otherwise: .always, never: [try JID("a@c.lit")]))
    }

    @Test(
        "A default that is none is a bad request (section 2.1.1)",
        arguments: ["", "default=''", "default='Always'", "default='contacts'"])
    func badDefault(attribute: String) throws {
        let prefs = try element("<prefs xmlns='urn:xmpp:mam:2' \(attribute)/>")
        let error = try #require(throws: StanzaError.self) { try ArchivePreferences(prefs) }
        #expect(error.condition == .badRequest)
    }

    @Test(
        "What contradicts itself is a bad request, an address that is none malformed",
        arguments: [
            ("<always/><always/>", StanzaError.Condition.badRequest),
            ("<never/><never/>", .badRequest),
            ("<always><jid>a@c.lit</jid></always><never><jid>A@c.lit</jid></never>", .badRequest),
            ("<always><jid/></always>", .jidMalformed),
            ("<never><jid>a@@c.lit</jid></never>", .jidMalformed),
            ("<never><jid> a@c.lit</jid></never>", .jidMalformed),
        ])
    func refuses(content: String, condition: StanzaError.Condition) throws {
        let error = try #require(throws: StanzaError.self) { try preferences(content) }
        #expect(error.condition == condition)
    }

    @Test("The lists are bounded, together and each")
    func limits() throws {
        let most = "<always>\(list(1...600))</always><never>\(list(601...1000))</never>"
        let full = try preferences(most)
        #expect(full.always.count == 600 && full.never.count == 400)
        for more in [
            "<always>\(list(1...600))</always><never>\(list(601...1001))</never>",
            "<always>\(list(1...1001))</always>",
        ] {
            let error = try #require(throws: StanzaError.self) { try preferences(more) }
            #expect(error.condition == .notAcceptable)
        }
    }

    @Test(
        "A listed address without resource stands for all of them (section 2.3.1)",
        arguments: [
            ("a@c.lit", .always), ("a@c.lit/phone", .always), ("a@c.lit/desk", .never),
            ("b@c.lit", .never), ("b@c.lit/phone", .never), ("b@c.lit/desk", .always),
            ("c.lit", .roster), ("c@c.lit", .roster), ("d@c.lit", .roster),
            ("d@c.lit/phone", .never), ("e.lit", .never), ("x@e.lit", .roster),
        ] as [(String, ArchivePreferences.Rule)])
    func rules(contact: String, rule: ArchivePreferences.Rule) throws {
        let preferences = ArchivePreferences(
            otherwise: .roster, always: [try JID("a@c.lit"), try JID("b@c.lit/desk")],
            never: [
                try JID("b@c.lit"), try JID("a@c.lit/desk"), try JID("d@c.lit/phone"),
                try JID("e.lit"),
            ])
        #expect(preferences.rule(for: try JID(contact)) == rule)
    }
}
