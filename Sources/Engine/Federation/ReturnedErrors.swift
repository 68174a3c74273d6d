// Errors about messages that could not get to another domain. Each waits in the database until a
// client of its account has it: the one that sent the message, or, should that one go before, the
// others that take messages.

internal import Addresses
internal import Logging
internal import Storage
internal import Synchronization
internal import XMPP

/// An error about a message that was kept.
struct ReturnedError: Sendable {
    /// The message's number among those that wait for other domains.
    let id: Int64
    /// The client that sent the message.
    let to: JID
    let bytes: [UInt8]

    var account: BareJID { to.bare }

    /// Nil when the sender is told as always, or not at all.
    init?(_ id: Int64, _ stanza: Stanza, _ error: StanzaError, _ host: Host) {
        guard stanza.kind == .message, !stanza.isError, host.isLocal(stanza.from.domain) else {
            return nil
        }
        self.id = id
        to = stanza.from
        bytes = stanza.errorBytes(error)
    }
}

/// The errors that wait for their receivers. Safe on any thread.
final class ReturnedErrors: Sendable {
    private struct State {
        /// Those that are not in the database yet; their messages are.
        var unwritten: [ReturnedError] = []
        var isWriting = false
        /// For whom something waits.
        var accounts: Set<BareJID> = []
        /// Whose errors are being read, and whether that was asked for again meanwhile.
        var reading: [BareJID: Bool] = [:]
        /// Whose errors could not be read.
        var unread: Set<BareJID> = []
        /// To how many sessions an error is on its way, by its number.
        var underWay: [Int64: Int] = [:]
        /// The errors on their way to a session, by the session's number.
        var sessions: [Int64: Set<Int64>] = [:]
        /// What clients have and the database still holds.
        var done: Set<Int64> = []
        var isDeleting = false
    }

    private let state = Mutex(State())

    func load(_ accounts: [BareJID]) {
        state.withLock { $0.accounts.formUnion(accounts) }
    }

    /// Tries again what a failing disk refused.
    func goOn(_ host: Host) {
        keep([], host)
        deleteDone(host)
        let unread = state.withLock { state in
            defer { state.unread = [] }
            return state.unread
        }
        for account in unread { handOver(to: account, host) }
    }

    // MARK: Keeping

    /// Has them wait, and gives them to those who are there.
    func keep(_ errors: [ReturnedError], _ host: Host) {
        let begins = state.withLock { state in
            state.unwritten += errors
            guard !state.isWriting, !state.unwritten.isEmpty else { return false }
            state.isWriting = true
            return true
        }
        if begins { write(host) }
    }

    private func write(_ host: Host) {
        host.database.writer.submit(
            size: 0,
            { connection -> (all: [ReturnedError], surplus: [ReturnedError]) in
                let errors = self.state.withLock { $0.unwritten }
                return (errors, try errors.filter { try !OutgoingStore.putBack(connection, $0) })
            },
            then: { result in
                self.state.withLock { state in
                    state.isWriting = false
                    switch result {
                    case .success(let errors):
                        state.unwritten.removeFirst(errors.all.count)
                        state.accounts.formUnion(errors.all.map(\.account))
                    // Their messages are tried again after the next start.
                    case .failure(let error) where error.code == .closed: state.unwritten = []
                    case .failure: break
                    }
                }
                switch result {
                case .success(let errors):
                    for account in Set(errors.all.map(\.account)) {
                        self.handOver(to: account, host)
                    }
                    // Of too many, those who are there hear all the same.
                    for error in errors.surplus {
                        host.sessions.session(error.to)?.deliver(
                            OutboundStanza(.message, error.bytes))
                    }
                    self.keep([], host)
                case .failure(let error): host.log.error("outgoing: \(error)")
                }
            })
    }

    // MARK: Giving

    /// A client takes messages from now on.
    func handOver(to session: Session, _ host: Host) { handOver(to: session.jid.bare, host) }

    /// Gives an account what waits for it and is not on its way, if it has a client for that. Any
    /// thread.
    func handOver(to account: BareJID, _ host: Host) {
        let isOnline = !host.sessions.sessions(of: account).isEmpty
        let isDue = state.withLock { state in
            guard state.accounts.contains(account) else { return false }
            guard state.reading[account] == nil else {
                state.reading[account] = true
                return false
            }
            if isOnline { state.reading[account] = false }
            return isOnline
        }
        guard isDue else { return }
        host.database.writer.submit(
            size: 0, { try OutgoingStore.returned($0, to: account) },
            then: { result in
                var isLeft = true
                switch result {
                case .success(let rows):
                    let left = rows.filter { !self.give($0.id, $0.bytes, to: account, host) }
                    isLeft = !left.isEmpty
                case .failure(let error):
                    host.log.error("outgoing: \(error)")
                    self.state.withLock { _ = $0.unread.insert(account) }
                }
                let isAskedAgain = self.state.withLock { state in
                    let isAskedAgain = state.reading.removeValue(forKey: account) ?? false
                    if !isLeft, !isAskedAgain { state.accounts.remove(account) }
                    return isAskedAgain
                }
                if isAskedAgain { self.handOver(to: account, host) }
            })
    }

