// The way from one of our domains to one other domain: what waits for it, the stream that takes
// it, and when the next attempt is made while there is none.

internal import Addresses
internal import Logging
internal import NIOCore
internal import Options
internal import Prometheus
internal import Synchronization
internal import XML
internal import XMPP

/// Between whom a route goes: prepared domains.
struct RouteKey: Hashable, Sendable {
    let local: String
    let remote: String
}

/// A route. Safe on any thread: its state is behind a lock, and a stream takes from it on the
/// stream's own loop.
final class ServerRoute: StreamOutlet {
    enum Phase {
        /// Nothing waits.
        case idle
        /// An attempt is under way, or waits for its turn.
        case connecting
        /// The last attempt failed; the next one comes. An app server, which wakes phones, is
        /// tried again with nothing waiting.
        case pausing(Scheduled<Void>)
        /// Stanzas go to this stream.
        case open(PeerOrigin)
    }

    struct State {
        var phase = Phase.idle
        var queue = RouteQueue()
        /// The stream was told that there is something to write.
        var isWoken = false
        /// Failed attempts in a row.
        var failures = 0 {
            didSet {
                if (oldValue == 0) != (failures == 0) { failing.add(failures == 0 ? -1 : 1) }
            }
        }
        /// How many routes have any.
        let failing: FailingRoutes
        var lastFailure: FederationFailure?
        var openedAt: NIODeadline?
        /// The present stream has acknowledged something.
        var isOfUse = false
        var lastUsed: NIODeadline
        /// For an administrator, in milliseconds since 1970: since when it is open, when the last
        /// attempt failed and when the next one is.
        var openSince, failedAt, nextAttempt: Int64?
        /// A question to a domain that does not acknowledge (XEP-0198) is under way: its answer
        /// says that it has what came before.
        var isAsking = false
        /// It has answered such a question.
        var hasAnswered = false
        /// So many may be written and not acknowledged, after the other side ended a stream over
        /// one of them; nil for any number.
        var window: Int?
        /// Until then no attempt is made for what would only go back again.
        var refusesUntil = NIODeadline.uptimeNanoseconds(0)
        /// When the other domain last showed itself and that made an attempt.
        var hurriedAt: NIODeadline?
        var untold = UntoldPresence()
        /// Who is not read until less waits, by number.
        var paused: [Int64: Session] = [:]
        /// It is in nobody's table any more.
        var isForgotten = false
    }

    let key: RouteKey
    let host: Host
    let state: Mutex<State>

    /// So many stanzas are taken out of the queue at a time.
    private static let batch = 64
    /// A message that waited longer says so (XEP-0203), in milliseconds.
    private static let delayAfter: Int64 = 5000
    /// An app server that could not be reached is tried again so long, whether anything waits for
    /// it or not.
    private static let watchTime = TimeAmount.hours(1)
    /// Whoever is to be woken makes an attempt there as often.
    private static let watchRefusal = TimeAmount.seconds(1)
    /// A stanza that was the first to be lost so often, each time with a stream error, goes back.
    private static let mostComplaints = 3
    /// After failures in a row so many seconds pass, at most, in which stanzas go back at once.
    private static let longestRefusal = 30
    /// A domain that shows itself makes an attempt so often.
    private static let hurryTime = TimeAmount.seconds(5)

    init(_ key: RouteKey, host: Host) {
        self.key = key
        self.host = host
        state = Mutex(State(failing: host.federation.failing, lastUsed: host.loopTime))
    }

    var federation: Federation { host.federation }

    /// Whether the last attempt failed, not by this server's own rules, and none has succeeded
    /// since.
    var isFailing: Bool {
        state.withLock { ($0.lastFailure?.reason ?? .policy) != .policy }
    }

    var oldest: Int64? { state.withLock { $0.queue.oldest } }

    // MARK: Stanzas

    enum Delivery {
        case taken
        /// Too much waits.
        case full
        /// Another route has taken its place, or will.
        case forgotten
    }

