// Which pushes go when: what is held in memory of the queue, by circuits. Pure: events in, what to do
// out, time and randomness passed in. The queue itself is in the database; what does not fit here
// stays there and is loaded when there is room again.

internal import Prometheus

/// What the deliveries are bounded by.
struct DeliveryLimits: Sendable, Equatable {
    /// Under way at one time in a circuit.
    var inFlight = 8
    /// Held in memory in a circuit, besides parcels; those.
    var held = 256
    var parcels = 64
    /// Targets of those that are passed on at one time: they are written down together.
    var passing = 1000
    /// Circuits with something to do at one time; more wait in the database.
    var circuits = 512
    /// Per second and circuit, and so many at once.
    var rate = 100
    var burst = 200
}

/// The state. Owner: whoever holds it, behind a lock.
struct Deliveries {
    var limits: DeliveryLimits
    var circuits: [String: Circuit] = [:]
    var held: [Int64: DeliveryItem] = [:]
    private var underWay: Set<Int64> = []
    /// Those that came for a target while one was under way: when and where the next may be sent.
    private var again: [Int64: (due: Int64, circuit: String)] = [:]
    /// Those of which nobody wants what is under way any more.
    private var unwanted: Set<Int64> = []
    /// Those that are being passed on, with how many targets each is for.
    var passing: [Int64: Int] = [:]
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
        guard item.parcel == nil else {
            guard circuit.parcels.count < limits.parcels, !circuit.hasParcels else {
                circuit.hasParcels = true
                return
            }
            held[item.key] = item
            return circuit.append(item.key, isUrgent: false)
        }
        // Behind those that wait in the database, unless it must not wait, or leaves at once.
        let hasRoom =
            item.isUrgent || item.hasNext && circuit.isShut(now)
            ? circuit.wakeCount < 2 * limits.held
            : circuit.wakeCount < limits.held && !circuit.hasBacklog
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
        var room = limits.passing - passing.values.reduce(0, +)
        for (name, circuit) in circuits where circuit.readyCount > 0 && circuit.isShut(now) {
            var taken: Set<Int64> = []
            circuits[name]?.hasPassing = false
            for key in circuit.keys {
                guard let item = held[key], item.hasNext else { continue }
                guard room > 0 else {
                    circuits[name]?.hasPassing = true
                    break
                }
                let count = item.parcel?.count ?? 1
                room -= count
                passing[key] = count
                underWay.insert(key)
                taken.insert(key)
                items.append((item, circuit.breaker.reason ?? .unavailable))
            }
            circuits[name]?.remove(taken)
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
            if circuit.isShut(now) {
                if circuit.hasPassing, passing.isEmpty { consider(1) }
                let isDue = circuit.isDue(now)
                if circuit.hasBacklog || circuit.hasParcels || isDue, !circuit.isLoading,
                    passing.isEmpty
                {
                    consider(circuit.nextLook - now.monotonic)
                } else if !isDue, let due = circuit.nextDue {
                    consider(due - now.wall)
                }
                if circuit.readyCount > 0 || circuit.hasBacklog || circuit.hasParcels
                    || circuit.nextDue != nil
                {
                    consider(circuit.breaker.until - now.monotonic)
                }
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
            if load("", circuit, now) != nil {
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

    /// Nothing was sent for an item: that says nothing of its way. It ends with `settle`.
    mutating func finishUnsent(_ item: DeliveryItem) { release(item) }

    /// An item waits for something else than its way, which others may use meanwhile. It goes on with
    /// `resume`.
    mutating func pause(_ item: DeliveryItem) { release(item) }

    /// An item that was paused is the next to be sent.
    mutating func resume(_ item: DeliveryItem) {
        circuits[item.circuit]?.inFlight += 1
        giveBack(item)
    }

    /// What came of an item is written.
    ///
    /// - Parameter next: when the target's next push is due; nil if there is none.
    mutating func settle(_ item: DeliveryItem, next: Int64?) {
        underWay.remove(item.key)
        passing[item.key] = nil
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
