// Pages of a long result (XEP-0059): what a client asks for, and where in the result the page
// that it got lies.

public import XML

/// The page of a result that a client asks for.
public struct ResultSetRequest: Sendable, Equatable {
    /// `http://jabber.org/protocol/rsm`.
    public static let namespace = "http://jabber.org/protocol/rsm"
    /// Longest id of an item, in bytes.
    public static let longestID = 1024

    /// Most items to give; 0 asks for their count alone (section 2.7).
    public var max: Int?
    /// The page begins behind this item.
    public var after: String?
    /// The page ends before this item; "" asks for the last page (section 2.5). Together with
    /// `after` it means what lies between, of which the last page is wanted.
    public var before: String?
    /// The page begins at this place of the result; a server may refuse that (section 2.6).
    public var index: Int?

    /// Creates a request; without arguments it asks for all there is, from the start.
    public init(
        max: Int? = nil, after: String? = nil, before: String? = nil, index: Int? = nil
    ) {
        self.max = max
        self.after = after
        self.before = before
        self.index = index
    }

    /// Reads the `<set/>` in a query; one that has none asks for everything.
    ///
    /// - Throws: `bad-request`.
    public init(in query: Element) throws(StanzaError) {
        let sets = query.elements.filter { $0.name == "set" && $0.namespace == Self.namespace }
        guard sets.count <= 1 else {
            throw StanzaError(.badRequest, "a query has at most one result set")
        }
        self.init()
        guard let set = sets.first else { return }
        max = try Self.number("max", in: set)
        index = try Self.number("index", in: set)
        before = try Self.id("before", in: set)
        // Behind nothing is the start.
        after = try Self.id("after", in: set).flatMap { $0.isEmpty ? nil : $0 }
        guard index == nil || (before == nil && after == nil) else {
            throw StanzaError(.badRequest, "a page is found by its index or by an id")
        }
    }

    private static func text(_ name: String, in set: Element) throws(StanzaError) -> String? {
        let found = set.elements.filter { $0.name == name && $0.namespace == namespace }
        guard found.count <= 1 else {
            throw StanzaError(.badRequest, "<\(name)/> is given twice")
        }
        return found.first?.text
    }

    private static func id(_ name: String, in set: Element) throws(StanzaError) -> String? {
        guard let id = try text(name, in: set) else { return nil }
        guard id.utf8.count <= longestID else {
            throw StanzaError(.badRequest, "<\(name)/> has at most \(longestID) bytes")
        }
        return id
    }

    /// An `xs:int` that is not negative.
    private static func number(_ name: String, in set: Element) throws(StanzaError) -> Int? {
        guard let text = try text(name, in: set) else { return nil }
        guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let number = Int32(text)
        else {
            throw StanzaError(.badRequest, "<\(name)/> is a number from 0 to \(Int32.max)")
        }
        return Int(number)
    }
}

/// Where in the whole result a page lies.
public struct ResultSetPage: Sendable, Equatable {
    /// The ids of the first and last item; the same when there is but one, nil for an empty page
    /// (section 2.2).
    public var ends: Ends?
    /// How many items the whole result has, if that is known; it may be an estimate.
    public var count: Int?

    /// The two items at the ends of a page.
    public struct Ends: Sendable, Equatable {
        /// Id of the first item.
        public var first: String
        /// Place of the first item in the whole result, from 0, if that is known.
        public var firstIndex: Int?
        /// Id of the last item.
        public var last: String

        /// Creates the ends of a page.
        public init(first: String, firstIndex: Int? = nil, last: String) {
            self.first = first
            self.firstIndex = firstIndex
            self.last = last
        }
    }

    /// Creates a page; an empty one without `ends`.
    public init(_ ends: Ends? = nil, count: Int? = nil) {
        self.ends = ends
        self.count = count
    }

    /// `<set/>` of an answer.
    public var element: Element {
        let namespace = ResultSetRequest.namespace
        var children: [Element] = []
        if let ends {
            let index = ends.firstIndex.map { [("index", "\($0)")] } ?? []
            children.append(Element("first", namespace, index, text: ends.first))
            children.append(Element("last", namespace, text: ends.last))
        }
        if let count { children.append(Element("count", namespace, text: "\(count)")) }
        return Element("set", namespace, [], children)
    }
}
