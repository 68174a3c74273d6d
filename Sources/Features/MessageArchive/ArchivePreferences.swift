// Which conversations a user wants archived: `<prefs/>` (XEP-0441).

internal import Addresses
internal import XML
internal import XMPP

struct ArchivePreferences: Sendable, Equatable {
    /// Most addresses in both lists together.
    static let mostAddresses = 1000

    enum Rule: String, CaseIterable, Sendable {
        case always, never
        /// If the contact is in the roster, by its bare address.
        case roster
    }

    /// For whoever is in neither list.
    var otherwise: Rule
    var always: Set<JID>
    var never: Set<JID>

    init(otherwise: Rule, always: Set<JID> = [], never: Set<JID> = []) {
        self.otherwise = otherwise
        self.always = always
        self.never = never
    }

    /// Reads `<prefs/>` of a set; a list that is missing is empty (sections 2.1.2 and 2.1.3).
    init(_ element: Element) throws(StanzaError) {
        guard let rule = element["default"].flatMap(Rule.init(rawValue:)) else {
            throw StanzaError(.badRequest, "the default is always, never or roster")
        }
        otherwise = rule
        always = try Self.addresses("always", in: element)
        never = try Self.addresses("never", in: element)
        guard always.count + never.count <= Self.mostAddresses else {
            throw StanzaError(.notAcceptable, "at most \(Self.mostAddresses) addresses")
        }
        guard always.isDisjoint(with: never) else {
            throw StanzaError(.badRequest, "an address is in both lists")
        }
    }

    private static func addresses(
        _ name: String, in element: Element
    ) throws(StanzaError) -> Set<JID> {
        let lists = element.elements.filter {
            $0.name == name && $0.namespace == element.namespace
        }
        guard lists.count <= 1 else {
            throw StanzaError(.badRequest, "<\(name)/> is given twice")
        }
        var addresses: Set<JID> = []
        for item in lists.first?.elements ?? []
        where item.name == "jid" && item.namespace == element.namespace {
            // Counted before it is prepared, which costs more.
            guard addresses.count < mostAddresses else {
                throw StanzaError(.notAcceptable, "at most \(mostAddresses) addresses")
            }
            guard let jid = try? JID(item.text) else {
                throw StanzaError(.jidMalformed, "an address in <\(name)/> is malformed")
            }
            addresses.insert(jid)
        }
        return addresses
    }

    /// `<prefs/>` as an answer, with both lists (section 2.1).
    var element: Element {
        let namespace = ArchiveQuery.namespace
        func list(_ name: String, _ addresses: Set<JID>) -> Element {
            Element(
                name, namespace, [],
                addresses.map(\.description).sorted().map {
                    Element("jid", namespace, text: $0)
                })
        }
        return Element(
            "prefs", namespace, [("default", otherwise.rawValue)],
            [list("always", always), list("never", never)])
    }

    /// What holds for messages to or from an address (section 2.3). One listed with its resource
    /// goes before the bare one.
    func rule(for contact: JID) -> Rule {
        for address in [contact, JID(bare: contact.bare)] {
            if never.contains(address) { return .never }
            if always.contains(address) { return .always }
        }
        return otherwise
    }
}
