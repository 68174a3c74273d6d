// Counters: numbers that only grow, cheap enough to count every stanza.

/// A number that only grows. Any thread may count; a loop that has a cell of its own names it.
public final class Counter: Sendable {
    @usableFromInline let block: CellBlock
    @usableFromInline let slot: Int

    init(_ block: CellBlock, slot: Int) {
        self.block = block
        self.slot = slot
    }

    /// Counts `n` more; zero and below change nothing, since a counter never goes down.
    /// - Parameter cell: the number of the calling event loop; 0 for everybody else.
    @inlinable
    public func add(_ n: Int = 1, cell: Int = 0) {
        guard n > 0 else { return }
        block.add(UInt64(n), slot: slot, cell: cell)
    }

    /// The sum of all cells.
    public var value: Int { Int(clamping: total) }

    var total: UInt64 { block.total(slot: slot) }
}

/// A counter for each value of a label: `refused[.tooBig].add()`.
public typealias LabelledCounter<Label: MetricLabel> = Labelled<Label, Counter>

/// A counter for each pair of values of two labels: `messages[.received, .chat].add()`.
public typealias LabelledCounter2<A: MetricLabel, B: MetricLabel> = Labelled2<A, B, Counter>
