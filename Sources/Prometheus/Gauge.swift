// Gauges: numbers that go up and down. They change far more rarely than counters, so each is one
// atomic for all threads.

import Synchronization

/// A number that goes up and down, zero at first. Any thread may change it.
///
/// For a number that can be unknown, register a gauge that is read at scrape time and answers nil.
public final class Gauge: Sendable {
    private let bits = Atomic<UInt64>(0)

    init() {}

    /// Replaces the number.
    public func set(_ value: Double) { bits.store(value.bitPattern, ordering: .relaxed) }

    /// Adds to the number; a negative `delta` takes away.
    public func add(_ delta: Double) {
        var old = bits.load(ordering: .relaxed)
        while true {
            let result = bits.weakCompareExchange(
                expected: old, desired: (Double(bitPattern: old) + delta).bitPattern,
                ordering: .relaxed)
            if result.exchanged { return }
            old = result.original
        }
    }

    /// The number now.
    public var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }
}

/// A gauge for each value of a label: `queued[.offline].set(3)`.
public typealias LabelledGauge<Label: MetricLabel> = Labelled<Label, Gauge>

/// A gauge for each pair of values of two labels: `sessions[.tcp, .tls].add(1)`.
public typealias LabelledGauge2<A: MetricLabel, B: MetricLabel> = Labelled2<A, B, Gauge>
