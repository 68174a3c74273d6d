// What an archive keeps (XEP-0313 section 6.1.1, and the business rules of what it names): what a
// user would miss in a conversation's history, and what tells the state of its messages.

internal import XML
internal import XMPP

enum ArchiveContent {
    /// Whether a message is one to keep, by what it holds. Asked for every message.
    static func isKept(_ stanza: Stanza) -> Bool {
        let fragment = stanza.fragment
        // Errors tell of one delivery; headlines are for the moment; rooms have archives of their
        // own.
        guard !stanza.isError, !stanza.isType("headline"), !stanza.isType("groupchat") else {
            return false
        }
        var isWorthIt = false
        for child in fragment.children {
            if fragment.child(child, isNamed: "no-store", "urn:xmpp:hints")
                || fragment.child(child, isNamed: "no-permanent-store", "urn:xmpp:hints")
            {
                return false
            }
            guard !isWorthIt else { continue }
            if fragment.child(child, isNamed: "body", "jabber:client")
                || fragment.child(child, isNamed: "store", "urn:xmpp:hints")
            {
                isWorthIt = true
            } else if child.namespace != nil {
                isWorthIt =
                    namespaces.contains(fragment.namespace(of: child))
                    && !fragment.child(child, isNamed: "request", "urn:xmpp:receipts")
                    && !fragment.child(child, isNamed: "markable", "urn:xmpp:chat-markers:0")
            }
        }
        return isWorthIt
    }

    /// Payloads that are kept without a body.
    private static let namespaces: Set<String> = [
        // Encrypted messages, and what says that a message is one (XEP-0380).
        "urn:xmpp:openpgp:0", "eu.siacs.conversations.axolotl", "urn:xmpp:omemo:1",
        "urn:xmpp:omemo:2", "jabber:x:encrypted", "urn:xmpp:otr:0", "urn:xmpp:eme:0",
        // Receipts (XEP-0184) and markers (XEP-0333).
        "urn:xmpp:receipts", "urn:xmpp:chat-markers:0",
        // Corrections (XEP-0308), reactions (XEP-0444), retractions (XEP-0424).
        "urn:xmpp:message-correct:0", "urn:xmpp:reactions:0", "urn:xmpp:message-retract:0",
        "urn:xmpp:message-retract:1", "urn:xmpp:fasten:0",
        // Calls (XEP-0353) and what became of them.
        "urn:xmpp:jingle-message:0", "urn:xmpp:jingle-message:1",
        "urn:xmpp:call-message:1",
        // Invitations to rooms (XEP-0249).
        "jabber:x:conference",
    ]

    /// The text of a message that can be searched; nil if there is none, or only a text that says
    /// that the message is encrypted.
    static func searchableText(_ stanza: Stanza) -> String? {
        let fragment = stanza.fragment
        for child in fragment.children where child.namespace != nil {
            if encryption.contains(fragment.namespace(of: child)) { return nil }
        }
        let bodies = fragment.children.compactMap { child -> String? in
            guard fragment.child(child, isNamed: "body", "jabber:client") else { return nil }
            return fragment.text(of: child) ?? fragment.element(child).text
        }
        let text = bodies.joined(separator: "\n")
        return text.isEmpty ? nil : text
    }

    private static let encryption: Set<String> = [
        "urn:xmpp:openpgp:0", "eu.siacs.conversations.axolotl", "urn:xmpp:omemo:1",
        "urn:xmpp:omemo:2", "jabber:x:encrypted",
    ]
}
