// XEP-0160: messages for accounts with no available session are stored and delivered when the
// next one announces itself with a priority of 0 or more, stamped with the time of their arrival
// (XEP-0203). They are deleted once the client has them, a batch at a time: a crash in between
// repeats them and loses none. Not stored: errors, headlines, group chat, and messages that hold
// nothing but chat states or ask not to be stored (XEP-0334).

internal import Addresses
internal import Engine
internal import Logging
internal import Options
internal import Prometheus
internal import Storage
internal import Synchronization
internal import XML
internal import XMPP

struct OfflineMessages: Feature {
    static let specifications = [
        Specification("XEP-0160", version: "1.0.1", "Best Practices for Handling Offline Messages"),
        Specification("XEP-0203", version: "2.0", "Delayed Delivery"),
    ]

    init(in host: HostBuilder) {
        for step in OfflineMessageStore.schema { host.schema(step) }
        let limit = host.options.integer(
            "limits.offline_messages", default: 1000, in: 0...1_000_000, reloadable: true,
            help: "Messages that wait for one account; further ones are in its archive alone, or "
                + "are returned to the sender if it keeps none.")
        let stored = host.registry.counter(
            "kinglet_offline_messages_stored_total",
            help: "Messages stored for accounts that were offline.")
        let delivered = host.registry.counter(
            "kinglet_offline_messages_delivered_total",
            help: "Stored messages handed to their receivers.")
        let waiting = host.registry.gauge(
            "kinglet_offline_messages", help: "Messages that wait for their receivers.")
        let mailboxes = Mailboxes(stored: stored, delivered: delivered, waiting: waiting)
        host.advertise("msgoffline")
        host.hooks.started.append { mailboxes.countWaiting($0) }
        host.hooks.waitsForReceiver = Self.isStorable
        host.hooks.isWorthWaiting = Self.saysSomething
        host.hooks.queue = { message, receiver, connection in
            try OfflineMessageStore.insert(connection, message, receiver, limit: limit.value)
        }
        host.hooks.isWaiting = { message, receiver, connection in
            try OfflineMessageStore.contains(connection, message, receiver)
        }
        host.hooks.fetched = { mailboxes.fetched($1, by: $0, $2) }
        host.hooks.queued = { mailboxes.queued(for: $0, $1) }
        host.hooks.willTakeMessages.append { session, _ in mailboxes.hold(for: session) }
        host.hooks.takesMessages.append { session, host in mailboxes.open(for: session, host) }
        host.hooks.sessionEnded.append { account, session, host in
            mailboxes.end(account, session, host)
        }
        host.hooks.sessionSuspended.append { mailboxes.end($0.jid.bare, $0, $1) }
        host.hooks.restoreReceiver = { mailboxes.restore($0, for: $1, $2) }
        host.hooks.accountSizes.append { account, connection in
            [
                AccountSize(
                    "offline_messages", try OfflineMessageStore.count(connection, of: account))
            ]
        }
        host.hooks.removeAccount.append { try OfflineMessageStore.deleteAll($1, of: $0) }
        host.hooks.accountRemoved.append { mailboxes.countWaiting($1) }
        host.hooks.mergeAccount.append { merge, host, connection in
            // Whoever has been there since has had them, or has them waiting.
            guard merge.isNew, let past = host.hooks.past else {
                return [AccountSize("waiting_messages", 0)]
            }
            let count = try OfflineMessageStore.merge(
                merge.account, from: merge.backup, connection,
                isPast: try past(merge.backup, connection))
            return [AccountSize("waiting_messages", count)]
        }
    }

    /// Whether a message is worth waiting for.
    static let isStorable: @Sendable (Stanza) -> Bool = { stanza in
        if stanza.isError || stanza.isType("headline") || stanza.isType("groupchat") {
            return false
        }
        return saysSomething(stanza)
    }

    /// Whether a message holds more than chat states and lets itself be stored. One that must not
    /// be kept for good may wait for a while (XEP-0334 section 4.1).
    static let saysSomething: @Sendable (Stanza) -> Bool = { stanza in
        let fragment = stanza.fragment
        if fragment.hasChild("no-store", "urn:xmpp:hints") { return false }
        return fragment.children.contains { child in
            !fragment.child(child, isNamed: "thread", "jabber:client")
                && (!sayNothing.contains(fragment.namespace(of: child))
                    || fragment.child(child, isNamed: "store", "urn:xmpp:hints"))
        }
    }

