// Which pushes go when: what is held in memory of the queue, by circuits. Pure: events in, what to do
// out, time and randomness passed in. The queue itself is in the database; what does not fit here
// stays there and is loaded when there is room again.

internal import Prometheus

/// What the deliveries are bounded by.
struct DeliveryLimits: Sendable, Equatable {
    /// Under way at one time in a circuit.
    var inFlight = 8
    /// Held in memory in a circuit.
    var held = 256
    /// Circuits with something to do at one time; more wait in the database.
    var circuits = 512
    /// Per second and circuit, and so many at once.
    var rate = 100
    var burst = 200
}

/// The state. Owner: whoever holds it, behind a lock.
struct Deliveries {
    var limits: DeliveryLimits
    private(set) var circuits: [String: Circuit] = [:]
    private var held: [Int64: DeliveryItem] = [:]
    private var underWay: Set<Int64> = []
    /// Those that came for a target while one was under way: when and where the next may be sent.
    private var again: [Int64: (due: Int64, circuit: String)] = [:]
    /// Those of which nobody wants what is under way any more.
    private var unwanted: Set<Int64> = []
    /// Nothing is begun any more.
    var isStopping = false

    init(_ limits: DeliveryLimits) { self.limits = limits }

    /// How many are held here, and how many of them are under way.
    var heldCount: Int { held.count }
    var underWayCount: Int { underWay.count }
    func isUnderWay(_ target: Int64) -> Bool { underWay.contains(target) }
    func isHeld(_ target: Int64) -> Bool { held[target] != nil }

    // MARK: In

    /// One was committed. True if it takes the place of one that waited.
    ///
    /// - Parameter due: milliseconds since 1970.
    mutating func add(_ item: DeliveryItem, due: Int64, now: PushMoment) -> Bool {
        if underWay.contains(item.key) {
            unwanted.remove(item.key)
            // It may go another way than the one under way.
            if let circuit = circuit(item, now: now) { circuits[item.circuit] = circuit }
            let isNew = again.updateValue((due, item.circuit), forKey: item.key) == nil
            return !isNew
        }
        if var old = held[item.key] {
            guard item.version > old.version else { return false }
            guard item.circuit == old.circuit, item.secret == old.secret else {
                // It registered anew, and is reached in another way.
                held[item.key] = nil
                circuits[old.circuit]?.remove(item.key)
                hold(item, due: due, now: now)
                return true
            }
            let becomesUrgent = item.isUrgent && !old.isUrgent
            old.replace(with: item)
            held[item.key] = old
            if becomesUrgent {
                circuits[old.circuit]?.remove(item.key)
                circuits[old.circuit]?.append(item.key, isUrgent: true)
            }
            return true
        }
        hold(item, due: due, now: now)
        return false
    }

    private mutating func hold(_ item: DeliveryItem, due: Int64, now: PushMoment) {
        guard var circuit = circuit(item, now: now) else { return }
        defer { circuits[item.circuit] = circuit }
        guard due <= now.wall else {
            circuit.nextDue = min(circuit.nextDue ?? due, due)
            return
        }
        // Behind those that wait in the database, unless it must not wait.
        let hasRoom =
            item.isUrgent
            ? circuit.readyCount < 2 * limits.held
            : circuit.readyCount < limits.held && !circuit.hasBacklog
        guard hasRoom else {
            circuit.hasBacklog = true
            return
        }
        held[item.key] = item
        circuit.append(item.key, isUrgent: item.isUrgent)
    }

    /// The circuit of an item; nil if there are too many, and it waits in the database.
    private mutating func circuit(_ item: DeliveryItem, now: PushMoment) -> Circuit? {
        if let circuit = circuits[item.circuit] { return circuit }
        if circuits.count >= limits.circuits {
            circuits = circuits.filter { !$0.value.isIdle(now) }
            guard circuits.count < limits.circuits else {
                overflow = true
                return nil
            }
        }
        return Circuit(item.provider, burst: limits.burst, now: now.monotonic)
    }

    /// Something is in the database that no circuit here knows of.
    var overflow = false

    /// The device is in use: what waits for it is not needed. What is under way goes on.
    mutating func cancel(_ targets: [Int64]) {
        for target in targets where !underWay.contains(target) {
            guard let item = held.removeValue(forKey: target) else { continue }
            circuits[item.circuit]?.remove(target)
        }
        for target in targets {
            again[target] = nil
            if underWay.contains(target) { unwanted.insert(target) }
        }
    }

    // MARK: From the database

