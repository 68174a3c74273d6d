// A message for more than one client: copies to further sessions of its receiver and its sender,
// and who is answerable for it when sessions end before their clients have it.

public import Addresses
internal import NIOCore
public import Prometheus
internal import Synchronization
public import XMPP

/// A message that is being delivered or waits, and of which others may want copies.
public struct CopiedMessage: Sendable {
    /// The message as it came in.
    public var stanza: Stanza { message.stanza }
    /// Its receiver.
    public var to: JID { message.to }
    /// The sessions that get the message itself; none when it waits.
    public let receivers: [Session]
    /// Whether its sender's further clients do not know it yet: not so when it was delivered
    /// before, or is the server's own answer.
    public var isNew: Bool { message.isNew }

    let message: Message
    let record: MessageRecord?
    let host: Host

    /// Whose clients get copies.
    public func account(_ direction: CopyDirection) -> BareJID {
        direction == .received ? to.bare : stanza.from.bare
    }

    /// The message as it is forwarded (XEP-0297): standing alone, with the id that it has in the
    /// archive of the account that gets copies.
    public func forwarded(_ direction: CopyDirection) -> [UInt8] {
        stanza.routedBytes(
            to: to, declaresNamespace: true, without: message.forged,
            adding: host.stanzaID(
                record, direction == .received ? .receiver : .sender, of: account(direction)))
    }
}

/// Whose clients get copies of a message.
public enum CopyDirection: String, MetricLabel {
    /// The receiver's.
    case received
    /// The sender's.
    case sent
    /// The label's name.
    public static var labelName: String { "direction" }
}

/// A copy of a message.
public struct MessageCopy: Sendable {
    /// Who gets it.
    public let session: Session
    /// The copy in the context of a `jabber:client` stream.
    public let bytes: [UInt8]
    let direction: CopyDirection

    /// Creates a copy.
    public init(_ direction: CopyDirection, for session: Session, _ bytes: [UInt8]) {
        self.direction = direction
        self.session = session
        self.bytes = bytes
    }
}

/// A message on its way to several clients, one of which is enough. Should all their sessions end
/// before any client has it, the last one sends it elsewhere. Safe on any thread.
final class SharedDelivery: Sendable {
    /// As its receiver gets it.
    let message: [UInt8]
    private let remaining: Atomic<Int>

    init(_ message: [UInt8], count: Int) {
        self.message = message
        remaining = Atomic(count)
    }

    /// How many have it or may yet get it.
    var count: Int { remaining.load(ordering: .acquiring) }

    /// A session ended before its client had it, which is said once for each. True for the last
    /// one, if no client has it.
    func isLostByAll() -> Bool {
        remaining.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0
    }
}

extension Host {
    /// Copies a message that nobody gets at this moment.
    func copy(_ message: Message, _ record: MessageRecord?) {
        send(copies(of: message, record, to: []), of: message, record, shared: nil)
    }

    /// Copies an error of the server's own that a client gets.
    func copyError(_ error: OutboundStanza, to session: Session) {
        guard hooks.copies != nil, let stanza = Stanza(routed: error.bytes) else { return }
        let message = Message(again: stanza, to: session.jid, domains: domainSet)
        send(copies(of: message, nil, to: [session]), of: message, nil, shared: nil)
    }

    func copies(
        of message: Message, _ record: MessageRecord?, to receivers: [Session]
    ) -> [MessageCopy] {
        guard let copies = hooks.copies else { return [] }
        return copies(
            CopiedMessage(receivers: receivers, message: message, record: record, host: self), self)
    }

    /// - Parameter shared: nil when the message is safe without those copies.
    func send(
        _ copies: [MessageCopy], of message: Message, _ record: MessageRecord?,
        shared: SharedDelivery?
    ) {
        for copy in copies {
            let isReceived = copy.direction == .received
            copy.session.deliver(
                OutboundStanza(
                    .message, copy.bytes, receivedAt: message.arrival, isOnlyCopy: false,
                    shared: isReceived ? shared : nil, record: isReceived ? record : nil))
        }
    }
}
