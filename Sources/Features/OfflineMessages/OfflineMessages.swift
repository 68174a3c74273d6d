// XEP-0160: messages for accounts with no available session are stored and delivered when the
// next one announces itself with a priority of 0 or more, stamped with the time of their arrival
// (XEP-0203). They are deleted once they were handed to the client's socket: a crash in between
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
            help: "Messages that wait for one account; further ones are returned to the sender.")
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
            mailboxes.close(account, session)
        }
        host.hooks.removeAccount.append { try OfflineMessageStore.deleteAll($1, of: $0) }
        host.hooks.accountRemoved.append { mailboxes.countWaiting($1) }
    }

    /// Whether a message is worth waiting for. One that must not be kept for good may wait for a
    /// while (XEP-0334 section 4.1).
    static let isStorable: @Sendable (Stanza) -> Bool = { stanza in
        let fragment = stanza.fragment
        if stanza.isError || stanza.isType("headline") || stanza.isType("groupchat") {
            return false
        }
        if fragment.hasChild("no-store", "urn:xmpp:hints") { return false }
        return fragment.children.contains { child in
            !fragment.child(child, isNamed: "thread", "jabber:client")
                && fragment.namespace(of: child) != "http://jabber.org/protocol/chatstates"
                && (fragment.namespace(of: child) != "urn:xmpp:hints"
                    || fragment.child(child, isNamed: "store", "urn:xmpp:hints"))
        }
    }

    /// A stored message with the time of its arrival (XEP-0203), before its end tag.
    static func stamped(_ message: StoredMessage, for account: BareJID, _ host: Host) -> [UInt8] {
        let delay = Element(
            "delay", "urn:xmpp:delay",
            [("from", account.domain), ("stamp", Clock.timestamp(message.receivedAt / 1000))])
        var extra = XMLWriter.bytes(delay, contentNamespace: Namespaces.client)
        if message.keepers.contains(.receiver) {
            extra += host.hooks.stanzaID?(message.id, account) ?? []
        }
        let bytes = message.stanza
        guard let end = bytes.lastIndex(of: 0x3C) else { return bytes }
        return bytes[..<end] + extra + bytes[end...]
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
            return close(account, session)
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

    /// The session ended before it had everything: the rest stays for the next one.
    func close(_ account: BareJID, _ session: Session?) {
        receivers.withLock { receivers in
            guard let session, receivers[account]?.session === session else { return }
            receivers[account] = nil
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
                let delete: @Sendable () -> Void = {
                    self.delete(messages.map(\.id), delivered: wanted.count, of: session, host)
                }
                guard let last = wanted.last else { return delete() }
                session.deliverAheadOfHeld(
                    wanted.map { message in
                        OutboundStanza(
                            .message, OfflineMessages.stamped(message, for: account, host),
                            onDelivery: message.id == last.id ? delete : nil)
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
        _ messages: [Int64], delivered: Int, of session: Session, _ host: Host
    ) {
        let account = session.jid.bare
        host.database.writer.submit(
            size: 0,
            { connection in try OfflineMessageStore.delete(connection, of: account, messages) },
            then: { result in
                switch result {
                case .success(let deleted):
                    self.delivered.add(delivered)
                    self.waiting.add(-Double(deleted))
                    self.deliver(to: session, host)
                case .failure(let error):
                    // They stay, and come again with the next login: twice rather than never.
                    host.log.error("offline messages: \(error)")
                    self.close(account, session)
                    session.releaseMessages()
                }
            })
    }
}
