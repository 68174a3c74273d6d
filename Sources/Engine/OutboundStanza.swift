// What is delivered to a session.

public import NIOCore
public import XMPP

/// A stanza in the bytes that its receiver gets, and what the way there needs to know of it. A
/// reference, for it passes through many hands: mailboxes, queues and several receivers.
public final class OutboundStanza: Sendable {
    /// Message, presence or IQ.
    public let kind: Stanza.Kind
    /// The stanza in the context of a `jabber:client` stream.
    public let bytes: [UInt8]
    /// When it came in, for the delivery time; nil for what the server itself says.
    public let receivedAt: NIODeadline?
    /// Nobody else gets this message or IQ: should the session end before it is written, it finds
    /// another way, or its sender hears of it.
    let isOnlyCopy: Bool

    /// Creates a stanza to deliver.
    public init(
        _ kind: Stanza.Kind, _ bytes: [UInt8], receivedAt: NIODeadline? = nil,
        isOnlyCopy: Bool = false
    ) {
        self.kind = kind
        self.bytes = bytes
        self.receivedAt = receivedAt
        self.isOnlyCopy = isOnlyCopy
    }
}