    /// Queues a stanza, and sees to it that it goes.
    func deliver(_ entry: QueuedStanza) -> Delivery {
        enum Next {
            case none, full, forgotten, connect, wake(PeerOrigin), refuse(FederationFailure)
        }
        let options = federation.options
        let now = host.loopTime
        let next: Next = state.withLock { state in
            guard !state.isForgotten else { return .forgotten }
            let isKept = entry.id != nil
            // What is kept was let in before it was stored.
            guard isKept || state.hasRoom(for: entry.stanza.bytes.count, options) else {
                return .full
            }
            state.lastUsed = now
            // Nothing waits for the end of that pause.
            if case .pausing(let next) = state.phase, state.queue.count == 0,
                isKept || now >= state.refusesUntil
            {
                next.cancel()
                state.phase = .idle
            }
            if let failure = state.lastFailure {
                switch state.phase {
                case .pausing
                where !isKept && (entry.stanza.kind == .iq || state.queue.count == 0):
                    return .refuse(failure)
                case .idle where now < state.refusesUntil && (failure.isPermanent || !isKept):
                    return .refuse(failure)
                default: break
                }
            }
            state.queue.append(entry)
            switch state.phase {
            case .idle:
                state.phase = .connecting
                return .connect
            case .connecting, .pausing: return .none
            case .open(let origin):
                noteSent(entry, &state)
                guard !state.isWoken else { return .none }
                state.isWoken = true
                return .wake(origin)
            }
        }
        switch next {
        case .full: return .full
        case .forgotten: return .forgotten
        case .refuse(let failure):
            giveBack([entry], failure)
            return .taken
        case .none: break
        case .connect: federation.connect(self, host)
        case .wake(let origin):
            origin.loop.post {
                if let stream = origin.streamHere { self.drain(into: stream) }
            }
        }
        federation.noteQueued(1, entry.stanza.bytes.count)
        return .taken
    }

    /// What was taken out, or never came in, goes back to its senders.
    private func giveBack(_ entries: [QueuedStanza], _ failure: FederationFailure) {
        noteLostPresence(in: entries)
        federation.bounce(entries, failure, key, host)
        noteRemoved()
    }

    // MARK: Attempts

    /// The other domain has shown itself: the next attempt is made now, but not again and again.
    func hurryOnce() {
        let now = host.loopTime
        let isDue = state.withLock { state in
            if let last = state.hurriedAt, now - last < Self.hurryTime { return false }
            state.hurriedAt = now
            return true
        }
        if isDue { hurry() }
    }

    /// Makes the next attempt now, if one is due later, and the next stanza makes one.
    func hurry() {
        let isDue = state.withLock { state in
            state.refusesUntil = .uptimeNanoseconds(0)
            switch state.phase {
            case .pausing(let next): next.cancel()
            // It has not heard something.
            case .idle where !state.untold.isEmpty: break
            default: return false
            }
            state.phase = .connecting
            return true
        }
        if isDue { federation.connect(self, host) }
    }

    /// The other domain was reached, and answered: what failed before is over. The sweep of all
    /// routes counts it.
    func testSucceeded() {
        state.withLock { state in
            state.lastFailure = nil
            state.failures = 0
        }
        hurry()
    }

    /// The rules forbid the domain now: what waits goes back. Gives how many stanzas that were, and
    /// the stream, whose end gives back what was written and not acknowledged.
    func forbid() -> (returned: Int, open: PeerOrigin?) {
        let (waiting, open) = state.withLock { state -> ([QueuedStanza], PeerOrigin?) in
            let waiting = state.queue.remove { _ in true }
            state.paused = [:]
            state.lastFailure = nil
            state.failures = 0
            switch state.phase {
            case .idle, .connecting: return (waiting, nil)
            case .open(let origin): return (waiting, origin)
            case .pausing(let next):
                next.cancel()
                state.phase = .idle
                return (waiting, nil)
            }
        }
        federation.noteReachability(of: key.remote)
        giveBack(waiting, .forbidden)
        return (waiting.count { $0.stanza.kind != .presence || $0.id != nil }, open)
    }

