// A message's way from a client or another domain to a local account or another domain. What must
// outlive a crash is committed first, then it is delivered, then it counts in its sender's `h`
// (XEP-0198): the one writer commits for everybody, and everything that one sends keeps its order.

internal import Addresses
internal import Logging
internal import NIOCore
internal import Prometheus
internal import Storage
internal import Synchronization
internal import XML
internal import XMPP

/// Where a message goes.
enum MessageRoute {
    /// To these sessions, one at least.
    case sessions([Session])
    /// To the account, which has no session that could take it.
    case account
    /// To another domain.
    case away
    case bounce(StanzaError)
    /// Nobody gets it, and nobody hears of that.
    case nowhere
}

/// A message on its way to a local account. A reference, for it is handed from thread to thread.
final class Message: Sendable {
    let stanza: Stanza
    let to: JID
    /// What it claims and may not.
    let forged: [FragmentChild]

    /// The number of the origin that it comes from at this moment; 0 for none.
    let origin: Int64
    /// Whether its sender is on another domain.
    let isFromAway: Bool
    /// Whether its sender's archive has it already, if it is to.
    let isInSendersArchive: Bool
    /// Its sender may have further clients, which do not know it.
    var isNew: Bool { origin != 0 }

    /// A message from its sender, on a server with these domains.
    convenience init(
        _ stanza: Stanza, to: JID, from origin: any StanzaOrigin, domains: Set<String>
    ) {
        self.init(
            stanza, to: to, origin: origin.number, delays: stanza.delays(by: domains),
            domains: domains)
    }

    /// One that the server sends again, or makes, and to which it may have added a delay.
    convenience init(
        again stanza: Stanza, to: JID, isInSendersArchive: Bool = false, domains: Set<String>
    ) {
        self.init(
            stanza, to: to, origin: 0, isInSendersArchive: isInSendersArchive, delays: [],
            domains: domains)
    }

    private init(
        _ stanza: Stanza, to: JID, origin: Int64, isInSendersArchive: Bool = false,
        delays: [FragmentChild], domains: Set<String>
    ) {
        self.origin = origin
        self.isInSendersArchive = isInSendersArchive
        self.stanza = stanza
        self.to = to
        isFromAway = !domains.contains(stanza.from.bare.domain)
        // What another domain says of its own, such as a room's id, is not ours to judge.
        let ids = stanza.forgedStanzaIDs(
            of: [stanza.from.bare, to.bare].filter { domains.contains($0.domain) })
        forged =
            delays.isEmpty
            ? ids
            : (ids + delays).sorted { $0.range.indices.lowerBound < $1.range.indices.lowerBound }
    }

    /// What a resend has in common with it; nil without an id.
    var fingerprint: Int64? {
        RecentMessages.fingerprint(stanza, to: to, isFromAway: isFromAway)
    }

    /// As another domain gets it.
    var awayBytes: [UInt8] { stanza.routedBytes(without: forged) }

    /// For the delivery time.
    var arrival: NIODeadline? {
        stanza.receivedAt > 0 ? .uptimeNanoseconds(stanza.receivedAt) : nil
    }
}

/// Where a message is stored, and whose archives list it.
struct MessageRecord: Sendable {
    let id: Int64
    let keepers: Keepers
}

extension Host {
    private enum Outcome: Sendable {
        case stored(MessageRecord, isWaiting: Bool, wake: (@Sendable () -> Void)?)
        /// Kept until another domain has it, and perhaps in its sender's archive.
        case queued(Int64, MessageRecord?)
        /// No archive takes it, and nobody has to wait for it.
        case notKept
        /// It came before.
        case resent
        case noAccount
        /// Too much waits for the receiver.
        case full
    }

    // MARK: From a client

    /// Handles a message of a client's or of another domain's, on the loop of its origin.
    func handleMessage(_ stanza: Stanza, to: JID, from origin: any StanzaOrigin) {
        let message = Message(stanza, to: to, from: origin, domains: domainSet)
        if origin is Session { hooks.messageSent?(stanza, self) }
        let route = route(stanza, to: to)
        switch route {
        case .bounce(let error): return bounce(stanza, error)
        case .nowhere: return
        case .sessions, .account, .away: break
        }
        if isKept(stanza, to) { return store(message, from: origin) }
        if case .away = route {
            guard !isQueuedDurably(stanza, to: to) else { return store(message, from: origin) }
            sendAway(message)
            return copy(message, nil)
        }
        if case .sessions(let receivers) = route {
            return deliverUnstored(message, to: receivers)
        }
        guard hooks.waitsForReceiver?(stanza) ?? false else {
            guard hooks.waitsForReceiver != nil else {
                return bounce(stanza, StanzaError(.serviceUnavailable))
            }
            wake(message)
            return copy(message, nil)
        }
        store(message, from: origin)
    }

