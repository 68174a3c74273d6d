// What the parts of the push relay share, from the declarations to the running server.

internal import Engine
internal import Prometheus
internal import Synchronization

/// Options, metrics and, once the server runs, what does the work. Safe on any thread.
final class PushRelayState: Sendable {
    private struct Parts {
        var keys: PushKeys?
        var wakeups: Wakeups?
        var dispatcher: PushDispatcher?
        var tasks: PushTasks?
    }

    let options: PushOptions
    let metrics: PushMetrics
    let gauges: PushGauges
    /// Our own app servers.
    let services = ServiceTable()
    let receipts = ReceiptAddresses()
    private let parts = Mutex(Parts())

    init(_ options: PushOptions, _ registry: Registry) {
        self.options = options
        metrics = PushMetrics(registry)
        gauges = PushGauges(in: registry, used: metrics.used)
    }

    /// Nil where nothing has the key: in commands that do not open the data.
    var keys: PushKeys? { parts.withLock { $0.keys } }
    var wakeups: Wakeups? { parts.withLock { $0.wakeups } }
    /// Nil before the server has started.
    var dispatcher: PushDispatcher? { parts.withLock { $0.dispatcher } }

    /// What programs tell; nil before the server has started.
    var tasks: PushTasks? { parts.withLock { $0.tasks } }

    func set(_ keys: PushKeys) { parts.withLock { $0.keys = keys } }

    func set(_ dispatcher: PushDispatcher) {
        parts.withLock { parts in
            parts.wakeups = dispatcher.wakeups
            parts.tasks = PushTasks(dispatcher)
            parts.dispatcher = dispatcher
        }
    }
}
