// What an administrator sees of a session.

public import Addresses
internal import NIOCore
internal import XMPP

extension Session {
    /// A session at one moment.
    public struct Description: Sendable {
        /// The full JID.
        public let jid: JID
        /// Where its client connects from, or did last.
        public let address: String
        /// When the client bound its resource, seconds since 1970.
        public let since: Int64
        /// What others may know of its presence.
        public let availability: Availability
        /// The TLS version of its connection; nil while it has none.
        public let tls: TLSLabel?
        /// Seconds until it ends unless its client comes back; nil while it does not hibernate.
        public let hibernatesFor: Int64?
        /// Stanzas that its client has not acknowledged, sent or not; nil if it never does.
        public let unacknowledged: Int?
    }

    /// Asks the session what it is like, from any thread. `then` is called on the session's loop,
    /// and with nil, on any thread, once the session has ended.
    public func describe(then: @escaping @Sendable (Description?) -> Void) {
        post(.run { then($0?.description) })
    }
}

extension SessionState {
    fileprivate var description: Session.Description? {
        guard !hasEnded else { return nil }
        let left = (hibernatesUntil - loop.eventLoop.now).nanoseconds
        return Session.Description(
            jid: session.jid, address: session.address, since: session.since,
            availability: session.availability, tls: stream?.tls,
            hibernatesFor: session.isHibernating
                ? max(0, (left + 999_999_999) / 1_000_000_000) : nil,
            unacknowledged: contents.queue.isManaged ? contents.queue.count : nil)
    }
}