    /// A circuit of which rows are due, as a look into the database showed.
    mutating func noteDue(
        _ circuit: String, _ provider: ProviderKind, at due: Int64, now: PushMoment
    ) {
        if circuits[circuit] == nil, circuits.count >= limits.circuits {
            circuits = circuits.filter { !$0.value.isIdle(now) }
        }
        guard circuits[circuit] != nil || circuits.count < limits.circuits else {
            overflow = true
            return
        }
        var entry =
            circuits[circuit] ?? Circuit(provider, burst: limits.burst, now: now.monotonic)
        entry.nextDue = min(entry.nextDue ?? due, due)
        circuits[circuit] = entry
    }

    /// The circuits of which rows are to be loaded now, and how many of each.
    mutating func circuitsToLoad(now: PushMoment) -> [(circuit: String, count: Int)] {
        guard !isStopping else { return [] }
        var wanted: [(String, Int)] = []
        for (name, circuit) in circuits where !circuit.isLoading {
            let isDue = circuit.hasBacklog || circuit.isDue(now)
            // What cannot be sent is not loaded.
            let isOpen = circuit.breaker.state == .open && now.monotonic < circuit.breaker.until
            guard isDue, !isOpen || circuit.passesOn, circuit.readyCount <= limits.held / 2
            else { continue }
            // What is noted from now on may be missed by the load, and is kept beside what it finds.
            circuits[name]?.isLoading = true
            circuits[name]?.hasBacklog = false
            circuits[name]?.nextDue = nil
            wanted.append((name, limits.held - circuit.readyCount))
        }
        return wanted
    }

    /// Rows of a circuit that were due.
    ///
    /// - Parameters:
    ///   - hasMore: more are due.
    ///   - nextDue: when the first of the others is; nil if there is none.
    mutating func didLoad(
        _ name: String, _ items: [DeliveryItem], hasMore: Bool, nextDue: Int64?
    ) {
        guard var circuit = circuits[name] else { return }
        circuit.isLoading = false
        circuit.hasBacklog = hasMore || circuit.hasBacklog
        circuit.nextDue = [circuit.nextDue, nextDue].compactMap { $0 }.min()
        for item in items where held[item.key] == nil {
            held[item.key] = item
            circuit.append(item.key, isUrgent: item.isUrgent)
        }
        circuits[name] = circuit
    }

    /// The load failed: it is tried again.
    mutating func didNotLoad(_ name: String, now: PushMoment) {
        circuits[name]?.isLoading = false
        let retry = now.wall + 5_000
        let known = circuits[name]?.nextDue ?? retry
        circuits[name]?.nextDue = min(known, retry)
    }

    /// The targets that a load need not bring.
    func heldTargets(of circuit: String) -> Set<Int64> {
        Set(held.lazy.filter { $0.value.circuit == circuit }.map(\.key))
    }

    // MARK: Out

    /// What is to be sent now; each of them ends with `finish`.
    mutating func takeReady(now: PushMoment) -> [DeliveryItem] {
        guard !isStopping else { return [] }
        var items: [DeliveryItem] = []
        for (name, var circuit) in circuits where circuit.readyCount > 0 {
            while circuit.inFlight < room(circuit, now), !circuit.isAuthorizing,
                circuit.readyCount > 0,
                circuit.breaker.wouldAllow(inFlight: circuit.inFlight, now: now.monotonic),
                let target = circuit.popFirst()
            {
                guard let item = held[target] else { continue }
                guard item.expires > now.wall else {
                    // It stays in the database until it is given up there, or has a new time.
                    held[target] = nil
                    overflow = true
                    continue
                }
                guard
                    circuit.takeToken(
                        item.weight, rate: limits.rate, burst: limits.burst, now: now.monotonic),
                    circuit.breaker.allows(inFlight: circuit.inFlight, now: now.monotonic)
                else {
                    circuit.giveBack(target, isUrgent: item.isUrgent)
                    break
                }
                circuit.inFlight += 1
                underWay.insert(target)
                items.append(item)
            }
            circuits[name] = circuit
        }
        return items
    }

    /// Those that need not wait for a way on which nothing is sent, for their devices have another;
    /// each with why nothing is sent. Each ends with `settle`.
    mutating func takePassing(now: PushMoment) -> [(item: DeliveryItem, reason: PushReason)] {
        var items: [(DeliveryItem, PushReason)] = []
        guard !isStopping else { return items }
        for (name, circuit) in circuits where circuit.breaker.state == .open {
            guard circuit.readyCount > 0, now.monotonic < circuit.breaker.until else { continue }
            let passing = circuit.keys.filter { held[$0]?.hasNext ?? false }
            circuits[name]?.passesOn = !passing.isEmpty
            circuits[name]?.remove(Set(passing))
            for key in passing {
                guard let item = held[key] else { continue }
                underWay.insert(key)
                items.append((item, circuit.breaker.reason ?? .unavailable))
            }
        }
        return items
    }

