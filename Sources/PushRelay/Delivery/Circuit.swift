// What shares a credential and a server shares a circuit: a breaker, a rate, and room for so many at
// one time. Pure: time is passed in.

internal import NIOCore

/// The state of a breaker, fit for a metric's label and a person.
enum CircuitState: String, Sendable, CaseIterable, Codable {
    /// Pushes go through.
    case closed
    /// Nothing is sent until a time.
    case open
    /// One is sent, and decides.
    case halfOpen = "half_open"
}

/// A breaker that opens after failures in a row, and lets a single one through before it closes.
struct CircuitBreaker: Sendable {
    /// So many failures in a row open it.
    static let threshold = 5
    /// Milliseconds for which it is open at first, and at most.
    static let shortest: Int64 = 2_000
    static let longest: Int64 = 300_000
    /// The same for a credential that was refused: somebody has to mend it.
    static let refused: Int64 = 900_000
    /// The longest that a provider may ask for.
    static let longestWish: Int64 = 86_400_000

    private(set) var state = CircuitState.closed
    private(set) var until: Int64 = 0
    /// When it opened last.
    private(set) var since: Int64 = 0
    /// Why it opened last.
    private(set) var reason: PushReason?
    private var failures = 0
    private var openings = 0

    /// Whether one more may be sent; while it is half open, one at a time.
    mutating func allows(inFlight: Int, now: Int64) -> Bool {
        switch state {
        case .closed: return true
        case .halfOpen: return inFlight == 0
        case .open:
            guard now >= until, inFlight == 0 else { return false }
            state = .halfOpen
            return true
        }
    }

    /// Whether one more could be sent; asked without changing anything.
    func wouldAllow(inFlight: Int, now: Int64) -> Bool {
        switch state {
        case .closed: true
        case .halfOpen: inFlight == 0
        case .open: now >= until && inFlight == 0
        }
    }

    /// One got through. While it is open that one was sent before it opened, and proves nothing.
    mutating func didSucceed() {
        guard state != .open else { return }
        state = .closed
        failures = 0
        openings = 0
        reason = nil
    }

    /// A failure of all; true if the circuit opens with it.
    ///
    /// - Parameters:
    ///   - wish: milliseconds for which the provider wants no more.
    ///   - random: 0 to 1, so that many circuits do not come back at one time.
    mutating func didFail(_ why: PushReason, wish: Int64?, random: Double, now: Int64) -> Bool {
        failures += 1
        guard state == .halfOpen || wish != nil || failures >= Self.threshold else { return false }
        if state == .open {
            // Another one that was under way with those that opened it; what it was told counts.
            until = max(until, now + min(wish ?? 0, Self.longestWish))
            return false
        }
        let doubled = Self.shortest << Int64(min(openings, 16))
        let longest = min(Self.longest, doubled)
        // Full jitter, but never at once.
        let pause = Self.shortest / 2 + Int64(Double(longest) * random)
        open(for: max(pause, min(wish ?? 0, Self.longestWish)), why, now: now)
        return true
    }

    /// Opens at once, for so many milliseconds.
    mutating func open(for time: Int64, _ why: PushReason, now: Int64) {
        // One more answer of those that were under way does not shorten what another one began.
        guard state != .open || now + time > until else { return }
        if state != .open { openings += 1 }
        state = .open
        since = now
        until = now + time
        reason = why
    }

    /// Lets one through now: somebody has mended something.
    mutating func tryNow(now: Int64) {
        guard state == .open else { return }
        until = now
    }
}

/// Pushes that go the same way.
struct Circuit {
    let provider: ProviderKind
    var breaker = CircuitBreaker()
    /// Those that are to go, urgent ones in front of the others.
    private(set) var urgent = CircularBuffer<Int64>()
    private(set) var ready = CircularBuffer<Int64>()
    /// What programs tell many goes behind all others.
    private(set) var parcels = CircularBuffer<Int64>()
    var inFlight = 0
    /// An authorization is being fetched; the others wait for it.
    var isAuthorizing = false
    /// How many got through.
    var successes = 0
    /// One got through over the connection that stands, as far as that is known. Until then APNs takes
    /// one request at a time.
    var provenUntil: Int64?
    /// More is due in the database than is held here; the same of parcels.
    var hasBacklog = false
    var hasParcels = false
    /// While nothing is sent: more than were taken have another way.
    var hasPassing = false
    /// While nothing is sent: when it is looked again for those whose devices have another way, by the
    /// monotonic clock.
    var nextLook: Int64 = 0
    var isLoading = false
    /// When the next row of the database is due, milliseconds since 1970, as far as it is known.
    var nextDue: Int64?
    private var tokens: Double
    private var filledAt: Int64

    init(_ provider: ProviderKind, burst: Int, now: Int64) {
        self.provider = provider
        tokens = Double(burst)
        filledAt = now
    }

    var readyCount: Int { wakeCount + parcels.count }
    /// Those that are about one device.
    var wakeCount: Int { urgent.count + ready.count }

    /// Whether nothing is sent until a time to come.
    func isShut(_ now: PushMoment) -> Bool {
        breaker.state == .open && now.monotonic < breaker.until
    }

    /// Whether a row of the database is due; one that is due in days was written by a clock that was
    /// wrong.
    func isDue(_ now: PushMoment) -> Bool {
        nextDue.map { $0 <= now.wall || $0 > now.wall + PushQueueStore.farAway } ?? false
    }

    /// Whether nothing is lost with it; one that would be tried again now has nothing to remember.
    func isIdle(_ now: PushMoment) -> Bool {
        readyCount == 0 && inFlight == 0 && !hasBacklog && !hasParcels && !isLoading
            && nextDue == nil
            && !isAuthorizing && (breaker.state != .open || now.monotonic >= breaker.until)
    }

    /// A negative number is that of a parcel.
    mutating func append(_ target: Int64, isUrgent: Bool) {
        if target < 0 {
            parcels.append(target)
        } else if isUrgent {
            urgent.append(target)
        } else {
            ready.append(target)
        }
    }

    /// One that could not be sent is the next to be.
    mutating func giveBack(_ target: Int64, isUrgent: Bool) {
        if target < 0 {
            parcels.prepend(target)
        } else if isUrgent {
            urgent.prepend(target)
        } else {
            ready.prepend(target)
        }
    }

    mutating func popFirst() -> Int64? {
        urgent.popFirst() ?? ready.popFirst() ?? parcels.popFirst()
    }

    mutating func remove(_ target: Int64) { remove([target]) }

    mutating func remove(_ targets: Set<Int64>) {
        urgent.removeAll { targets.contains($0) }
        ready.removeAll { targets.contains($0) }
        parcels.removeAll { targets.contains($0) }
    }

    /// Those that are to go.
    var keys: [Int64] { Array(urgent) + Array(ready) + Array(parcels) }

    /// Takes some from the bucket; false when it is empty. Who takes more than there is leaves it
    /// empty for longer.
    mutating func takeToken(_ count: Double = 1, rate: Int, burst: Int, now: Int64) -> Bool {
        let earned = Double(max(0, now - filledAt)) * Double(rate) / 1000
        tokens = min(tokens + earned, Double(burst))
        filledAt = now
        guard tokens >= 1 else { return false }
        tokens -= count
        return true
    }

    /// Milliseconds until there is one.
    func wait(rate: Int) -> Int64 { Int64(max(1, (1 - tokens) * 1000 / Double(max(1, rate)))) }
}
