// Gauges: numbers that go up and down. Most change far more rarely than counters, so each is one
// atomic for all threads; one that changes with every stanza has a cell per event loop.

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

/// A whole number that goes up and down as often as a counter goes up. Each event loop changes a
/// cell of its own, so what one adds another may take away: only the sum means something.
public final class SummedGauge: Sendable {
    @usableFromInline let block: CellBlock

    init(_ block: CellBlock) {
        self.block = block
    }

    /// Adds to the number; a negative `delta` takes away.
    /// - Parameter cell: the number of the calling event loop; 0 for everybody else.
    @inlinable
    public func add(_ delta: Int, cell: Int = 0) {
        block.add(UInt64(bitPattern: Int64(delta)), slot: 0, cell: cell)
    }

    /// The sum of all cells.
    public var value: Int { Int(truncatingIfNeeded: block.total(slot: 0)) }
}

/// A gauge for each value of a label: `queued[.offline].set(3)`.
public typealias LabelledGauge<Label: MetricLabel> = Labelled<Label, Gauge>

/// A gauge for each pair of values of two labels: `sessions[.tcp, .tls].add(1)`.
public typealias LabelledGauge2<A: MetricLabel, B: MetricLabel> = Labelled2<A, B, Gauge>
