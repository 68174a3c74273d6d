// What an inactive client need not get now (XEP-0352).

/// Keeps stanzas back. A value: it moves with the session's state.
public protocol StanzaHolder: Sendable {
    /// Keeps the stanza and says true, or lets it pass; what is kept goes out before it.
    mutating func hold(_ stanza: OutboundStanza) -> Bool
    /// Gives back what was kept, in order, and keeps nothing.
    mutating func release() -> [OutboundStanza]
    /// Keeps as much as it may.
    var isFull: Bool { get }
}
