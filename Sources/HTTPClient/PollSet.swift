// The descriptors that a pool's thread waits for.

internal import CCurl
internal import Glibc

/// A list for poll(2): there are never many, for connections are bounded. Used by one thread.
final class PollSet {
    /// A descriptor on which something happened.
    struct Ready {
        let descriptor: Int32
        /// Whose it is.
        let owner: Int
        /// In libcurl's bits.
        let events: Int32
    }

    private var entries: [pollfd]
    private var owners = [-1]
    private var places: [Int32: Int] = [:]
    private var ready: [Ready] = []

    /// - Parameter wake: becomes readable when the thread is to stop waiting.
    init(wake: Int32) {
        entries = [pollfd(fd: wake, events: Int16(POLLIN), revents: 0)]
    }

    /// Watches a descriptor in another way than before, or no longer; `what` is libcurl's.
    func watch(_ descriptor: Int32, _ what: Int32, owner: Int) {
        var events: Int32 = 0
        if what == CURL_POLL_IN || what == CURL_POLL_INOUT { events |= POLLIN }
        if what == CURL_POLL_OUT || what == CURL_POLL_INOUT { events |= POLLOUT }
        // One watched for nothing would still be reported when the other end is gone, for ever.
        guard events != 0 else { return remove(descriptor) }
        let entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        if let place = places[descriptor] {
            entries[place] = entry
            owners[place] = owner
        } else {
            places[descriptor] = entries.count
            entries.append(entry)
            owners.append(owner)
        }
    }

    private func remove(_ descriptor: Int32) {
        guard let place = places.removeValue(forKey: descriptor) else { return }
        let last = (entries.removeLast(), owners.removeLast())
        guard place < entries.count else { return }
        (entries[place], owners[place]) = last
        places[last.0.fd] = place
    }

    /// Waits until something happens or the time has come (nil for no limit).
    func wait(until time: ContinuousClock.Instant?) -> [Ready] {
        ready.removeAll(keepingCapacity: true)
        let limit = time.map { Self.milliseconds($0 - .now) } ?? -1
        // It fails when a debugger interrupts it; then it is simply called again.
        guard poll(&entries, nfds_t(entries.count), limit) > 0 else { return ready }
        for (place, entry) in entries.enumerated() where entry.revents != 0 && place > 0 {
            let events = Int32(entry.revents)
            // What went wrong, libcurl learns when it reads or writes.
            let isBroken = events & (POLLERR | POLLHUP | POLLNVAL) != 0
            var bits: Int32 = 0
            if events & POLLIN != 0 || isBroken { bits |= CURL_CSELECT_IN }
            if events & POLLOUT != 0 || isBroken { bits |= CURL_CSELECT_OUT }
            ready.append(Ready(descriptor: entry.fd, owner: owners[place], events: bits))
        }
        if entries[0].revents != 0 {
            var count: UInt64 = 0
            _ = read(entries[0].fd, &count, 8)
        }
        return ready
    }

    /// Rounded up: a thread that woke too early would have to go round.
    private static func milliseconds(_ duration: Duration) -> Int32 {
        let (seconds, attoseconds) = duration.components
        guard seconds >= 0, attoseconds > 0 || seconds > 0 else { return 0 }
        guard seconds < 1_000_000 else { return 1_000_000_000 }
        return Int32(seconds * 1000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
    }
}