    /// How many may be under way in a circuit.
    private func room(_ circuit: Circuit, _ now: PushMoment) -> Int {
        guard circuit.provider == .apns else { return limits.inFlight }
        return circuit.provenUntil.map { now.monotonic < $0 } ?? false ? limits.inFlight : 1
    }

    /// Milliseconds for which a connection is taken to stand that was used.
    private static let connectionLife: Int64 = 30_000

    /// Milliseconds until something is to be done without another event; nil for never.
    func nextWake(now: PushMoment) -> Int64? {
        guard !isStopping else { return nil }
        var next: Int64?
        func consider(_ time: Int64) { next = min(next ?? .max, max(1, time)) }
        for circuit in circuits.values {
            let isOpen = circuit.breaker.state == .open && now.monotonic < circuit.breaker.until
            if isOpen, circuit.passesOn, circuit.hasBacklog, !circuit.isLoading,
                circuit.readyCount <= limits.held / 2
            {
                consider(1)
            }
            if isOpen, circuit.readyCount > 0 || circuit.hasBacklog || circuit.nextDue != nil {
                consider(circuit.breaker.until - now.monotonic)
                continue
            }
            if circuit.readyCount > 0, circuit.inFlight < room(circuit, now),
                !circuit.isAuthorizing,
                circuit.breaker.wouldAllow(inFlight: circuit.inFlight, now: now.monotonic)
            {
                consider(circuit.wait(rate: limits.rate))
            }
            guard !circuit.isLoading else { continue }
            // Otherwise the end of one that is held or under way makes room.
            let hasRoom = circuit.readyCount <= limits.held / 2
            if hasRoom, circuit.hasBacklog || circuit.isDue(now) {
                consider(1)
            } else if let due = circuit.nextDue, due > now.wall {
                consider(due - now.wall)
            }
        }
        return next
    }

    /// The item goes back to the others: an authorization is needed first. True for the first one,
    /// which fetches it for all.
    mutating func authorize(_ item: DeliveryItem) -> Bool {
        let isFirst = circuits[item.circuit]?.isAuthorizing == false
        circuits[item.circuit]?.isAuthorizing = true
        giveBack(item)
        return isFirst
    }

    mutating func didAuthorize(_ circuit: String) { circuits[circuit]?.isAuthorizing = false }

    private mutating func giveBack(_ item: DeliveryItem, isLast: Bool = false) {
        underWay.remove(item.key)
        circuits[item.circuit]?.inFlight -= 1
        // The newer one is in the database, and is loaded in its turn.
        let isUnwanted = unwanted.remove(item.key) != nil
        if let next = again.removeValue(forKey: item.key) {
            held[item.key] = nil
            noteNext(next.circuit, next.due)
        } else if isUnwanted {
            held[item.key] = nil
        } else {
            held[item.key] = item
            if isLast {
                circuits[item.circuit]?.append(item.key, isUrgent: item.isUrgent)
            } else {
                circuits[item.circuit]?.giveBack(item.key, isUrgent: item.isUrgent)
            }
        }
    }

    private mutating func noteNext(_ name: String, _ due: Int64) {
        guard let circuit = circuits[name] else {
            // It was idle and made room for another; the database knows.
            overflow = true
            return
        }
        circuits[name]?.nextDue = min(circuit.nextDue ?? due, due)
    }

    /// The circuit has room again. The target has not until what came of it is written: the database
    /// still has it as it was.
    private mutating func release(_ item: DeliveryItem) {
        circuits[item.circuit]?.inFlight -= 1
    }

    /// What came of an item is written.
    ///
    /// - Parameter next: when the target's next push is due; nil if there is none.
    mutating func settle(_ item: DeliveryItem, next: Int64?) {
        underWay.remove(item.key)
        held[item.key] = nil
        let again = again.removeValue(forKey: item.key)
        unwanted.remove(item.key)
        if let due = next ?? again?.due { noteNext(again?.circuit ?? item.circuit, due) }
    }

    /// No authorization could be had.
    mutating func didNotAuthorize(
        _ name: String, _ answer: PushAnswer, random: @autoclosure () -> Double,
        now: PushMoment
    ) {
        let time: Int64? =
            switch answer.outcome {
            case .retry(_, let after): after.map(Self.milliseconds) ?? CircuitBreaker.shortest
            case .authorizationExpired, .rejected, .invalidToken, .quotaOfDay:
                CircuitBreaker.refused
            case .accepted: nil
            }
        guard let time else { return }
        _ = circuits[name]?.breaker.didFail(
            answer.reason, wish: time, random: random(), now: now.monotonic)
    }

