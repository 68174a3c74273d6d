// Which connections may come in: few from one address, few that have not logged in, not more
// than the machine can carry.

internal import Options
internal import Prometheus
internal import Synchronization

/// Counts connections. Safe on any thread.
public final class Admission: Sendable {
    private struct State {
        var all = 0
        var unauthenticated = 0
        var byAddress: [String: Int] = [:]
    }

    private let limit: Setting<Int>
    private let limitPerAddress: Setting<Int>
    private let limitUnauthenticated: Setting<Int>
    private let metrics: EngineMetrics
    private let memory: MemoryCeiling
    private let state = Mutex(State())

    init(
        limit: Setting<Int>, perAddress: Setting<Int>, unauthenticated: Setting<Int>,
        metrics: EngineMetrics, memory: MemoryCeiling
    ) {
        self.limit = limit
        limitPerAddress = perAddress
        limitUnauthenticated = unauthenticated
        self.metrics = metrics
        self.memory = memory
    }

    /// Admits a connection, which then must leave; or gives the reason against it.
    public func enter(address: String, isLoopback: Bool) -> RefusalReason? {
        let reason: RefusalReason? = state.withLock { state in
            guard !memory.isReached else { return .memory }
            guard state.all < limit.value else { return .connections }
            guard state.unauthenticated < limitUnauthenticated.value else {
                return .unauthenticatedConnections
            }
            let same = state.byAddress[address] ?? 0
            guard isLoopback || same < limitPerAddress.value else {
                return .connectionsPerAddress
            }
            state.all += 1
            state.unauthenticated += 1
            state.byAddress[address] = same + 1
            return nil
        }
        if let reason { metrics.refusals[reason].add() }
        return reason
    }

    /// The connection's peer has proved who it is.
    func authenticated() {
        state.withLock { $0.unauthenticated -= 1 }
    }

    /// The connection is gone.
    public func leave(address: String, wasAuthenticated: Bool) {
        state.withLock { state in
            state.all -= 1
            if !wasAuthenticated { state.unauthenticated -= 1 }
            let same = (state.byAddress[address] ?? 1) - 1
            state.byAddress[address] = same > 0 ? same : nil
        }
    }
}
