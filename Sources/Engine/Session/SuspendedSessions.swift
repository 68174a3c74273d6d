// A planned restart keeps the sessions that their clients may resume (XEP-0198 section 5): the
// process that stops writes them down, the next one has them hibernate, and nobody is told that
// they went.
//
// Which copy counts: what is written of a session is there from the stop until its client has
// resumed it or it has ended, and that once only. Who restores it notes so before anybody else can
// reach it, for from then on its queue grows in memory. Found so noted at a start, it is stale: the
// process that restored it crashed. Its client may have missed what came since, so it is not
// resumed but ends, as after any crash: its messages go to their receiver's offline store, where
// one that is in it already is not doubled. Those that the session had from the offline store are
// still there in any case, for they go when the client has them.
//
// A session's row goes behind the messages that its end sends elsewhere, and the writer keeps that
// order, so a crash between them repeats those and loses none.

internal import Addresses
internal import Logging
internal import NIOCore
internal import Options
internal import Prometheus
internal import Storage
internal import Synchronization
internal import XML
internal import XMPP

extension Host {
    /// What a session takes beside its stanzas, and a stanza beside its bytes, about.
    private static let overhead = 256
    /// Sessions that are made ready at a time.
    private static let batch = 64

    // MARK: The end of a process

    /// Tells every client that the server stops, ends the streams, and writes down the sessions
    /// that can be resumed. Nothing may come in any more.
    public func stop() async {
        federation.stop()
        endSessionStreams()
        // Contacts on other domains are told of those that go, while there are streams to tell it.
        await drain()
        endOtherStreams()
        await federation.attemptsEnded()
        await quiesce()
        // Other servers have a second to say what they have.
        await peers.ended(within: .seconds(2))
        if await endLargest() { await quiesce() }
        var suspended: [SuspendedSession] = []
        for session in sessions.all {
            if let session = await session.ask({ $0.suspend() }) ?? nil {
                suspended.append(session)
            }
        }
        let shares = Self.shares(in: suspended)
        for session in suspended { write(session, shares) }
        await quiesce()
        guard !suspended.isEmpty else { return }
        log.notice("sessions suspended", metadata: ["count": "\(suspended.count)"])
    }

    /// Numbers the messages that go to several clients, none of which has them yet.
    private static func shares(in sessions: [SuspendedSession]) -> [ObjectIdentifier: Int64] {
        var found: [ObjectIdentifier: (delivery: SharedDelivery, holders: Int)] = [:]
        for session in sessions {
            for case let delivery? in session.allStanzas.map(\.shared) {
                found[ObjectIdentifier(delivery), default: (delivery, 0)].holders += 1
            }
        }
        var shares: [ObjectIdentifier: Int64] = [:]
        for (identifier, entry) in found where entry.holders == entry.delivery.count {
            // Random, for rows that an earlier process left may still be there.
            shares[identifier] = Int64.random(in: 1...Int64.max)
        }
        return shares
    }

    /// Waits until what clients sent is stored, delivered and counted: a message may go from the
    /// commit to a receiver who is gone, from there to the offline store, and on to another
    /// session.
    private func quiesce() async {
        for _ in 0..<4 {
            await withCheckedContinuation { continuation in
                database.writer.afterQueued { continuation.resume() }
            }
            await drain()
        }
    }

    /// Ends the largest sessions if they are too much to write. True if there were any.
    private func endLargest() async -> Bool {
        var sizes: [(session: Session, size: Int)] = []
        for session in sessions.all {
            let presence = session.availability.presence?.fragment.bytes.count ?? 0
            let stanzas = await session.ask { state in
                state.contents.queue.bytes + state.contents.heldBytes
                    + (state.contents.queue.count + 1) * Self.overhead
            }
            if let stanzas { sizes.append((session, stanzas + presence)) }
        }
        var room = limits.suspendedSessions.value
        var hasEnded = false
        for (session, size) in sizes.sorted(by: { $0.size < $1.size }) {
            room -= size
            guard room < 0 else { continue }
            metrics.refusals[.suspendedSessions].add()
            session.terminate(StreamError(.systemShutdown))
            hasEnded = true
        }
        return hasEnded
    }

    private func write(_ session: SuspendedSession, _ shares: [ObjectIdentifier: Int64]) {
        database.writer.submit(
            size: 0,
            { connection in
                try SuspendedSessionStore.insert(connection, session, shares)
                guard let position = session.position else { return }
                try MessageStore.note(
                    connection, position, of: session.jid.bare, now: session.suspendedAt)
            },
            then: { result in
                switch result {
                case .success: self.metrics.suspensions[.suspended].add()
                case .failure(let error): self.log.error("suspended session: \(error)")
                }
            })
    }

    // MARK: The start of a process

