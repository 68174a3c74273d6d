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

    private let limits: Limits
    private let metrics: EngineMetrics
    private let memory: MemoryCeiling
    private let state = Mutex(State())

    init(limits: Limits, metrics: EngineMetrics, memory: MemoryCeiling) {
        self.limits = limits
        self.metrics = metrics
        self.memory = memory
    }

    /// Admits a connection, which then must leave; or gives the reason against it.
    public func enter(address: String, isLoopback: Bool) -> RefusalReason? {
        let reason: RefusalReason? = state.withLock { state in
            guard !memory.isReached else { return .memory }
            guard state.all < limits.connections.value else { return .connections }
            guard state.unauthenticated < limits.unauthenticated.value else {
                return .unauthenticatedConnections
            }
            let same = state.byAddress[address] ?? 0
            guard isLoopback || same < limits.connectionsPerAddress.value else {
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

    /// The connection has logged in.
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
