// What a scrape shows of the push relay's state. A scrape asks no database: what is there is counted
// now and then, and only when something has changed.

internal import Engine
internal import NIOCore
internal import Prometheus
internal import Storage
internal import Synchronization

/// The state for metrics. Safe on any thread.
final class PushGauges: Sendable {
    /// Counting takes milliseconds for a hundred thousand targets.
    private static let pause = TimeAmount.seconds(10)

    private struct State {
        var depth = 0
        var oldest: Int64?
        var registrations: [(provider: String, isEnabled: Bool, count: Int)] = []
        var isKnown = false
        var isChanged = true
        weak var dispatcher: PushDispatcher?
    }

    private let used: ProvidersInUse
    private let state = Mutex(State())

    init(in registry: Registry, used: ProvidersInUse) {
        self.used = used
        let families = [
            FamilyDescription(
                name: "kinglet_push_queue_depth", kind: .gauge,
                help: "Pushes that wait to be sent, or sent again."),
            FamilyDescription(
                name: "kinglet_push_queue_oldest_age_seconds", kind: .gauge,
                help: "Since when the oldest of them waits; 0 if none does."),
            FamilyDescription(
                name: "kinglet_push_registrations", kind: .gauge,
                help: "Targets by provider; disabled ones are kept with the reason."),
            FamilyDescription(
                name: "kinglet_push_circuit_state", kind: .gauge,
                help: "Circuits (a provider with a credential, or a server) in each state."),
            FamilyDescription(
                name: "kinglet_push_in_flight", kind: .gauge,
                help: "Pushes that are under way to providers."),
            FamilyDescription(
                name: "kinglet_push_credential_expiry_timestamp_seconds", kind: .gauge,
                help: "When the credential in use ends, in seconds since 1970; it is renewed "
                    + "before."),
        ]
        registry.collect(families) { [self] sink in fill(&sink) }
    }

    /// Something was noted, sent, enabled or removed.
    func didChange() { state.withLock { $0.isChanged = true } }

    /// Begins to count.
    func start(_ dispatcher: PushDispatcher) {
        state.withLock { $0.dispatcher = dispatcher }
        guard let loop = dispatcher.host.loops.first else { return }
        loop.eventLoop.scheduleRepeatedTask(initialDelay: .zero, delay: Self.pause) {
            [weak self, weak dispatcher] task in
            guard let self, let dispatcher else { return task.cancel() }
            self.count(dispatcher.host)
        }
    }

    private func count(_ host: Host) {
        let isChanged = state.withLock { state in
            defer { state.isChanged = false }
            return state.isChanged
        }
        guard isChanged else { return }
        host.database.read(
            { connection in
                (
                    try PushQueueStore.depth(connection), try PushTargetStore.counts(connection)
                )
            },
            then: { result in
                guard case .success(let (queue, counts)) = result else { return }
                for kind in counts.compactMap({ ProviderKind(rawValue: $0.provider) }) {
                    self.used.insert(kind)
                }
                self.state.withLock { state in
                    state.depth = queue.count
                    state.oldest = queue.oldest
                    state.registrations = counts
                    state.isKnown = true
                    // What waits grows old without a change.
                    if queue.count > 0 { state.isChanged = true }
                }
            })
    }

    private func fill(_ sink: inout SampleSink) {
        let (depth, oldest, registrations, isKnown, dispatcher) = state.withLock {
            ($0.depth, $0.oldest, $0.registrations, $0.isKnown, $0.dispatcher)
        }
        guard isKnown, let dispatcher else { return }
        sink.add("kinglet_push_queue_depth", value: Double(depth))
        let age = oldest.map { max(0, Double(dispatcher.now.wall - $0) / 1000) } ?? 0
        sink.add("kinglet_push_queue_oldest_age_seconds", value: age)
        for entry in registrations {
            sink.add(
                "kinglet_push_registrations",
                labels: [
                    ("provider", entry.provider),
                    ("state", entry.isEnabled ? "enabled" : "disabled"),
                ], value: Double(entry.count))
        }
        fillCircuits(&sink, dispatcher)
    }

    private func fillCircuits(_ sink: inout SampleSink, _ dispatcher: PushDispatcher) {
        var states: [ProviderKind: [CircuitState: Int]] = [:]
        var inFlight: [ProviderKind: Int] = [:]
        for circuit in dispatcher.circuits.values {
            states[circuit.provider, default: [:]][circuit.breaker.state, default: 0] += 1
            inFlight[circuit.provider, default: 0] += circuit.inFlight
        }
        for provider in ProviderKind.allCases {
            guard let states = states[provider] else { continue }
            for state in CircuitState.allCases {
                sink.add(
                    "kinglet_push_circuit_state",
                    labels: [("provider", provider.rawValue), ("state", state.rawValue)],
                    value: Double(states[state] ?? 0))
            }
            sink.add(
                "kinglet_push_in_flight", labels: [("provider", provider.rawValue)],
                value: Double(inFlight[provider] ?? 0))
        }
        var soonest: [String: (provider: String, kind: String, time: Int64)] = [:]
        for app in dispatcher.providers.current?.apps ?? [] {
            for expiry in app.provider.expiries {
                let key = "\(app.provider.kind.rawValue) \(expiry.kind)"
                if let known = soonest[key], known.time <= expiry.time { continue }
                soonest[key] = (app.provider.kind.rawValue, expiry.kind, expiry.time)
            }
        }
        for entry in soonest.values.sorted(by: { $0.provider < $1.provider }) {
            sink.add(
                "kinglet_push_credential_expiry_timestamp_seconds",
                labels: [("provider", entry.provider), ("kind", entry.kind)],
                value: Double(entry.time))
        }
    }
}