    /// One that was under way has been answered. Gives what follows, and whether the circuit opened.
    mutating func finish(
        _ item: DeliveryItem, _ answer: PushAnswer, random: @autoclosure () -> Double,
        now: PushMoment
    ) -> (end: DeliveryEnd, opened: Bool) {
        switch answer.outcome {
        case .accepted:
            circuits[item.circuit]?.breaker.didSucceed()
            circuits[item.circuit]?.successes += 1
            circuits[item.circuit]?.provenUntil = now.monotonic + Self.connectionLife
            release(item)
            return (.sent, false)
        case .invalidToken:
            circuits[item.circuit]?.breaker.didSucceed()
            release(item)
            return (item.hasNext ? .passedOn(disables: true) : .dead(disables: true), false)
        case .rejected:
            circuits[item.circuit]?.breaker.didSucceed()
            release(item)
            return (giveUp(item), false)
        case .retry(.device, let after):
            circuits[item.circuit]?.breaker.didSucceed()
            return (
                postpone(
                    item, after, isGone: answer.reason == .unregistered, random: random(), now: now),
                false
            )
        case .retry(.circuit, let after):
            circuits[item.circuit]?.provenUntil = nil
            let opened =
                circuits[item.circuit]?.breaker.didFail(
                    answer.reason, wish: after.map(Self.milliseconds), random: random(),
                    now: now.monotonic) ?? false
            return (wait(item, after, random: random(), now: now), opened)
        case .authorizationExpired(.expired) where !item.hasRenewed:
            var item = item
            item.hasRenewed = true
            giveBack(item)
            return (.waiting, false)
        case .authorizationExpired:
            if hasFailedAlone(item) {
                release(item)
                return (giveUp(item), false)
            }
            return open(item, for: CircuitBreaker.refused, .credentialRefused, now: now)
        case .quotaOfDay:
            let day: Int64 = 86_400_000
            let time = (now.wall + item.provider.dayOffset) % day
            return open(item, for: day - time, .quota, now: now)
        }
    }

    private mutating func open(
        _ item: DeliveryItem, for time: Int64, _ reason: PushReason, now: PushMoment
    ) -> (DeliveryEnd, Bool) {
        let wasOpen = circuits[item.circuit]?.breaker.state == .open
        circuits[item.circuit]?.breaker.open(for: time, reason, now: now.monotonic)
        if item.hasNext {
            release(item)
            return (.passedOn(disables: false), !wasOpen)
        }
        var item = item
        item.hasRenewed = false
        item.successesAtFailure = circuits[item.circuit]?.successes
        // Behind the others: it may be the only one that is refused.
        giveBack(item, isLast: true)
        return (.waiting, !wasOpen)
    }

    /// It will not arrive here.
    private func giveUp(_ item: DeliveryItem) -> DeliveryEnd {
        item.hasNext ? .passedOn(disables: false) : .dead(disables: false)
    }

    /// - Parameter isGone: if it does not get there, its device is gone.
    private mutating func postpone(
        _ item: DeliveryItem, _ after: Duration?, isGone: Bool = false,
        random: @autoclosure () -> Double, now: PushMoment
    ) -> DeliveryEnd {
        if item.hasNext {
            release(item)
            return .passedOn(disables: false)
        }
        let tries = item.tries + 1
        let due =
            now.wall
            + Backoff.delay(tries: tries, wish: after.map(Self.milliseconds), random: random())
        guard tries < Backoff.mostTries, due < item.expires else {
            release(item)
            return .dead(disables: isGone)
        }
        release(item)
        return .later(due: due, tries: tries)
    }

    /// Whose failure it is shows only with others: while the circuit is closed, it is the item's own.
    /// One that fails while the circuit is open waits with all others, unless some got through.
    private mutating func wait(
        _ item: DeliveryItem, _ after: Duration?, random: @autoclosure () -> Double, now: PushMoment
    ) -> DeliveryEnd {
        if item.hasNext || circuits[item.circuit]?.breaker.state == .closed
            || hasFailedAlone(item)
        {
            return postpone(item, after, random: random(), now: now)
        }
        var item = item
        item.successesAtFailure = circuits[item.circuit]?.successes
        // Behind the others: it may be the only one that fails.
        giveBack(item, isLast: true)
        return .waiting
    }

    /// Whether others got through since an item failed last.
    private func hasFailedAlone(_ item: DeliveryItem) -> Bool {
        guard let before = item.successesAtFailure else { return false }
        return circuits[item.circuit]?.successes ?? 0 > before
    }

    /// Something has changed that may mend what failed: the next one is tried now.
    mutating func tryAll(now: PushMoment) {
        for name in circuits.keys { circuits[name]?.breaker.tryNow(now: now.monotonic) }
    }

    static func milliseconds(_ duration: Duration) -> Int64 {
        let (seconds, attoseconds) = duration.components
        // A century: what a provider wishes is bounded where it is obeyed.
        let clamped = min(max(seconds, 0), 3_155_760_000)
        return clamped * 1000 + attoseconds / 1_000_000_000_000_000
    }
}