    /// Has somebody woken for a message that is not stored.
    private func wake(_ message: Message) {
        guard message.isNew, hooks.mayWake?(message.stanza, message.to) ?? false else { return }
        database.writer.submit(
            { try self.hooks.noteWake?(message.stanza, message.to, nil, self, $0) },
            then: { result in (try? result.get())??() })
    }

    /// Whether an archive here may list a message: what others say to a component is in none.
    func isKept(_ stanza: Stanza, _ to: JID) -> Bool {
        guard isLocal(to.domain) || isLocal(stanza.from.domain) else { return false }
        return hooks.isKept?(stanza, to) ?? false
    }

    /// A server sends again what it did not hear of before its stream broke; what was stored is
    /// recognised in the database.
    private func deliverUnstored(_ message: Message, to receivers: [Session]) {
        guard !message.isFromAway || !unstored.isResent(message, to: receivers) else {
            return metrics.resentMessages.add()
        }
        deliver(message, nil, to: receivers)
        wake(message)
    }

    private func sendAway(_ message: Message) {
        sendAway(
            OutboundStanza(.message, message.awayBytes),
            from: message.stanza.from, to: message.to)
    }

    /// A message that its receiver's session did not get any more (XEP-0198 section 4). Any thread.
    func redeliver(_ stanza: Stanza, _ record: MessageRecord?, to: JID) {
        let message = Message(again: stanza, to: to, domains: domainSet)
        switch route(stanza, to: to) {
        case .bounce(let error): bounce(stanza, error)
        case .nowhere: break
        case .sessions(let receivers): deliver(message, record, to: receivers)
        case .away: break
        case .account:
            if let record { return queue(message, record) {} }
            guard hooks.waitsForReceiver?(stanza) ?? false else { return }
            store(message, from: nil)
        }
    }

    /// Commits the message, then delivers it.
    func store(_ message: Message, from origin: (any StanzaOrigin)?) {
        let number = origin?.hold(message.stanza)
        let state = (origin as? Session)?.stateHere
        state?.contents.hasStored = true
        let position = number.flatMap { state?.position(of: $0) }
        let bytes = message.stanza.routedBytes(
            declaresNamespace: true, without: message.forged)
        let receivedAt = Clock.millisecondsSince1970()
        let fingerprint = message.isNew ? message.fingerprint : nil
        database.writer.submit(
            size: bytes.count + 1024,
            { connection in
                try self.store(
                    message, bytes, receivedAt: receivedAt, position, fingerprint, connection)
            },
            then: { result in
                guard let origin else { return self.conclude(message, result) {} }
                // On the sender's loop, where everything that it sent has its order.
                origin.run {
                    self.conclude(message, result) {
                        if let number { origin.release(number) }
                    }
                }
            })
    }

    private func store(
        _ message: Message, _ bytes: [UInt8], receivedAt: Int64, _ position: StreamPosition?,
        _ fingerprint: Int64?, _ connection: Connection
    ) throws -> Outcome {
        var hasReceiver = false
        if case .sessions = route(message.stanza, to: message.to) { hasReceiver = true }
        let isAway = !isLocal(message.to.bare.domain)
        guard try isAway || hasReceiver || Accounts.exists(message.to.bare, in: connection) else {
            return .noAccount
        }
        try recent.begin(connection)
        // Those that have none get one below, if something is stored: it is theirs for ever.
        let (from, to) = (message.stanza.from.bare, message.to.bare)
        let knownSender = try recent.existingNumber(of: from, connection)
        let knownReceiver = try recent.existingNumber(of: to, connection)
        var keepers: Keepers = []
        if isKept(message.stanza, message.to) {
            let parties = MessageParties(
                from: message.stanza.from, sender: knownSender, to: message.to,
                receiver: knownReceiver)
            keepers = try hooks.keepers?(parties, self, connection) ?? []
            if message.isInSendersArchive { keepers.remove(.sender) }
        }
        let isQueued = isAway && isQueuedDurably(message.stanza, to: message.to)
        let waits = !isAway && !hasReceiver && hooks.waitsForReceiver?(message.stanza) ?? false
        guard waits || isQueued || !keepers.isEmpty else { return .notKept }
        if let fingerprint,
            recent.contains(
                fingerprint, now: receivedAt, beside: message.isFromAway ? message.origin : nil)
        {
            return .resent
        }
        let sender = try knownSender ?? recent.number(of: from, connection)
        let receiver = try knownReceiver ?? recent.number(of: to, connection)
        let id = recent.nextNumber()
        if waits {
            let fits = try hooks.queue?(id, receiver, connection) ?? false
            // Its receiver finds it in the archive.
            guard fits || keepers.contains(.receiver) else { return .full }
        }
        if let fingerprint {
            recent.insert(fingerprint, of: message.origin, receivedAt: receivedAt)
        }
        // What no archive may keep waits for another domain elsewhere, and is gone from there once
        // that has it; here it is recognised for a while.
        let isTextKept = waits || !keepers.isEmpty
        try MessageStore.insert(
            connection, id: id, receivedAt: receivedAt, sender: sender, receiver: receiver,
            keepers: keepers, stream: position, fingerprint: fingerprint,
            stanza: isTextKept ? bytes : [])
        let record = MessageRecord(id: id, keepers: keepers)
        guard isQueued else {
            let wake =
                isAway ? nil : try hooks.noteWake?(message.stanza, message.to, id, self, connection)
            return .stored(record, isWaiting: waits, wake: wake ?? nil)
        }
        return .queued(
            try OutgoingStore.insert(
                connection, from: message.stanza.from.bare.domain, to: message.to.bare.domain,
                kind: .message, addedAt: receivedAt, message.awayBytes), record)
    }

