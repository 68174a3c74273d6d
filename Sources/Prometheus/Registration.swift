// How each kind of metric enters the registry. What stands before a value in its line is rendered
// here, once; a scrape then only appends numbers.

extension Registry {
    /// Registers a counter; it is exposed as 0 at once.
    public func counter(_ name: String, help: String) -> Counter {
        let counter = Counter(CellBlock(cells: cells, slots: 1), slot: 0)
        register(name, help: help, counters: [([], counter)], where: nil)
        return counter
    }

    /// Registers a counter for each value of a label.
    ///
    /// - Parameter isUsed: a value that this denies is exposed only once it has been counted: for
    ///   a label most of whose values most machines never see. Say yes before the first count: what
    ///   appears with its first count has not grown for Prometheus.
    public func counter<L: MetricLabel>(
        _ name: String, by label: L.Type, where isUsed: (@Sendable (L) -> Bool)? = nil,
        help: String
    ) -> LabelledCounter<L> {
        let block = CellBlock(cells: cells, slots: LabelSlots<L>().count)
        let counter = LabelledCounter<L> { Counter(block, slot: $0) }
        register(name, help: help, counters: counter.rows, where: Self.byRow(isUsed))
        return counter
    }

    /// Registers a counter for each pair of values of two labels.
    ///
    /// - Parameter isUsed: asked for the first label's value.
    public func counter<A: MetricLabel, B: MetricLabel>(
        _ name: String, by first: A.Type, _ second: B.Type,
        where isUsed: (@Sendable (A) -> Bool)? = nil, help: String
    ) -> LabelledCounter2<A, B> {
        let count = LabelSlots<A>().count * LabelSlots<B>().count
        let block = CellBlock(cells: cells, slots: count)
        let counter = LabelledCounter2<A, B> { Counter(block, slot: $0) }
        register(
            name, help: help, counters: counter.rows,
            where: Self.byRow(isUsed, width: B.allCases.count))
        return counter
    }

    /// Registers a counter that somebody else keeps, read at each scrape; absent while nil.
    ///
    /// `read` runs on the scraper's thread and must not wait for anything.
    public func counter(
        _ name: String, help: String, read: @escaping @Sendable () -> Double?
    ) {
        let prefix = Exposition.prefix(name, [])
        register(name, .counter, help: help) { out in
            if let value = read(), value >= 0 {
                Exposition.append(prefix, value, to: &out)
            }
        }
    }

    /// Registers a gauge; it is exposed as 0 until it is set.
    public func gauge(_ name: String, help: String) -> Gauge {
        let gauge = Gauge()
        register(name, .gauge, help: help, rows: [([], gauge)])
        return gauge
    }

    /// Registers a gauge that event loops change in cells of their own.
    public func summedGauge(_ name: String, help: String) -> SummedGauge {
        let gauge = SummedGauge(CellBlock(cells: cells, slots: 1))
        self.gauge(name, help: help) { Double(gauge.value) }
        return gauge
    }

    /// Registers a gauge for each value of a label.
    public func gauge<L: MetricLabel>(
        _ name: String, by label: L.Type, help: String
    ) -> LabelledGauge<L> {
        let gauge = LabelledGauge<L> { _ in Gauge() }
        register(name, .gauge, help: help, rows: gauge.rows)
        return gauge
    }

    /// Registers a gauge for each pair of values of two labels.
    public func gauge<A: MetricLabel, B: MetricLabel>(
        _ name: String, by first: A.Type, _ second: B.Type, help: String
    ) -> LabelledGauge2<A, B> {
        let gauge = LabelledGauge2<A, B> { _ in Gauge() }
        register(name, .gauge, help: help, rows: gauge.rows)
        return gauge
    }

    /// Registers a gauge that is read at each scrape; absent while nil.
    ///
    /// `read` runs on the scraper's thread and must not wait for anything.
    public func gauge(_ name: String, help: String, read: @escaping @Sendable () -> Double?) {
        let prefix = Exposition.prefix(name, [])
        register(name, .gauge, help: help) { out in
            if let value = read() {
                Exposition.append(prefix, value, to: &out)
            }
        }
    }