    /// Has the sessions that the last process suspended hibernate, so that their clients can
    /// resume them. Before anything listens.
    public func restoreSessions() async {
        let result: Result<[SuspendedSessionStore.Row], StorageError> =
            await withCheckedContinuation { continuation in
                database.writer.submit({ try SuspendedSessionStore.take($0) }) {
                    continuation.resume(returning: $0)
                }
            }
        let rows: [SuspendedSessionStore.Row]
        do {
            rows = try result.get()
        } catch {
            return log.error("suspended sessions: \(error)")
        }
        guard !rows.isEmpty else { return }
        var restored: [(session: Session, row: SuspendedSessionStore.Row)] = []
        var leftover = rows.filter(\.isStale)
        let fresh = rows.filter { !$0.isStale }
        for start in stride(from: 0, to: fresh.count, by: Self.batch) {
            for (row, isReady) in await prepare(fresh[start...].prefix(Self.batch)) {
                // What cannot be read now is stale at the next start.
                guard isReady else { continue }
                if let session = await insert(row.session, at: restored.count) {
                    restored.append((session, row))
                } else {
                    leftover.append(row)
                }
            }
        }
        // Only now, when all are there, they see each other.
        for (session, row) in restored {
            _ = await session.ask { _ in self.makeAvailable(session, row.session) }
        }
        for (session, row) in restored where row.isDisabled {
            session.terminate(StreamError(.policyViolation, "the account is disabled"))
        }
        for row in leftover { drop(row.session) }
        await quiesce()
        metrics.suspensions[.restored].add(restored.count)
        log.notice(
            "sessions restored",
            metadata: ["count": "\(restored.count)", "dropped": "\(leftover.count)"])
    }

    /// Has ready what the sessions need; keeps their order, and says of each whether it is.
    private func prepare(
        _ rows: ArraySlice<SuspendedSessionStore.Row>
    ) async -> [(SuspendedSessionStore.Row, Bool)] {
        await withTaskGroup(of: (Int, Bool).self) { group in
            for (index, row) in rows.enumerated() {
                group.addTask {
                    await withCheckedContinuation { continuation in
                        self.prepareSession(row.session.jid.bare) {
                            continuation.resume(returning: (index, $0))
                        }
                    }
                }
            }
            var areReady = [Bool](repeating: false, count: rows.count)
            for await (index, isReady) in group { areReady[index] = isReady }
            return Array(zip(rows, areReady))
        }
    }

    /// Makes a session that hibernates and is not available yet; nil if there is no place for it.
    private func insert(_ suspended: SuspendedSession, at index: Int) async -> Session? {
        guard !loops.isEmpty else { return nil }
        let loop = loops[index % loops.count]
        return await withCheckedContinuation { continuation in
            loop.eventLoop.execute {
                continuation.resume(returning: self.insert(suspended, on: loop))
            }
        }
    }

    private func insert(_ suspended: SuspendedSession, on loop: Loop) -> Session? {
        let session = Session(
            suspended.jid, address: suspended.address, since: suspended.since, host: self)
        session.flags.rawValue = suspended.flags
        session.resumptionID = suspended.id
        let state = SessionState(session, host: self, loop: loop)
        session.place.withLock { $0 = .at(loop, NIOLoopBound(state, eventLoop: loop.eventLoop)) }
        guard case .inserted = sessions.insert(session, limit: limits.resources.value) else {
            session.place.withLock { $0 = .ended }
            discardPreparation(suspended.jid.bare)
            return nil
        }
        metrics.sessions.add(1)
        hooks.restoreDirectedPresence?(suspended.directed, session)
        state.contents = reconnected(suspended, session).contents
        state.countUnacknowledged()
        let longest = Int(limits.hibernation.value.components.seconds)
        state.hibernate(for: suspended.time(now: Clock.secondsSince1970(), longest: longest))
        return session
    }

    /// The session as it was, going on to take what waits for its account if it did.
    private func reconnected(
        _ suspended: SuspendedSession, _ session: Session
    ) -> SuspendedSession {
        var suspended = suspended
        suspended.queue = federation.returned.restore(suspended.queue, for: session, self)
        suspended.held = suspended.held.map { federation.returned.restore($0, for: session, self) }
        let waiting = suspended.waiting
        let takesMore = suspended.held != nil && suspended.takesMessages
        guard takesMore || !waiting.isEmpty,
            let didDeliver = hooks.restoreReceiver?(waiting, session, self)
        else {
            // Nobody would release them.
            suspended.queue += suspended.held ?? []
            suspended.held = nil
            return suspended
        }
        suspended.queue = suspended.queue.map { stanza in
            guard let message = stanza.waiting else { return stanza }
            return OutboundStanza(waiting: message, stanza.bytes) { didDeliver(message) }
        }
        return suspended
    }

    /// On the session's loop, as if it announced itself to nobody.
    private func makeAvailable(_ session: Session, _ suspended: SuspendedSession) {
        guard let presence = Stanza(routed: suspended.presence) else { return }
        let takesMessages = suspended.takesMessages
        if takesMessages { for hook in hooks.willTakeMessages { hook(session, self) } }
        session.availability = Session.Availability(
            presence: presence, priority: suspended.priority)
        if takesMessages { for hook in hooks.takesMessages { hook(session, self) } }
    }

    /// Ends a session that does not go on.
    private func drop(_ suspended: SuspendedSession) {
        for stanza in suspended.allStanzas { redeliver(stanza) }
        forgetSuspended(suspended.id)
        metrics.suspensions[.dropped].add()
    }

    /// A session is not any more what was written of it.
    func forgetSuspended(_ id: String) {
        database.writer.submit(size: 0, { try SuspendedSessionStore.delete($0, id) }) { result in
            // It stays, and is stale at the next start.
            if case .failure(let error) = result { self.log.error("suspended session: \(error)") }
        }
    }
}
