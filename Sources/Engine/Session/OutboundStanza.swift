// What is delivered to a session.

internal import Addresses
public import NIOCore
internal import XML
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
    /// Called on the session's loop once the client has it: acknowledged, or written to the
    /// socket of a client that does not acknowledge. Not at all should the session end before.
    let onDelivery: (@Sendable () -> Void)?
    /// Nobody else gets this message or IQ: should the session end before its client has it, it
    /// finds another way, or its sender hears of it.
    let isOnlyCopy: Bool
    /// Several clients are to get this message, in this form or another, and one of them is enough.
    let shared: SharedDelivery?
    /// Part of the answer to its receiver's own request, which nothing holds back.
    let isReply: Bool
    /// Where the message is stored, if it is.
    let record: MessageRecord?
    /// The number of a message that stays in the offline store until its client has it.
    let waiting: Int64?
    /// The number of an error about a message of its receiver's that is kept until a client has it.
    let returned: Int64?

    /// The number of a message that is stored, in an archive or until its receiver has it; nil for
    /// what is not.
    public var messageNumber: Int64? { record?.id ?? waiting }

    /// The number of a stored message; greater than any for what is not stored.
    var storedAs: Int64 { record?.id ?? .max }

    /// Creates a stanza to deliver.
    public convenience init(_ kind: Stanza.Kind, _ bytes: [UInt8]) {
        self.init(kind, bytes, receivedAt: nil, isOnlyCopy: false)
    }

    /// Creates a message that stays in the offline store until `onDelivery`.
    ///
    /// - Parameter waiting: its number there.
    public convenience init(
        waiting: Int64, _ bytes: [UInt8], onDelivery: @escaping @Sendable () -> Void
    ) {
        self.init(
            .message, bytes, receivedAt: nil, isOnlyCopy: false, waiting: waiting,
            onDelivery: onDelivery)
    }

    /// Creates an error that is kept until `onDelivery`.
    ///
    /// - Parameter returned: its number.
    convenience init(
        returned: Int64, _ bytes: [UInt8], onDelivery: @escaping @Sendable () -> Void
    ) {
        self.init(
            .message, bytes, receivedAt: nil, isOnlyCopy: false, returned: returned,
            onDelivery: onDelivery)
    }

    /// A message that is part of the answer to its receiver's own request.
    public static func reply(_ kind: Stanza.Kind, _ bytes: [UInt8]) -> OutboundStanza {
        OutboundStanza(kind, bytes, receivedAt: nil, isOnlyCopy: false, isReply: true)
    }

    init(
        _ kind: Stanza.Kind, _ bytes: [UInt8], receivedAt: NIODeadline?, isOnlyCopy: Bool,
        shared: SharedDelivery? = nil, record: MessageRecord? = nil, isReply: Bool = false,
        waiting: Int64? = nil, returned: Int64? = nil,
        onDelivery: (@Sendable () -> Void)? = nil
    ) {
        self.kind = kind
        self.bytes = bytes
        self.receivedAt = receivedAt
        self.isOnlyCopy = isOnlyCopy
        self.shared = shared
        self.record = record
        self.isReply = isReply
        self.waiting = waiting
        self.returned = returned
        self.onDelivery = onDelivery
    }

    /// The same with another text.
    func withBytes(_ bytes: [UInt8]) -> OutboundStanza {
        OutboundStanza(
            kind, bytes, receivedAt: receivedAt, isOnlyCopy: isOnlyCopy, shared: shared,
            record: record, isReply: isReply, waiting: waiting, returned: returned,
            onDelivery: onDelivery)
    }

    /// A message that has to wait for its client carries the time of its arrival (XEP-0203); other
    /// stanzas stay what they are.
    public func delayed(by domain: String) -> OutboundStanza {
        guard kind == .message, let receivedAt else { return self }
        let waited = (NIODeadline.now() - receivedAt).nanoseconds / 1_000_000
        return OutboundStanza(
            kind,
            Self.delayed(
                bytes, by: domain, since: Clock.millisecondsSince1970() - max(0, waited)),
            receivedAt: nil, isOnlyCopy: isOnlyCopy, shared: shared, record: record,
            isReply: isReply, waiting: waiting, returned: returned, onDelivery: onDelivery)
    }

    /// A message with the time of its arrival, in milliseconds since 1970, as its last child.
    static func delayed(_ bytes: [UInt8], by domain: String, since time: Int64) -> [UInt8] {
        let delay = XMLWriter.bytes(
            Element(
                "delay", "urn:xmpp:delay", [("from", domain), ("stamp", Timestamp.text(time))]),
            contentNamespace: Namespaces.client)
        guard let end = bytes.lastIndex(of: UInt8(ascii: "<")) else { return bytes }
        guard end > 0 else {
            // <message …/>, which has no end tag yet.
            return Array(bytes.dropLast(2)) + [UInt8](">".utf8) + delay
                + [UInt8]("</message>".utf8)
        }
        var delayed = bytes
        delayed.insert(contentsOf: delay, at: end)
        return delayed
    }
}