    /// Chat states, and what other content comes with.
    private static let sayNothing: Set<String> = [
        "http://jabber.org/protocol/chatstates", "urn:xmpp:hints", "urn:xmpp:sid:0",
        // The server's own, of what was kept for a session that ended.
        "urn:xmpp:delay",
    ]

    /// A stored message with the time of its arrival (XEP-0203), before its end tag.
    static func stamped(_ message: StoredMessage, for account: BareJID, _ host: Host) -> [UInt8] {
        var extra: [UInt8] = []
        // One that waited for a session before has that time, which is the right one.
        if Stanza(routed: message.stanza)?.delays(by: [account.domain]).isEmpty ?? true {
            let delay = Element(
                "delay", "urn:xmpp:delay",
                [("from", account.domain), ("stamp", Timestamp.text(message.receivedAt))])
            extra = XMLWriter.bytes(delay, contentNamespace: Namespaces.client)
        }
        if message.keepers.contains(.receiver) {
            extra += host.hooks.stanzaID?(message.id, account) ?? []
        }
        var bytes = message.stanza
        guard let end = bytes.lastIndex(of: 0x3C) else { return bytes }
        bytes.insert(contentsOf: extra, at: end)
        return bytes
    }
}

/// Who is being given their stored messages. Safe on any thread.
private final class Mailboxes: Sendable {
    private let stored: Counter
    private let delivered: Counter
    private let waiting: Gauge
    private struct Receiver {
        let session: Session
        /// The session is visible and its messages are on their way.
        var isServed = false
        /// How many were read last.
        var batch = 0
        /// Those of them that its client need not get, and those that it has.
        var done: [Int64] = []
        /// How many it need not get.
        var unwanted = 0
    }

    /// Who gets each account's messages.
    private let receivers = Mutex<[BareJID: Receiver]>([:])

    init(stored: Counter, delivered: Counter, waiting: Gauge) {
        self.stored = stored
        self.delivered = delivered
        self.waiting = waiting
    }

    func countWaiting(_ host: Host) {
        let waiting = waiting
        // By the writer, whose thread also counts what comes and goes.
        host.database.writer.submit({ try OfflineMessageStore.count($0) }) { result in
            if case .success(let count) = result { waiting.set(Double(count)) }
        }
    }

    func queued(for account: BareJID, _ host: Host) {
        stored.add()
        waiting.add(1)
        deliverIfBack(account, host)
    }

    /// A client has these from the archive, so it need not get them again.
    func fetched(_ messages: [Int64], by account: BareJID, _ host: Host) {
        host.database.writer.submit(
            size: 0,
            { try OfflineMessageStore.delete($0, of: account, messages) },
            then: { result in
                if case .success(let deleted) = result { self.waiting.add(-Double(deleted)) }
            })
    }

    /// The receiver may have come back while the message was being stored.
    private func deliverIfBack(_ account: BareJID, _ host: Host) {
        let session = host.sessions.sessions(of: account).first { session in
            let availability = session.availability
            return availability.isAvailable && availability.priority >= 0
        }
        guard let session, claim(account, session), startServing(session) else { return }
        // It may have ended since it was looked up.
        guard host.sessions.session(session.jid) === session else {
            close(account, session)
            return
        }
        deliver(to: session, host)
    }

    /// A session is about to be visible. What reaches it from then on waits until it has what was
    /// stored, so that the order of arrival is the order of delivery. On the session's loop.
    func hold(for session: Session) {
        if claim(session.jid.bare, session) { session.holdMessages() }
    }

    /// The session is visible, so that nothing more is stored but what is on its way already.
    func open(for session: Session, _ host: Host) {
        if startServing(session) { deliver(to: session, host) }
    }

    private func claim(_ account: BareJID, _ session: Session) -> Bool {
        receivers.withLock { receivers in
            guard receivers[account] == nil else { return false }
            receivers[account] = Receiver(session: session)
            return true
        }
    }

    /// True once per claim, so that nothing is delivered twice side by side.
    private func startServing(_ session: Session) -> Bool {
        receivers.withLock { receivers in
            let account = session.jid.bare
            guard let receiver = receivers[account], receiver.session === session,
                !receiver.isServed
            else { return false }
            receivers[account]?.isServed = true
            return true
        }
    }

    /// The session has everything, or gets no more: the rest stays for the next one. Gives what
    /// its client has and is still stored.
    @discardableResult
    private func close(_ account: BareJID, _ session: Session) -> Receiver? {
        receivers.withLock { receivers in
            guard let receiver = receivers[account], receiver.session === session else {
                return nil
            }
            receivers[account] = nil
            return receiver
        }
    }

