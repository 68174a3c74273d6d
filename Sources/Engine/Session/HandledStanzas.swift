// How far the server is with what a client sent (XEP-0198 section 4): pure counting, no I/O.

/// Counts a client's stanzas, modulo 2^32. A stanza is handled when its effect is on the disk, if it
/// has one that belongs there; `handled` never passes one that is not.
struct HandledStanzas {
    /// Stanzas that came in.
    private(set) var received: UInt32 = 0
    /// Numbers of those whose effect is not committed yet, oldest first.
    private var open: [UInt32] = []
    /// The stanza that is being handled at this moment: only it can be held.
    private var current: UInt32?
    /// What was held and is handled again was held again.
    private var isHeldAgain = false
    /// An answer said less than this, so one more follows.
    private var owed: UInt32?

    init() {}

    /// Goes on after so many, all of which were handled.
    init(handled: UInt32) { received = handled }

    /// A stanza came in; gives its number.
    mutating func receive() -> UInt32 {
        received &+= 1
        current = received
        return received
    }

    /// The stanza that came in last was handled, but for what holds it.
    mutating func didHandle() { current = nil }

    /// A stanza that was held is being handled again at this moment.
    mutating func resume(_ number: UInt32) {
        current = number
        isHeldAgain = false
    }

    /// That is over. True if nothing holds it any more.
    mutating func finishResumed(_ number: UInt32) -> Bool {
        current = nil
        // What was held again may have been released meanwhile.
        return !isHeldAgain || !open.contains(number)
    }

    /// The stanza is not handled until it is released. False when that comes too late.
    mutating func hold(_ number: UInt32) -> Bool {
        guard number == current else { return false }
        if open.contains(number) { isHeldAgain = true } else { open.append(number) }
        return true
    }

    /// What held the stanza is done. True if the client is to hear of it now.
    mutating func release(_ number: UInt32) -> Bool {
        if let index = open.firstIndex(of: number) { open.remove(at: index) }
        guard let owed, open.first.map({ Int32(bitPattern: $0 &- owed) > 0 }) ?? true else {
            return false
        }
        self.owed = nil
        return true
    }

    /// How many wait for the disk.
    var openCount: Int { open.count }

    /// The number of handled stanzas.
    var handled: UInt32 { (open.first ?? current).map { $0 &- 1 } ?? received }

    /// The client asks; gives `h`, counted from a number on.
    mutating func request(since base: UInt32 = 0) -> UInt32 {
        if handled != received { owed = received }
        // What waited before the count began does not make it negative.
        let count = handled &- base
        return Int32(bitPattern: count) < 0 ? 0 : count
    }
}
