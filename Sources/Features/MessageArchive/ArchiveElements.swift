// What goes over the wire about an archive (XEP-0313): queries and the form that describes them,
// the end of an answer, and the metadata.

internal import Addresses
internal import XML
internal import XMPP

/// Which messages of an archive are wanted: `<query/>` (section 4).
struct ArchiveQuery: Sendable, Equatable {
    static let namespace = "urn:xmpp:mam:2"
    static let mostIDs = 1000
    /// In bytes; repeated in every message of the answer.
    static let longestQueryID = 256
    /// In bytes.
    static let longestFullText = 1024

    /// The client's name for the query.
    var queryID: String?
    /// To or from this address; a bare one means all its resources.
    var with: JID?
    /// Not earlier than this, in milliseconds since 1970.
    var start: Int64?
    /// Not later than this, in milliseconds since 1970.
    var end: Int64?
    var beforeID: String?
    var afterID: String?
    /// These and no others, each once; empty for no such wish.
    var ids: [String] = []
    /// The user's words (XEP-0431), for `SearchText.query`.
    var fullText: String?
    var includesGroupchat: Bool?
    var page = ResultSetRequest()
    /// Whether the page is sent with its last message first (section 4.3.4).
    var isFlipped = false

    /// Everything, from the start.
    init() {}

    /// Reads `<query/>`. Ids are taken as they are: one that cannot be an archive's is an item not
    /// found like any other that is not there (section 4.1.3).
    init(_ query: Element) throws(StanzaError) {
        guard query["node"] == nil else {
            throw StanzaError(.featureNotImplemented, "this archive has no nodes")
        }
        queryID = query["queryid"]
        guard queryID?.utf8.count ?? 0 <= Self.longestQueryID else {
            throw StanzaError(
                .notAcceptable, "a queryid has at most \(Self.longestQueryID) bytes")
        }
        page = try ResultSetRequest(in: query)
        isFlipped = query.child("flip-page") != nil
        let forms = query.elements.filter { $0.name == "x" && $0.namespace == DataForm.namespace }
        guard forms.count <= 1 else {
            throw StanzaError(.badRequest, "a query has at most one form")
        }
        guard let form = forms.first else { return }
        guard let form = DataForm(form), form.kind == .submit else {
            throw StanzaError(.badRequest, "a query's form is of type submit")
        }
        try read(form)
    }

    // MARK: The form

    /// A field with its name on the wire.
    enum Field: String, CaseIterable, Sendable {
        case with, start, end
        case beforeID = "before-id"
        case afterID = "after-id"
        case ids
        case includesGroupchat = "include-groupchat"
        case fullText = "{urn:xmpp:fulltext:0}fulltext"

        /// The name; or the one of a full-text field that a client knows from ejabberd or
        /// MongooseIM.
        init?(_ name: String) {
            switch name {
            case "withtext", "full-text-search": self = .fullText
            default: self.init(rawValue: name)
            }
        }

        var type: String {
            switch self {
            case .with: "jid-single"
            case .start, .end, .beforeID, .afterID, .fullText: "text-single"
            case .ids: "list-multi"
            case .includesGroupchat: "boolean"
            }
        }
    }

    /// What a get is answered with: all fields, none of them required (section 4.1.5).
    static let form: Element = {
        var fields = [
            Element(
                "field", DataForm.namespace, [("type", "hidden"), ("var", "FORM_TYPE")],
                [Element("value", DataForm.namespace, text: namespace)])
        ]
        for field in Field.allCases {
            var element = Element(
                "field", DataForm.namespace, [("type", field.type), ("var", field.rawValue)])
            if field == .ids {
                // Any value, not one of a list (XEP-0122).
                let validation = "http://jabber.org/protocol/xdata-validate"
                element.children = [
                    .element(
                        Element(
                            "validate", validation, [("datatype", "xs:string")],
                            [Element("open", validation)]))
                ]
            }
            fields.append(element)
        }
        return Element(
            "query", namespace, [], [Element("x", DataForm.namespace, [("type", "form")], fields)])
    }()

    private mutating func read(_ form: DataForm) throws(StanzaError) {
        let formTypes = form.fields.filter { $0.name == "FORM_TYPE" }
        // A submitted form may leave out types of fields (XEP-0004 section 3.2).
        guard formTypes.count == 1, formTypes[0].type ?? "hidden" == "hidden",
            formTypes[0].values == [Self.namespace]
        else {
            throw StanzaError(.badRequest, "the form's FORM_TYPE is \(Self.namespace)")
        }
        var seen: Set<Field> = []
        for field in form.fields where field.name != "FORM_TYPE" {
            guard let known = Field(field.name) else {
                throw StanzaError(.featureNotImplemented, "a field that this archive has not")
            }
            guard seen.insert(known).inserted else {
                throw StanzaError(.badRequest, "\(known.rawValue) is given twice")
            }
            try read(known, field.values)
        }
    }

    private mutating func read(_ field: Field, _ values: [String]) throws(StanzaError) {
        if field == .ids {
            guard values.count <= Self.mostIDs else {
                throw StanzaError(.notAcceptable, "at most \(Self.mostIDs) ids")
            }
            var seen: Set<String> = []
            ids = values.filter { seen.insert($0).inserted }
            return
        }
        guard values.count <= 1 else {
            throw StanzaError(.badRequest, "\(field.rawValue) has one value")
        }
        // A field left empty is one not filled in.
        guard let value = values.first, !value.isEmpty else { return }
        switch field {
        case .with:
            guard let jid = try? JID(value) else {
                throw StanzaError(.jidMalformed, "the address to filter by is malformed")
            }
            with = jid
        case .start: start = try Self.time(value, field)
        case .end: end = try Self.time(value, field)
        case .beforeID: beforeID = value
        case .afterID: afterID = value
        case .ids: break
        case .includesGroupchat:
            switch value {
            case "true", "1": includesGroupchat = true
            case "false", "0": includesGroupchat = false
            default: throw StanzaError(.badRequest, "\(field.rawValue) is true or false")
            }
        case .fullText:
            guard value.utf8.count <= Self.longestFullText else {
                throw StanzaError(
                    .notAcceptable, "a search has at most \(Self.longestFullText) bytes")
            }
            fullText = value
        }
    }

    private static func time(_ text: String, _ field: Field) throws(StanzaError) -> Int64 {
        guard let time = Timestamp.parse(text) else {
            throw StanzaError(.badRequest, "\(field.rawValue) is no date and time of XEP-0082")
        }
        return time
    }
}

/// What ends the answer to a query: `<fin/>` (section 4.3.2).
struct ArchiveQueryEnd: Sendable, Equatable {
    /// Whether no page follows this one.
    var isComplete: Bool
    var page: ResultSetPage

    var element: Element {
        Element(
            "fin", ArchiveQuery.namespace, isComplete ? [("complete", "true")] : [],
            [page.element])
    }
}

/// From where to where an archive reaches: `<metadata/>` (section 5).
struct ArchiveMetadata: Sendable {
    struct Message: Sendable {
        var id: String
        /// In milliseconds since 1970.
        var time: Int64
    }

    /// The first and last message, nil for an empty archive.
    var ends: (first: Message, last: Message)?

    var element: Element {
        func element(_ name: String, _ message: Message) -> Element {
            Element(
                name, ArchiveQuery.namespace,
                [("id", message.id), ("timestamp", Timestamp.text(message.time))])
        }
        return Element(
            "metadata", ArchiveQuery.namespace, [],
            ends.map { [element("start", $0.first), element("end", $0.last)] } ?? [])
    }
}
