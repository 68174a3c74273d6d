// Watches over the endpoint's connections: closes those for which there is no place, and those whose
// request does not become whole.
//
// THREADS: libmicrohttpd's thread reports what happens; while connections are open, a queue looks
// every second at those that wait. Both hold the lock. A descriptor in the table is open: its end is
// reported before libmicrohttpd closes it, so no other connection can have its number yet.

import Dispatch
import Glibc
import Prometheus
import Synchronization

/// The endpoint's connections and their limits.
final class ConnectionGuard: Sendable {
    private struct State {
        var table: ConnectionTable
        /// Whether the next look is on its way.
        var isWatching = false
    }

    private let access: MetricsServer.Access
    private let metrics: ScrapeMetrics
    private let state: Mutex<State>

    init(
        access: MetricsServer.Access, metrics: ScrapeMetrics, limits: ConnectionTable.Limits
    ) {
        self.access = access
        self.metrics = metrics
        state = Mutex(State(table: ConnectionTable(limits)))
    }

    /// A connection was opened.
    func opened(_ descriptor: Int32, from address: IPAddress?) {
        let startsWatching = state.withLock { state in
            let closing = state.table.open(
                descriptor, from: address, isAllowed: access.allows(address), at: .now)
            for (descriptor, refusal) in closing {
                end(descriptor)
                metrics.refusals[refusal].add()
            }
            defer { state.isWatching = true }
            return !state.isWatching
        }
        if startsWatching { watchSoon() }
    }

    /// A request's headers are there.
    func receivedHeaders(_ descriptor: Int32) {
        state.withLock { $0.table.receivedHeaders(descriptor) }
    }

    /// A request is whole and is being answered.
    func beginAnswer(_ descriptor: Int32) {
        let received = Self.received(descriptor)
        state.withLock { $0.table.beginAnswer(descriptor, received: received) }
    }

    /// An answer was sent.
    func endAnswer(_ descriptor: Int32) {
        state.withLock { $0.table.endAnswer(descriptor) }
    }

    /// A request's body is too large, and its connection will be closed.
    func refuseBody(_ descriptor: Int32) {
        state.withLock { $0.table.refuse(descriptor) }
        metrics.refusals[.tooLarge].add()
    }

    /// A connection is about to be closed.
    func closed(_ descriptor: Int32) {
        let received = Self.received(descriptor)
        let refusal = state.withLock { $0.table.close(descriptor, received: received) }
        if let refusal { metrics.refusals[refusal].add() }
    }

    private func watchSoon() {
        DispatchQueue.global().asyncAfter(deadline: .now() + 1) { [weak self] in
            guard let self else { return }
            if self.watch() { self.watchSoon() }
        }
    }

    /// Closes what is overdue; says whether there is anything left to watch.
    private func watch() -> Bool {
        state.withLock { state in
            let overdue = state.table.takeOverdue(at: .now, received: Self.received)
            for descriptor in overdue {
                end(descriptor)
                metrics.refusals[.incomplete].add()
            }
            state.isWatching = !state.table.isEmpty
            return state.isWatching
        }
    }

    /// libmicrohttpd, whose descriptor it is, notices and closes it.
    private func end(_ descriptor: Int32) {
        shutdown(descriptor, Int32(SHUT_RDWR))
    }

    /// Bytes that a client has sent: tcpi_bytes_received of tcp(7), which is in the kernel's header
    /// and not in the C library's.
    private static func received(_ descriptor: Int32) -> UInt64? {
        let offset = 128
        var info = [UInt8](repeating: 0, count: offset + MemoryLayout<UInt64>.size)
        var length = socklen_t(info.count)
        guard getsockopt(descriptor, Int32(IPPROTO_TCP), TCP_INFO, &info, &length) == 0,
            Int(length) == info.count
        else { return nil }
        return info.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self) }
    }
}
