// Whose attempt to reach another domain is under way, and whose turn is next. Pure counting, no I/O.

internal import NIOCore

/// Attempts under way by number, and routes that wait for their turn. So many are under way at one
/// time, and so many begin in a second: refused connections and names that do not exist are over at
/// once, and what they cost should not be felt by people here, however many domains are out of reach.
struct AttemptQueue<Route> {
    enum Next {
        /// Nobody waits, or there is no room.
        case none
        /// It is this route's turn.
        case begin(Route, Int)
        /// Somebody waits for time to pass; to be asked again after `pause`.
        case later
    }

    /// So many begin in a second: a thousand domains have their turn before what is not kept
    /// (`Federation.patience`) goes back.
    static var rate: Int { 20 }
    /// So many may begin at once after a while without any.
    static var burst: Int { 64 }
    /// So many of those are for domains whose last attempt did not fail.
    static var reserve: Int { 32 }
    /// So long nothing begins when too many have begun.
    static var pause: TimeAmount { .milliseconds(50) }
    /// So many times the limit may have made way for others.
    private static var slowShare: Int { 7 }

    private var quick: Set<Int> = []
    /// Those that take long and made way for others.
    private var slow: Set<Int> = []
    /// Those that take long and found no room among the slow ones, the oldest first.
    private var overdue = CircularBuffer<Int>()
    private var lastNumber = 0
    private var waiting = CircularBuffer<Route>()
    /// Those whose last attempt failed come behind all others.
    private var failing = CircularBuffer<Route>()
    private var tokens = Double(burst)
    private var filledAt: NIODeadline?
    private var isPausing = false

    /// Whether no attempt is under way.
    var isIdle: Bool { quick.isEmpty && slow.isEmpty }

    mutating func append(_ route: Route, isFailing: Bool) {
        if isFailing { failing.append(route) } else { waiting.append(route) }
    }

    /// Nobody waits any longer.
    mutating func removeAll() { (waiting, failing) = ([], []) }

    /// Begins an attempt, if it is anybody's turn.
    ///
    /// - Parameter limit: attempts under way that have not made way.
    mutating func next(limit: Int, now: NIODeadline) -> Next {
        guard quick.count < limit, !waiting.isEmpty || !failing.isEmpty else { return .none }
        fill(now)
        guard tokens >= Double(waiting.isEmpty ? Self.reserve + 1 : 1) else {
            // One who asks again is enough.
            defer { isPausing = true }
            return isPausing ? .none : .later
        }
        guard let route = waiting.popFirst() ?? failing.popFirst() else { return .none }
        tokens -= 1
        lastNumber += 1
        quick.insert(lastNumber)
        return .begin(route, lastNumber)
    }

    /// The pause is over.
    mutating func goOn() { isPausing = false }

    /// An attempt takes long; it makes way for others if there is room among the slow ones.
    mutating func isOverdue(_ number: Int, limit: Int) {
        guard quick.contains(number) else { return }
        overdue.append(number)
        makeWay(limit)
    }

    mutating func end(_ number: Int, limit: Int) {
        // Most are neither.
        if slow.remove(number) == nil, quick.remove(number) != nil, !overdue.isEmpty {
            overdue.removeAll { $0 == number }
        }
        makeWay(limit)
    }

    private mutating func makeWay(_ limit: Int) {
        guard slow.count < limit * Self.slowShare, let number = overdue.popFirst() else { return }
        quick.remove(number)
        slow.insert(number)
    }

    private mutating func fill(_ now: NIODeadline) {
        defer { filledAt = now }
        guard let filledAt, now > filledAt else { return }
        tokens = min(
            Double(Self.burst), tokens + (now - filledAt).seconds * Double(Self.rate))
    }
}