    /// The session ended, or leaves this process, maybe before it had everything.
    func end(_ account: BareJID, _ session: Session?, _ host: Host) {
        guard let session else { return }
        guard let receiver = close(account, session), !receiver.done.isEmpty else { return }
        delete(receiver, of: account, host) { _ in }
    }

    /// The session goes on as one that these messages were handed to.
    func restore(
        _ messages: [Int64], for session: Session, _ host: Host
    ) -> (@Sendable (Int64) -> Void)? {
        guard claim(session.jid.bare, session) else { return nil }
        if !messages.isEmpty, startServing(session) { beginBatch(messages, done: [], for: session) }
        return { self.didDeliver($0, to: session, host) }
    }

    /// A batch was read.
    ///
    /// - Parameter done: those of them that may go without being sent.
    @discardableResult
    private func beginBatch(
        _ messages: [Int64], done: [Int64], for session: Session
    ) -> Receiver? {
        receivers.withLock { receivers in
            guard receivers[session.jid.bare]?.session === session else { return nil }
            receivers[session.jid.bare]?.batch = messages.count
            receivers[session.jid.bare]?.done = done
            receivers[session.jid.bare]?.unwanted = done.count
            return receivers[session.jid.bare]
        }
    }

    /// A client has a message; after the last one of the batch others follow.
    private func didDeliver(_ message: Int64, to session: Session, _ host: Host) {
        let account = session.jid.bare
        let batch: Receiver? = receivers.withLock { receivers in
            guard receivers[account]?.session === session else { return nil }
            receivers[account]?.done.append(message)
            guard let receiver = receivers[account], receiver.done.count >= receiver.batch
            else { return nil }
            return receiver
        }
        if let batch { deleteBatch(batch, of: session, host) }
    }

    private func deleteBatch(_ batch: Receiver, of session: Session, _ host: Host) {
        let account = session.jid.bare
        delete(batch, of: account, host) { isDeleted in
            // If not, they stay, and come again with the next login: twice rather than never.
            if isDeleted { return self.deliver(to: session, host) }
            self.close(account, session)
            session.releaseMessages()
        }
    }

    /// Reads some of what is stored, hands it to the session, deletes it, and goes on until there
    /// is nothing left; then the session gets what was held back.
    private func deliver(to session: Session, _ host: Host) {
        let account = session.jid.bare
        // Through the writer, so that whatever was stored before is seen.
        host.database.writer.submit(
            size: 0, { try OfflineMessageStore.messages($0, of: account) },
            then: { result in
                let messages = (try? result.get()) ?? []
                if case .failure(let error) = result {
                    host.log.error("offline messages: \(error)")
                }
                guard !messages.isEmpty else {
                    // First, for a message that is being stored now must find nobody served.
                    self.close(account, session)
                    return session.releaseMessages()
                }
                let wanted = messages.filter { !Self.isBlocked($0, by: account, host) }
                let unwanted = Set(messages.map(\.id)).subtracting(wanted.map(\.id))
                let batch = self.beginBatch(
                    messages.map(\.id), done: Array(unwanted), for: session)
                guard !wanted.isEmpty else {
                    if let batch { self.deleteBatch(batch, of: session, host) }
                    return
                }
                session.deliverAheadOfHeld(
                    wanted.map { message in
                        let bytes = OfflineMessages.stamped(message, for: account, host)
                        return OutboundStanza(waiting: message.id, bytes) {
                            self.didDeliver(message.id, to: session, host)
                        }
                    })
            })
    }

    /// Whether the receiver has blocked the sender since (XEP-0191 section 3.3).
    private static func isBlocked(
        _ message: StoredMessage, by account: BareJID, _ host: Host
    ) -> Bool {
        guard let isBlocked = host.hooks.isBlocked,
            let sender = Stanza(routed: message.stanza)?.from
        else { return false }
        return isBlocked(account, sender)
    }

    private func delete(
        _ batch: Receiver, of account: BareJID, _ host: Host,
        then: @escaping @Sendable (Bool) -> Void
    ) {
        host.database.writer.submit(
            size: 0,
            { connection in try OfflineMessageStore.delete(connection, of: account, batch.done) },
            then: { result in
                switch result {
                case .success(let deleted):
                    self.delivered.add(batch.done.count - batch.unwanted)
                    self.waiting.add(-Double(deleted))
                    then(true)
                case .failure(let error):
                    host.log.error("offline messages: \(error)")
                    then(false)
                }
            })
    }
}
