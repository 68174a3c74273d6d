// Histograms with fixed buckets: how often a duration or a size fell where.

/// Counts observations into buckets. Any thread may observe; a loop with a cell of its own
/// names it.
public final class Histogram: Sendable {
    /// Upper bounds, inclusive and increasing; what is above the last is in a bucket without bound.
    let bounds: [Double]
    /// Slots 0 to `bounds.count` count what fell into each bucket alone, the slot after them sums
    /// the observations. A scrape adds the buckets up, so the last bucket and the count cannot
    /// disagree.
    private let block: CellBlock

    init(cells: Int, bounds: [Double]) {
        precondition(
            !bounds.isEmpty && bounds.allSatisfy(\.isFinite)
                && zip(bounds, bounds.dropFirst()).allSatisfy(<),
            "buckets must be finite and increasing")
        self.bounds = bounds
        block = CellBlock(cells: cells, slots: bounds.count + 2)
    }

    /// Counts one observation, in the metric's unit.
    ///
    /// Below zero counts as zero (a clock that stepped back); NaN and infinity are dropped, since
    /// the sum would never recover from them.
    /// - Parameter cell: the number of the calling event loop; 0 for everybody else.
    public func observe(_ seconds: Double, cell: Int = 0) {
        guard seconds.isFinite else { return }
        let value = max(0, seconds)
        var bucket = 0
        while bucket < bounds.count && value > bounds[bucket] { bucket += 1 }
        block.add(1 as UInt64, slot: bucket, cell: cell)
        block.add(value, slot: bounds.count + 1, cell: cell)
    }

    /// How many observations there were.
    public var count: Int { Int(clamping: cumulative.last ?? 0) }

    /// The sum of all observations.
    public var sum: Double { block.sum(slot: bounds.count + 1) }

    /// Observations up to each bound, and all of them as the last.
    var cumulative: [UInt64] {
        var running: UInt64 = 0
        return (0...bounds.count).map {
            running &+= block.total(slot: $0)
            return running
        }
    }
}

/// A histogram for each value of a label: `latency[.read].observe(0.01)`.
public typealias LabelledHistogram<Label: MetricLabel> = Labelled<Label, Histogram>
