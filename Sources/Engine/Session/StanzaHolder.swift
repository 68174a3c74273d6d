// What an inactive client need not get now (XEP-0352).

public import Prometheus

/// Keeps stanzas back. A value: it moves with the session's state.
public protocol StanzaHolder: Sendable {
    /// Keeps the stanza, perhaps in the place of one that it makes old, and says true; or lets it
    /// pass, and what is kept goes out before it.
    mutating func hold(_ stanza: OutboundStanza) -> Bool
    /// Gives back what was kept, in order, and keeps nothing.
    mutating func release(_ reason: HolderRelease) -> [OutboundStanza]
    /// Keeps as much as it may.
    var isFull: Bool { get }
}

/// Why a holder gives back what it kept.
public enum HolderRelease: String, MetricLabel {
    /// The client is active again, and the holder is asked no more.
    case active
    /// Something must not wait, and nothing may overtake anything.
    case overtaken
    case full
    /// The stream or the session has ended, and the holder is asked no more.
    case streamEnd = "stream_end"
    /// The label's name.
    public static var labelName: String { "reason" }
}