    /// False when nobody is there for it.
    private func give(
        _ id: Int64, _ bytes: [UInt8], to account: BareJID, _ host: Host
    ) -> Bool {
        // One reading at a time, so that nobody else begins meanwhile.
        let isNew = state.withLock { $0.underWay[id] == nil && !$0.done.contains(id) }
        guard isNew, let error = Stanza(routed: bytes) else { return true }
        let ways: [(session: Session, bytes: [UInt8])]
        if let sender = error.to.flatMap({ host.sessions.session($0) }) {
            let message = Message(again: error, to: sender.jid, domains: host.domainSet)
            ways =
                [(sender, bytes)]
                + host.copies(of: message, nil, to: [sender]).map { ($0.session, $0.bytes) }
        } else {
            let bytes = error.routedBytes(to: JID(bare: account))
            ways = Self.receivers(account, host).map { ($0, bytes) }
        }
        guard !ways.isEmpty else { return false }
        state.withLock { state in
            for (session, _) in ways { Self.note([id], session, &state) }
        }
        for (session, bytes) in ways {
            session.deliver(
                OutboundStanza(returned: id, bytes) { self.didDeliver(id, session, host) })
        }
        // They may have ended since they were looked up.
        for (session, _) in ways where host.sessions.session(session.jid) !== session {
            sessionEnded(session, host)
        }
        return true
    }

    private static func note(_ ids: [Int64], _ session: Session, _ state: inout State) {
        for id in ids where state.sessions[session.number, default: []].insert(id).inserted {
            state.underWay[id, default: 0] += 1
        }
    }

    private static func receivers(_ account: BareJID, _ host: Host) -> [Session] {
        host.sessions.sessions(of: account).filter { session in
            let availability = session.availability
            return availability.isAvailable && availability.priority >= 0
        }
    }

    /// A session goes on that an earlier process handed these; gives the same with what is to be
    /// done once its client has them.
    func restore(
        _ stanzas: [OutboundStanza], for session: Session, _ host: Host
    ) -> [OutboundStanza] {
        let ids = stanzas.compactMap(\.returned)
        guard !ids.isEmpty else { return stanzas }
        state.withLock { Self.note(ids, session, &$0) }
        return stanzas.map { stanza in
            guard let id = stanza.returned else { return stanza }
            return OutboundStanza(returned: id, stanza.bytes) {
                self.didDeliver(id, session, host)
            }
        }
    }

    // MARK: The end

    /// One client is enough.
    private func didDeliver(_ id: Int64, _ session: Session, _ host: Host) {
        let isFirst = state.withLock { state in
            state.sessions[session.number]?.remove(id)
            if state.sessions[session.number]?.isEmpty ?? false {
                state.sessions[session.number] = nil
            }
            guard state.underWay.removeValue(forKey: id) != nil else { return false }
            // At once, or whoever reads the database meanwhile takes it for a new one.
            state.done.insert(id)
            return true
        }
        if isFirst { deleteDone(host) }
    }

    /// What its client did not get goes to others, if no other one may yet get it.
    func sessionEnded(_ session: Session, _ host: Host) {
        let account = session.jid.bare
        let isLeft = state.withLock { state in
            var isLeft = false
            for id in state.sessions.removeValue(forKey: session.number) ?? [] {
                guard let count = state.underWay[id] else { continue }
                state.underWay[id] = count > 1 ? count - 1 : nil
                if count <= 1 { isLeft = true }
            }
            if isLeft { state.accounts.insert(account) }
            return isLeft
        }
        if isLeft { handOver(to: account, host) }
    }

    private func deleteDone(_ host: Host) {
        let begins = state.withLock { state in
            guard !state.isDeleting, !state.done.isEmpty else { return false }
            state.isDeleting = true
            return true
        }
        guard begins else { return }
        host.database.writer.submit(
            size: 0,
            { connection in
                let ids = self.state.withLock { $0.done }
                try OutgoingStore.deleteReturned(connection, ids)
                return ids
            },
            then: { result in
                self.state.withLock { state in
                    state.isDeleting = false
                    switch result {
                    case .success(let ids): state.done.subtract(ids)
                    // They come again after the next start.
                    case .failure(let error) where error.code == .closed: state.done = []
                    case .failure: break
                    }
                }
                switch result {
                case .success: self.deleteDone(host)
                case .failure(let error): host.log.error("outgoing: \(error)")
                }
            })
    }
}
