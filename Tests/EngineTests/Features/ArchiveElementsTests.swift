// What goes over the wire about an archive (XEP-0313).

import Addresses
import Testing
import XML
import XMPP

@testable import Features

@Suite struct ArchiveElementsTests {
    private static let mam = "urn:xmpp:mam:2"

    private func element(_ xml: String) throws -> Element {
        try Element(parsing: Array(xml.utf8), contentNamespace: Namespaces.client)
    }

    private func query(_ content: String, _ attributes: String = "") throws -> ArchiveQuery {
        try ArchiveQuery(element("<query xmlns='\(Self.mam)' \(attributes)>\(content)</query>"))
    }

    /// A query whose form has these fields.
    private func query(fields: String, type: String = "submit") throws -> ArchiveQuery {
        try query(
            "<x xmlns='jabber:x:data' type='\(type)'><field var='FORM_TYPE' type='hidden'>"
                + "<value>\(Self.mam)</value></field>\(fields)</x>")
    }

    private func field(_ name: String, _ values: String...) -> String {
        "<field var='\(name)'>" + values.map { "<value>\($0)</value>" }.joined() + "</field>"
    }

    private func condition(_ body: () throws -> ArchiveQuery) throws -> StanzaError.Condition {
        try #require(throws: StanzaError.self) { try body() }.condition
    }

    // MARK: Queries

    @Test("An empty query asks for everything (section 4)")
    func everything() throws {
        #expect(try query("") == ArchiveQuery())
        #expect(try query(fields: "") == ArchiveQuery())
        #expect(try query("", "queryid='f&apos;27'").queryID == "f'27")
    }

    @Test("Every filter is read (sections 4.1.1 to 4.1.4, XEP-0431)")
    func filters() throws {
        var expected = ArchiveQuery()
        expected.with = try JID("juliet@capulet.lit")
        expected.start = 1_275_868_800_000
        expected.end = 1_278_509_034_250
        expected.beforeID = "b<"
        expected.afterID = "a"
        expected.ids = ["3", "1", "2"]
        expected.includesGroupchat = false
        expected.fullText = "Where arth thou, \"my Juliet\"?"
        let fields =
            field("with", "JULIET@capulet.lit") + field("start", "2010-06-07T00:00:00Z")
            + field("end", "2010-07-07T15:23:54.25+02:00") + field("before-id", "b&lt;")
            + field("after-id", "a") + field("ids", "3", "1", "3", "2", "1")
            + field("include-groupchat", "false")
            + field("{urn:xmpp:fulltext:0}fulltext", "Where arth thou, &quot;my Juliet&quot;?")
        #expect(try query(fields: fields) == expected)
    }

    @Test("Pages, flipped or not, are read beside the form (section 4.3)")
    func pages() throws {
        var expected = ArchiveQuery()
        expected.start = 1_281_139_200_000
        expected.page = ResultSetRequest(max: 10, before: "")
        expected.isFlipped = true
        let content = """
            <x xmlns='jabber:x:data' type='submit'>
              <field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>
              <field var='start'><value>2010-08-07T00:00:00Z</value></field>
            </x>
            <set xmlns='http://jabber.org/protocol/rsm'><max>10</max><before/></set><flip-page/>
            """
        #expect(try query(content) == expected)
        #expect(try !query("<flip-page xmlns='urn:x'/>").isFlipped)
        let error = try condition {
            try query("<set xmlns='http://jabber.org/protocol/rsm'><max>x</max></set>")
        }
        #expect(error == .badRequest)
    }

    @Test("Fields that were left empty filter nothing")
    func emptyFields() throws {
        let names = ArchiveQuery.Field.allCases.map(\.rawValue).filter { $0 != "ids" }
        let empty = names.map { field($0, "") }.joined() + field("ids")
        #expect(try query(fields: empty) == ArchiveQuery())
        let missing = ArchiveQuery.Field.allCases.map { field($0.rawValue) }.joined()
        #expect(try query(fields: missing) == ArchiveQuery())
    }

