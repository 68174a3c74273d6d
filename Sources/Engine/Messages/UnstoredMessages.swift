// What other servers sent lately and nobody stored, by which a resend is recognised: after a broken
// stream a server sends again what it cannot know to have arrived.

internal import Addresses
internal import Synchronization
internal import XMPP

/// Memory of messages that were delivered and not stored. Safe on any thread.
final class UnstoredMessages: Sendable {
    private static let limit = 8192

    private struct Arrival: Sendable {
        /// The number of its stream.
        let stream: Int64
        /// The number of the session that was in the room it came from; 0 for no room's.
        let session: Int64
        /// Counts what happens here.
        let step: Int64
        let arrivedAt: Int64
    }

    private struct Occupant: Hashable, Sendable {
        let room: BareJID
        let session: Int64
    }

    private struct State {
        var seen = RecentTable<Int64, Arrival>(limit: limit)
        /// When sessions entered rooms.
        var entries = RecentTable<Occupant, Int64>(limit: limit)
        var step: Int64 = 0
    }

    private let state = Mutex(State())

    /// Notes a message for these sessions; true if another stream brought it before.
    func isResent(_ message: Message, to receivers: [Session]) -> Bool {
        // What the server sends again itself is meant.
        guard message.isNew, let fingerprint = message.fingerprint else { return false }
        let now = Clock.millisecondsSince1970()
        let session = message.stanza.isType("groupchat") ? receivers.first?.number ?? 0 : 0
        let occupant = Occupant(room: message.stanza.from.bare, session: session)
        return state.withLock { state in
            let enteredAt = session == 0 ? nil : state.entries[occupant]
            if let before = state.seen[fingerprint], before.stream != message.origin,
                before.session == session, before.step > enteredAt ?? 0,
                now - before.arrivedAt < RecentMessages.resendTime
            {
                return true
            }
            state.step += 1
            state.seen[fingerprint] = Arrival(
                stream: message.origin, session: session, step: state.step, arrivedAt: now)
            return false
        }
    }

    /// A session has sent presence to a room: what it says now, it says again to who comes in.
    func note(_ session: Session, in room: BareJID) {
        state.withLock { state in
            state.step += 1
            state.entries[Occupant(room: room, session: session.number)] = state.step
        }
    }

    /// Forgets what a stream brought whose server has nothing to send again.
    func forget(_ stream: Int64) {
        state.withLock { $0.seen.removeAll { $0.stream == stream } }
    }
}