    /// Registers facts that do not change while the program runs, such as its version.
    public func info(_ name: String, help: String, labels: [(String, String)]) {
        precondition(
            labels.allSatisfy { NamingRules.isLabelName($0.0) }
                && Set(labels.map(\.0)).count == labels.count,
            "metric '\(name)' has a bad or repeated label")
        let prefix = Exposition.prefix(name, labels)
        register(name, .info, help: help) { out in
            Exposition.append(prefix, 1 as UInt64, to: &out)
        }
    }

    /// Registers a histogram.
    /// - Parameter buckets: upper bounds, inclusive and increasing, in the metric's unit; the one
    ///   without bound is added.
    public func histogram(_ name: String, help: String, buckets: [Double]) -> Histogram {
        let histogram = Histogram(cells: cells, bounds: buckets)
        register(name, help: help, rows: [([], histogram)])
        return histogram
    }

    /// Registers a histogram for each value of a label.
    ///
    /// - Parameter isUsed: a value that this denies is exposed only once something has been observed
    ///   for it.
    public func histogram<L: MetricLabel>(
        _ name: String, by label: L.Type, where isUsed: (@Sendable (L) -> Bool)? = nil,
        help: String, buckets: [Double]
    ) -> LabelledHistogram<L> {
        let histogram = LabelledHistogram<L> { _ in Histogram(cells: cells, bounds: buckets) }
        register(name, help: help, rows: histogram.rows, where: Self.byRow(isUsed))
        return histogram
    }

    /// Registers families whose label values are known only at run time. `body` fills all of them
    /// at each scrape, on the scraper's thread; a family without a sample is left out.
    public func collect(
        _ families: [FamilyDescription], _ body: @escaping @Sendable (inout SampleSink) -> Void
    ) {
        register(families, body)
    }
}

// Values and their labels, turned into lines.
extension Registry {
    private typealias Labels = [(String, String)]

    private typealias RowFilter = @Sendable (_ row: Int) -> Bool

    /// Asks for the value that a row shows, where each has `width` rows.
    private static func byRow<L: MetricLabel>(
        _ isUsed: (@Sendable (L) -> Bool)?, width: Int = 1
    ) -> RowFilter? {
        guard let isUsed else { return nil }
        let values = Array(L.allCases)
        return { isUsed(values[$0 / width]) }
    }

    private func register(
        _ name: String, help: String, counters rows: [(labels: Labels, Counter)],
        where isShown: RowFilter?
    ) {
        let lines = rows.map { (Exposition.prefix(name, $0.labels), $0.1) }
        register(name, .counter, help: help) { out in
            for (row, (prefix, counter)) in lines.enumerated() {
                let total = counter.total
                if total == 0, let isShown, !isShown(row) { continue }
                Exposition.append(prefix, total, to: &out)
            }
        }
    }

    private func register(
        _ name: String, _ kind: MetricKind, help: String, rows: [(labels: Labels, Gauge)]
    ) {
        let lines = rows.map { (Exposition.prefix(name, $0.labels), $0.1) }
        register(name, kind, help: help) { out in
            for (prefix, gauge) in lines {
                Exposition.append(prefix, gauge.value, to: &out)
            }
        }
    }

    private func register(
        _ name: String, help: String, rows: [(labels: Labels, Histogram)],
        where isShown: RowFilter? = nil
    ) {
        let lines = rows.map { labels, histogram in
            let bounds = (histogram.bounds + [.infinity]).map(Exposition.bound)
            return (
                buckets: bounds.map { Exposition.prefix("\(name)_bucket", labels + [("le", $0)]) },
                sum: Exposition.prefix("\(name)_sum", labels),
                count: Exposition.prefix("\(name)_count", labels),
                histogram: histogram
            )
        }
        register(name, .histogram, help: help) { out in
            for (row, line) in lines.enumerated() {
                // Read once: count and last bucket are the same number even while others observe.
                let counts = line.histogram.cumulative
                if counts.last == 0, let isShown, !isShown(row) { continue }
                for (prefix, count) in zip(line.buckets, counts) {
                    Exposition.append(prefix, count, to: &out)
                }
                Exposition.append(line.sum, line.histogram.sum, to: &out)
                Exposition.append(line.count, counts.last ?? 0, to: &out)
            }
        }
    }
}