    @Test(
        "A truth value has four spellings (XEP-0004 section 3.3)",
        arguments: [("true", true), ("1", true), ("false", false), ("0", false)])
    func boolean(text: String, value: Bool) throws {
        #expect(
            try query(fields: field("include-groupchat", text)).includesGroupchat == value)
    }

    @Test(
        "The names of other servers for full text are understood",
        arguments: ["withtext", "full-text-search"])
    func fullTextNames(name: String) throws {
        #expect(try query(fields: field(name, "word")).fullText == "word")
    }

    @Test(
        "A field that is not known is not implemented (section 4.1.5)",
        arguments: ["{urn:x}stanza-content", "", "With", "urn:xmpp:fulltext:0", "first-id"])
    func unknownField(name: String) throws {
        #expect(try condition { try query(fields: field(name, "x")) } == .featureNotImplemented)
        #expect(try condition { try query(fields: field(name)) } == .featureNotImplemented)
    }

    @Test("A malformed address is told as such", arguments: ["@", "a@@b", "a b@c.lit", "/x"])
    func badAddress(address: String) throws {
        #expect(try condition { try query(fields: field("with", address)) } == .jidMalformed)
    }

    @Test(
        "A value that its field cannot have is a bad request",
        arguments: [
            ("start", "yesterday"), ("end", "2010-07-07"), ("start", "1275868800"),
            ("end", "2010-02-30T00:00:00Z"), ("include-groupchat", "yes"),
            ("include-groupchat", "TRUE"),
        ])
    func badValue(name: String, value: String) throws {
        #expect(try condition { try query(fields: field(name, value)) } == .badRequest)
    }

    @Test("A field has one value and stands once, but for the values of ids")
    func repeated() throws {
        for name in ArchiveQuery.Field.allCases where name != .ids {
            let twoValues = field(name.rawValue, "a@b.lit", "a@b.lit")
            #expect(try condition { try query(fields: twoValues) } == .badRequest)
        }
        for name in ArchiveQuery.Field.allCases {
            let twice = field(name.rawValue, "") + field(name.rawValue, "")
            #expect(try condition { try query(fields: twice) } == .badRequest)
        }
        let both = field("withtext", "a") + field("{urn:xmpp:fulltext:0}fulltext", "a")
        #expect(try condition { try query(fields: both) } == .badRequest)
    }

    @Test(
        "A form that is not a submitted one of this protocol is a bad request (section 4.1)",
        arguments: [
            "<x xmlns='jabber:x:data' type='submit'/>", "<x xmlns='jabber:x:data'/>",
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'/></x>",
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>"
                + "<value>urn:xmpp:mam:1</value></field></x>",
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='text-single'>"
                + "<value>urn:xmpp:mam:2</value></field></x>",
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>"
                + "<value>urn:xmpp:mam:2</value><value>urn:xmpp:mam:2</value></field></x>",
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2"
                + "</value></field><field var='FORM_TYPE'><value>urn:x</value></field></x>",
        ])
    func badForm(form: String) throws {
        #expect(try condition { try query(form) } == .badRequest)
    }

    @Test("A form of another kind, or two of them, are a bad request")
    func badForms() throws {
        for kind in ["form", "result", "cancel", "other"] {
            #expect(try condition { try query(fields: "", type: kind) } == .badRequest)
        }
        let form =
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>"
            + "<value>urn:xmpp:mam:2</value></field></x>"
        #expect(try query(form) == ArchiveQuery())
        #expect(try condition { try query(form + form) } == .badRequest)
    }

    @Test("A node is for archives of another kind (section 6.1.3)", arguments: ["", "urn:x"])
    func node(node: String) throws {
        #expect(try condition { try query("", "node='\(node)'") } == .featureNotImplemented)
    }

    @Test("A query is bounded: the largest is taken, a larger one is not")
    func limits() throws {
        let name = String(repeating: "q", count: ArchiveQuery.longestQueryID)
        #expect(try query("", "queryid='\(name)'").queryID == name)
        #expect(try condition { try query("", "queryid='\(name)q'") } == .notAcceptable)

        let text = String(repeating: "t", count: ArchiveQuery.longestFullText)
        #expect(try query(fields: field("withtext", text)).fullText == text)
        #expect(
            try condition { try query(fields: field("withtext", text + "t")) } == .notAcceptable)

        let values = (1...ArchiveQuery.mostIDs).map { "<value>\($0)</value>" }.joined()
        let most = try query(fields: "<field var='ids'>\(values)</field>")
        #expect(most.ids.count == ArchiveQuery.mostIDs)
        let more = "<field var='ids'>\(values)<value>1</value></field>"
        #expect(try condition { try query(fields: more) } == .notAcceptable)
    }

    // MARK: Answers

    @Test("The form lists every field with its type, none required (section 4.1.5)")
    func form() throws {
        let expected = try element(
            "<query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='form'>"
                + "<field type='hidden' var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>"
                + "<field type='jid-single' var='with'/><field type='text-single' var='start'/>"
                + "<field type='text-single' var='end'/><field type='text-single' var='before-id'/>"
                + "<field type='text-single' var='after-id'/><field type='list-multi' var='ids'>"
                + "<validate xmlns='http://jabber.org/protocol/xdata-validate'"
                + " datatype='xs:string'><open/></validate></field>"
                + "<field type='boolean' var='include-groupchat'/>"
                + "<field type='text-single' var='{urn:xmpp:fulltext:0}fulltext'/></x></query>")
        #expect(ArchiveQuery.form == expected)
    }

    @Test("The form, filled in with nothing, is a query for everything")
    func filledForm() throws {
        var form = try #require(ArchiveQuery.form.elements.first)
        form["type"] = "submit"
        let query = Element("query", Self.mam, [], [form])
        #expect(try ArchiveQuery(query) == ArchiveQuery())
    }

    @Test("The end says whether it is the last page (section 4.3.2)")
    func end() throws {
        let page = ResultSetPage(.init(first: "a", last: "b"))
        let set =
            "<set xmlns='http://jabber.org/protocol/rsm'><first>a</first><last>b</last></set>"
        #expect(
            ArchiveQueryEnd(isComplete: true, page: page).element
                == (try element("<fin xmlns='\(Self.mam)' complete='true'>\(set)</fin>")))
        #expect(
            ArchiveQueryEnd(isComplete: false, page: page).element
                == (try element("<fin xmlns='\(Self.mam)'>\(set)</fin>")))
        #expect(
            ArchiveQueryEnd(isComplete: true, page: ResultSetPage()).element
                == (try element(
                    "<fin xmlns='\(Self.mam)' complete='true'>"
                        + "<set xmlns='http://jabber.org/protocol/rsm'/></fin>")))
    }

    @Test("Metadata name the first and last message, if there are any (section 5)")
    func metadata() throws {
        let metadata = ArchiveMetadata(
            ends: (.init(id: "YWx", time: 1_219_439_344_000), .init(id: "b'2", time: 1_001)))
        #expect(
            metadata.element
                == (try element(
                    "<metadata xmlns='\(Self.mam)'>"
                        + "<start id='YWx' timestamp='2008-08-22T21:09:04Z'/>"
                        + "<end id=\"b'2\" timestamp='1970-01-01T00:00:01.001Z'/></metadata>")))
        #expect(ArchiveMetadata(ends: nil).element == Element("metadata", Self.mam))
    }

    // MARK: Results

    private let message = Array(
        ("<message xmlns='jabber:client' from='romeo@m.lit/o' to='j@c.lit'>"
            + "<body>\"é</body></message>").utf8)

    @Test("A result is the stored message in its envelope (section 4.2)")
    func result() throws {
        let envelope = ArchiveResultEnvelope(
            to: try JID("j@c.lit/balcony"), from: try BareJID("j@c.lit"), queryID: "f27")
        let bytes = envelope.bytes(id: "28482", time: 1_278_803_305_500, message: message)
        #expect(
            String(decoding: bytes, as: UTF8.self)
                == "<message from='j@c.lit' to='j@c.lit/balcony'>"
                + "<result xmlns='urn:xmpp:mam:2' queryid='f27' id='28482'>"
                + "<forwarded xmlns='urn:xmpp:forward:0'>"
                + "<delay xmlns='urn:xmpp:delay' stamp='2010-07-10T23:08:25.500Z'/>"
                + String(decoding: message, as: UTF8.self) + "</forwarded></result></message>")
    }

    @Test("What a client named a query is in the result, whatever it is (section 4.2)")
    func escaping() throws {
        let wild = "'/><x a=\"&<>\n\u{1}é"
        let jid = try JID("j@c.lit/a'<&>\"b")
        let envelope = ArchiveResultEnvelope(to: jid, from: jid.bare, queryID: wild)
        let bytes = envelope.bytes(id: wild, time: 0, message: message)
        let stanza = try Element(parsing: bytes, contentNamespace: Namespaces.client)
        #expect(stanza["to"] == jid.description)
        #expect(stanza["from"] == jid.bare.description)
        let result = try #require(stanza.child("result", Self.mam))
        let kept = wild.replacing("\u{1}", with: "\u{FFFD}")
        #expect(result["queryid"] == kept)
        #expect(result["id"] == kept)
        let forwarded = try #require(result.child("forwarded", "urn:xmpp:forward:0"))
        #expect(forwarded.elements.count == 2)
        #expect(
            forwarded.child("message", Namespaces.client)
                == (try Element(parsing: message, contentNamespace: Namespaces.client)))
    }

    @Test("A query without a name has results without one (section 4.2)")
    func nameless() throws {
        let jid = try JID("j@c.lit/balcony")
        let bytes = ArchiveResultEnvelope(to: jid, from: jid.bare, queryID: nil)
            .bytes(id: "1", time: 0, message: message)
        let stanza = try Element(parsing: bytes, contentNamespace: Namespaces.client)
        let result = try #require(stanza.child("result", Self.mam))
        #expect(result.attributes == [Attribute("id", "1")])
    }
}
