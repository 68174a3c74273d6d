// Errors about messages that could not get to another domain and whose sender's client has gone
// meanwhile: they wait in the database until the account has a client that takes messages.

internal import Addresses
internal import Logging
internal import Storage
internal import Synchronization
internal import XMPP

/// An error about a message that was kept.
struct ReturnedError: Sendable {
    /// The message's number among those that wait for other domains.
    let id: Int64
    let account: BareJID
    let bytes: [UInt8]

    /// Nil when the sender can be told as always, or not at all.
    init?(_ id: Int64, _ stanza: Stanza, _ error: StanzaError, _ host: Host) {
        guard stanza.kind == .message, !stanza.isError, host.isLocal(stanza.from.domain),
            host.sessions.session(stanza.from) == nil,
            let answer = Stanza(routed: stanza.errorBytes(error))
        else { return nil }
        self.id = id
        account = stanza.from.bare
        bytes = answer.routedBytes(to: JID(bare: account))
    }
}

/// The errors that wait for their receivers. Safe on any thread.
final class ReturnedErrors: Sendable {
    private struct State {
        /// For whom something waits.
        var accounts: Set<BareJID> = []
        /// Who is being given what waits.
        var busy: Set<BareJID> = []
    }

    private let state = Mutex(State())

    func load(_ accounts: [BareJID]) {
        state.withLock { $0.accounts.formUnion(accounts) }
    }

    /// Has them wait, and gives them to those who are there.
    func keep(_ errors: [ReturnedError], _ host: Host) {
        guard !errors.isEmpty else { return }
        host.database.writer.submit(
            size: errors.reduce(0) { $0 + $1.bytes.count },
            { connection in
                for error in errors { try OutgoingStore.putBack(connection, error) }
            },
            then: { result in
                if case .failure(let error) = result {
                    // The messages are tried again after the next start.
                    return host.log.error("outgoing: \(error)")
                }
                let accounts = Set(errors.map(\.account))
                self.state.withLock { $0.accounts.formUnion(accounts) }
                for account in accounts { self.handOver(to: account, host) }
            })
    }

    /// A client takes messages from now on.
    func handOver(to session: Session, _ host: Host) { handOver(to: session.jid.bare, host) }

    /// Gives an account what waits for it, if it has a client that takes messages. Any thread.
    func handOver(to account: BareJID, _ host: Host) {
        guard !Self.receivers(account, host).isEmpty else { return }
        let isDue = state.withLock { state in
            guard !state.busy.contains(account), state.accounts.remove(account) != nil else {
                return false
            }
            state.busy.insert(account)
            return true
        }
        guard isDue else { return }
        host.database.writer.submit(
            size: 0, { try OutgoingStore.returned($0, to: account) },
            then: { result in
                switch result {
                case .success(let rows): self.give(rows, to: account, host)
                case .failure(let error):
                    host.log.error("outgoing: \(error)")
                    self.end(account, isDone: false)
                }
            })
    }

    private func give(_ rows: [(id: Int64, bytes: [UInt8])], to account: BareJID, _ host: Host) {
        let receivers = Self.receivers(account, host)
        guard !receivers.isEmpty else { return end(account, isDone: false) }
        for row in rows {
            for session in receivers { session.deliver(OutboundStanza(.message, row.bytes)) }
        }
        host.database.writer.submit(
            size: 0, { try OutgoingStore.deleteReturned($0, rows.map(\.id)) },
            then: { result in
                // They come again after the next start.
                if case .failure(let error) = result { host.log.error("outgoing: \(error)") }
                self.end(account, isDone: true)
                self.handOver(to: account, host)
            })
    }

    private func end(_ account: BareJID, isDone: Bool) {
        state.withLock { state in
            state.busy.remove(account)
            if !isDone { state.accounts.insert(account) }
        }
    }

    private static func receivers(_ account: BareJID, _ host: Host) -> [Session] {
        host.sessions.sessions(of: account).filter { session in
            let availability = session.availability
            return availability.isAvailable && availability.priority >= 0
        }
    }
}
