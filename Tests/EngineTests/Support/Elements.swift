// What tests ask of elements.

import XML
import XMPP

extension Element {
    /// The condition of a stanza error, a SASL failure or a stream error.
    var condition: String? {
        if namespace == Namespaces.sasl || namespace == Namespaces.streams {
            return elements.first?.name
        }
        return child("error")?.elements.first { $0.namespace == Namespaces.stanzaErrors }?.name
    }

    /// The type of a stanza error.
    var errorType: String? { child("error")?["type"] }

    /// The text of a message.
    var body: String? { child("body")?.text }

    /// Whether this is such a presence of somebody.
    func isPresence(from jid: String, _ type: String? = nil) -> Bool {
        name == "presence" && self["from"] == jid && self["type"] == type
    }
}