    /// The stream stands and takes stanzas. On its loop. False if the route has another one.
    func attach(_ stream: PeerStream) -> Bool {
        guard federation.policy.allows(key.remote, .outgoing) else {
            // Forbidden while the attempt was under way.
            attemptFailed(.forbidden)
            return false
        }
        let isTaken = state.withLock { state -> Bool in
            guard !state.isForgotten else { return false }
            if case .open = state.phase { return false }
            if case .pausing(let next) = state.phase { next.cancel() }
            state.phase = .open(stream.origin)
            state.queue.rewind()
            state.isWoken = false
            state.isAsking = false
            state.lastFailure = nil
            state.openedAt = stream.loop.eventLoop.now
            state.isOfUse = false
            state.openSince = Clock.millisecondsSince1970()
            state.refusesUntil = .uptimeNanoseconds(0)
            return true
        }
        guard isTaken else { return false }
        stream.outlet = self
        tellUntoldPresence()
        federation.noteReachability(of: key.remote)
        drain(into: stream)
        return true
    }

    /// An attempt failed: what cannot wait goes back, the rest waits for the next attempt.
    func attemptFailed(_ failure: FederationFailure) {
        let isWatched =
            FederationPolicy.isPushDomain(key.remote) && failure.reason != .policy
            && !federation.isStopped
        let now = host.loopTime
        let (bounced, isFirst) = state.withLock { state -> ([QueuedStanza], Bool) in
            guard case .connecting = state.phase else { return ([], false) }
            state.paused = [:]
            let isFirst = state.lastFailure?.reason != failure.reason
            state.lastFailure = failure
            state.failedAt = Clock.millisecondsSince1970()
            state.failures += 1
            var bounced = state.queue.remove { entry in
                failure.isPermanent || entry.expiresAt <= now
                    || (entry.id == nil && entry.stanza.kind != .presence)
            }
            guard state.queue.hasKept else {
                // Presence alone is not worth an attempt.
                bounced += state.queue.remove { _ in true }
                state.phase = .idle
                // That phones can be woken again should not wait for the next one to be.
                if isWatched, now - state.lastUsed < Self.watchTime {
                    pause(&state)
                    state.refusesUntil = now + Self.watchRefusal
                    return (bounced, isFirst)
                }
                // Whoever mends something must not wait long, and whoever sends on and on must not
                // make an attempt with each stanza.
                let time = min(Self.longestRefusal, 1 << min(state.failures - 1, 10))
                state.refusesUntil = now + .seconds(Int64(time))
                return (bounced, isFirst)
            }
            pause(&state)
            return (bounced, isFirst)
        }
        if isFirst, failure.reason != .shutdown {
            host.log.warning(
                "another server cannot be reached",
                metadata: [
                    "domain": "\(key.remote)", "reason": "\(failure.reason.rawValue)",
                    "text": "\(failure.text)",
                ])
        }
        federation.noteReachability(of: key.remote)
        giveBack(bounced, failure)
    }

    /// Waits before the next attempt: twice as long each time, not all domains alike, and longer
    /// where many cannot be reached, so that it is not felt by people here.
    private func pause(_ state: inout State) {
        let longest = federation.options.longestPause.value.components.seconds
        let ceiling = min(Double(longest), Double(1 << min(state.failures, 20)))
        let share = min(Double(longest), federation.failing.seconds)
        let time = max(0.5, Double.random(in: ceiling / 2...ceiling) + share)
        let loop = federation.loop(for: key, host)
        state.nextAttempt = Clock.millisecondsSince1970() + Int64(time * 1000)
        state.phase = .pausing(
            loop.eventLoop.scheduleTask(in: .milliseconds(Int64(time * 1000))) {
                self.hurry()
            })
    }

    /// Gives back what has waited too long.
    func expire(_ now: NIODeadline) {
        let isWatched = FederationPolicy.isPushDomain(key.remote)
        let (expired, failure) = state.withLock { state in
            let expired = state.queue.remove { $0.expiresAt <= now }
            if !expired.isEmpty, state.queue.count == 0, !isWatched,
                case .pausing(let next) = state.phase
            {
                next.cancel()
                state.phase = .idle
            }
            return (expired, state.lastFailure)
        }
        guard !expired.isEmpty else { return }
        giveBack(
            expired, failure ?? FederationFailure(.timeout, "it could not be reached in time"))
    }

    /// What was taken out of the queue without being sent waits no longer.
    private func noteRemoved() {
        let (stanzas, bytes) = state.withLock { $0.queue.takeRemoved() }
        if stanzas > 0 { federation.noteQueued(-stanzas, -bytes) }
    }

    /// The server stops: no further attempt.
    func stop() {
        state.withLock { state in
            if case .pausing(let next) = state.phase {
                next.cancel()
                state.phase = .idle
            }
        }
    }