    /// `done` is called once the message counts as handled.
    private func conclude(
        _ message: Message, _ result: Result<Outcome, StorageError>,
        _ done: @escaping @Sendable () -> Void
    ) {
        switch result {
        case .success(.stored(let record, _, _)) where !isLocal(message.to.bare.domain):
            // To a component, which has no queue on the disk: its sender's archive has it.
            if settling.isDue(record.id) { settleMessages() }
            sendAway(message)
            copy(message, record)
        case .success(.stored(let record, let isWaiting, let wake)):
            wake?()
            if settling.isDue(record.id) { settleMessages() }
            guard isWaiting else { return deliverStored(message, record, done) }
            copy(message, record)
            hooks.queued?(message.to.bare, self)
        case .success(.queued(let id, let record)):
            if let record, settling.isDue(record.id) { settleMessages() }
            federation.enqueue(
                id, OutboundStanza(.message, message.awayBytes), from: message.stanza.from,
                to: message.to, self)
            copy(message, record)
        case .success(.notKept) where !isLocal(message.to.bare.domain):
            sendAway(message)
            copy(message, nil)
        case .success(.notKept):
            if case .sessions(let receivers) = route(message.stanza, to: message.to) {
                deliverUnstored(message, to: receivers)
            } else {
                wake(message)
                copy(message, nil)
            }
        case .success(.resent):
            metrics.resentMessages.add()
        case .success(.noAccount):
            bounce(message.stanza, StanzaError(.serviceUnavailable, "no such account"))
        case .success(.full):
            bounceFull(message)
        case .failure(let error):
            log.error("message: \(error)")
            metrics.refusals[.storage].add()
            bounce(message.stanza, .notStored(error))
        }
        done()
    }

    private func bounceFull(_ message: Message) {
        metrics.refusals[.offlineMessages].add()
        bounce(
            message.stanza,
            StanzaError(.serviceUnavailable, "the receiver's offline store is full"))
    }

    /// Its receiver was there when it was stored, and may be gone.
    private func deliverStored(
        _ message: Message, _ record: MessageRecord, _ done: @escaping @Sendable () -> Void
    ) {
        if case .sessions(let receivers) = route(message.stanza, to: message.to) {
            deliver(message, record, to: receivers)
            return done()
        }
        copy(message, record)
        queue(message, record, done)
    }

    /// Has a stored message wait for its receiver.
    private func queue(
        _ message: Message, _ record: MessageRecord, _ done: @escaping @Sendable () -> Void
    ) {
        guard hooks.waitsForReceiver?(message.stanza) ?? false else { return done() }
        let account = message.to.bare
        database.writer.submit(
            size: 256,
            { connection -> (fits: Bool, wake: (@Sendable () -> Void)?) in
                let fits =
                    try self.hooks.queue?(
                        record.id, try MessageStore.number(of: account, in: connection),
                        connection) ?? false
                let wake = try self.hooks.noteWake?(
                    message.stanza, message.to, record.id, self, connection)
                return (fits, wake ?? nil)
            },
            then: { result in
                if case .success((_, let wake?)) = result { wake() }
                switch result {
                case .success((true, _)): self.hooks.queued?(account, self)
                case .success((false, _)):
                    // Its receiver finds it in the archive, or not at all.
                    if !record.keepers.contains(.receiver) { self.bounceFull(message) }
                case .failure(let error): self.log.error("offline message: \(error)")
                }
                done()
            })
    }

