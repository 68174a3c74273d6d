// Who is connected: read on any loop for every stanza, so it is cut into shards by bare JID.

public import Addresses
internal import Synchronization

/// The sessions of this process by account.
public final class SessionTable: Sendable {
    private final class Shard: Sendable {
        let sessions = Mutex<[BareJID: [Session]]>([:])
    }

    private let shards: [Shard]

    init() {
        shards = (0..<64).map { _ in Shard() }
    }

    private func shard(_ account: BareJID) -> Shard {
        // The top bits, for the dictionary inside uses the low ones.
        shards[Int(truncatingIfNeeded: UInt(bitPattern: account.hashValue) >> 58)]
    }

    /// All sessions of an account, in the order of their logins.
    public func sessions(of account: BareJID) -> [Session] {
        shard(account).sessions.withLock { $0[account] ?? [] }
    }

    /// The session of a full JID.
    public func session(_ jid: JID) -> Session? {
        sessions(of: jid.bare).first { $0.jid.resource == jid.resource }
    }

    enum Insertion {
        case inserted
        /// This one has the resource.
        case conflict(Session)
        case tooMany
    }

    func insert(_ session: Session, limit: Int) -> Insertion {
        shard(session.jid.bare).sessions.withLock { table in
            let present = table[session.jid.bare] ?? []
            if let other = present.first(where: { $0.jid.resource == session.jid.resource }) {
                return .conflict(other)
            }
            guard present.count < limit else { return .tooMany }
            table[session.jid.bare] = present + [session]
            return .inserted
        }
    }

    func remove(_ session: Session) {
        shard(session.jid.bare).sessions.withLock { table in
            guard var present = table[session.jid.bare] else { return }
            present.removeAll { $0 === session }
            table[session.jid.bare] = present.isEmpty ? nil : present
        }
    }

    /// Everybody, for shutdown and the administrator.
    public var all: [Session] {
        shards.flatMap { $0.sessions.withLock { $0.values.flatMap { $0 } } }
    }
}