    // MARK: StreamOutlet

    func drain(into stream: PeerStream) {
        var hasWritten = false
        var sent: UInt32 = 0
        while stream.takesStanzas {
            let batch = state.withLock { state -> [QueuedStanza] in
                state.isWoken = false
                var batch: [QueuedStanza] = []
                while batch.count < Self.batch, state.queue.writtenCount < state.window ?? .max,
                    let entry = state.queue.takeUnwritten()
                {
                    batch.append(entry)
                }
                sent = state.queue.sent
                return batch
            }
            guard !batch.isEmpty else { break }
            hasWritten = true
            for entry in batch { stream.write(delayed(entry)) }
            stream.flushPiece()
        }
        guard hasWritten else { return }
        if stream.isManaged { stream.requestAcknowledgement(of: sent) } else { ask(stream) }
    }

    func acknowledge(_ h: UInt32, on stream: PeerStream) -> UInt32? {
        let (result, isMore, sent, wasHeldUp) = state.withLock { state in
            let result = state.queue.acknowledge(h)
            var wasHeldUp = false
            if case .accepted(let confirmed) = result, !confirmed.isEmpty,
                let window = state.window
            {
                wasHeldUp = true
                state.window = window < Self.batch ? window * 2 : nil
            }
            return (result, state.queue.writtenCount > 0, state.queue.sent, wasHeldUp)
        }
        switch result {
        case .tooHigh(let sent): return sent
        case .accepted(let confirmed):
            if !confirmed.isEmpty {
                state.withLock { state in
                    state.failures = 0
                    state.isOfUse = true
                }
            }
            federation.delivered(confirmed, host)
            for sender in state.withLock({ $0.takePaused(federation.options) }) {
                sender.roomIsThere()
            }
            if isMore, stream.isManaged { stream.requestAcknowledgement(of: sent) }
            if wasHeldUp { drain(into: stream) }
            return nil
        }
    }

    var isWaiting: Bool { state.withLock { $0.queue.count > 0 } }

    func detach(_ stream: PeerStream) {
        let now = stream.loop.eventLoop.now
        let isForbidden = !federation.policy.allows(key.remote, .outgoing)
        // Whoever holds the federation's lock may want a route's, hence not the other way round.
        let isStopped = federation.isStopped
        let complaint = stream.complaint
        let failure =
            isForbidden
            ? .forbidden
            : complaint ?? FederationFailure(.connectionLost, "the connection to it was lost")
        var lost: [QueuedStanza] = []
        let reconnects = state.withLock { state -> Bool in
            guard case .open(let origin) = state.phase, origin === stream.origin else {
                return false
            }
            if complaint != nil, state.queue.writtenCount > 0 {
                // One of these is not wanted there. The next stream gets them one by one at first,
                // until it shows which.
                state.window = 1
                if let entry = state.queue.takeUnacceptable(after: Self.mostComplaints) {
                    lost.append(entry)
                }
            }
            state.queue.rewind()
            state.isAsking = false
            state.paused = [:]
            // A request that may have arrived must not be made twice.
            lost += state.queue.remove {
                isForbidden || $0.id == nil && $0.stanza.kind == .iq
            }
            guard state.queue.count > 0, !isStopped else {
                state.phase = .idle
                return false
            }
            state.lastFailure = failure
            state.failedAt = Clock.millisecondsSince1970()
            // A stream that did not last, or took nothing, is as good as none.
            let isOfUse = state.isOfUse || stream.isClosing
            if !isOfUse || state.openedAt.map({ now - $0 < .seconds(10) }) ?? false {
                state.failures += 1
                pause(&state)
                return false
            }
            state.phase = .connecting
            return true
        }
        giveBack(lost, failure)
        if reconnects { federation.connect(self, host) }
    }

    private func delayed(_ entry: QueuedStanza) -> OutboundStanza {
        let waited = Clock.millisecondsSince1970() - entry.arrivedAt
        guard entry.stanza.kind == .message, waited > Self.delayAfter else { return entry.stanza }
        return OutboundStanza(
            .message,
            OutboundStanza.delayed(
                entry.stanza.bytes, by: key.local, since: entry.arrivedAt))
    }
}