    // MARK: To sessions

    /// Delivers a message to these sessions, and copies to those that want them.
    func deliver(_ message: Message, _ record: MessageRecord?, to receivers: [Session]) {
        let copies = copies(of: message, record, to: receivers)
        let count = receivers.count + copies.count { $0.direction == .received }
        let bytes = message.stanza.routedBytes(
            without: message.forged, adding: stanzaID(record, .receiver, of: message.to.bare))
        let shared = count > 1 ? SharedDelivery(bytes, count: count) : nil
        let outbound = OutboundStanza(
            .message, bytes, receivedAt: message.arrival, isOnlyCopy: count == 1, shared: shared,
            record: record)
        for session in receivers { session.deliver(outbound) }
        send(copies, of: message, record, shared: shared)
    }

    /// `<stanza-id/>` for the owner of an archive, empty if that archive does not list it.
    func stanzaID(_ record: MessageRecord?, _ keeper: Keepers, of account: BareJID) -> [UInt8] {
        guard let record, record.keepers.contains(keeper) else { return [] }
        return hooks.stanzaID?(record.id, account) ?? []
    }

    /// Its client has said good-bye and has nothing to send again.
    func forgetMessages(of session: Session) {
        let number = session.number
        database.writer.afterQueued { self.recent.forget(number) }
    }

    /// The same of a stream from another domain.
    func forgetMessages(of peer: PeerOrigin) {
        let number = peer.number
        unstored.forget(number)
        database.writer.afterQueued { self.recent.forget(number) }
    }

    // MARK: Settling

    /// How long the position of a stream is known after it, in seconds.
    private static let streamMemory: Int64 = 30 * 86_400

    /// Lists some of the latest messages where they are looked for; `then` gets whether there may
    /// be more of them.
    private func settleMessages(
        then: @escaping @Sendable (Result<Bool, StorageError>) -> Void = { _ in }
    ) {
        let now = Clock.secondsSince1970()
        database.writer.submit(
            size: 0,
            { connection -> ClosedRange<Int64>? in
                guard let range = try MessageStore.unsettled(connection, limit: Settling.batch)
                else { return nil }
                for hook in self.hooks.settleMessages { try hook(range, connection) }
                try MessageStore.settle(connection, range, now: now)
                try MessageStore.deleteUnkept(connection, range) { message, receiver in
                    try self.hooks.isWaiting?(message, receiver, connection) ?? false
                }
                try MessageStore.forgetStreams(connection, before: now - Self.streamMemory)
                return range
            },
            then: { result in
                switch result {
                case .success(let range): self.settling.didSettle(range?.upperBound)
                case .failure(let error):
                    self.settling.didSettle(nil)
                    self.log.error("messages: \(error)")
                }
                if case .success(_?) = result {
                    for hook in self.hooks.messagesSettled { hook(self) }
                }
                then(result.map { ($0?.count ?? 0) >= Settling.batch })
            })
    }

    /// Settles everything that is stored now; `then` is called when that is done or cannot be.
    public func settleAllMessages(then: @escaping @Sendable () -> Void) {
        settleMessages { result in
            if case .success(true) = result { return self.settleAllMessages(then: then) }
            then()
        }
    }

    /// Whether something that a client sent before its present request waits for the disk. On the
    /// client's loop.
    public func hasUnstored(_ session: Session) -> Bool {
        session.stateHere.map { $0.inbound.openCount > 1 } ?? false
    }
}

/// When the latest messages are to be listed where they are looked for. Safe on any thread.
final class Settling: Sendable {
    /// So many at a time: each page of the lists is written once for many messages.
    static let batch = 1024

    private struct State {
        var last: Int64 = 0
        var isUnderWay = false
    }

    private let state = Mutex(State())

    init(settled: Int64) {
        state.withLock { $0.last = settled }
    }

    /// Whether it is time, now that this message was stored. True once.
    func isDue(_ id: Int64) -> Bool {
        state.withLock { state in
            guard !state.isUnderWay, id - state.last >= Int64(Self.batch) else { return false }
            state.isUnderWay = true
            return true
        }
    }

    func didSettle(_ last: Int64?) {
        state.withLock { state in
            state.isUnderWay = false
            if let last { state.last = last }
        }
    }
}
