// Counters, gauges and histograms by themselves and under many threads.

import Testing

@testable import Prometheus

@Suite("Metrics")
struct MetricTests {
    @Test("A counter sums its cells; a cell that does not exist counts in cell 0")
    func cells() {
        let counter = Registry(cells: 3).counter("kinglet_x_total", help: "X.")
        for cell in [0, 1, 2, 3, -1, .max, .min] {
            counter.add(1, cell: cell)
        }
        #expect(counter.value == 7)
    }

    @Test("A counter never goes down")
    func monotonic() {
        let counter = Registry().counter("kinglet_x_total", help: "X.")
        counter.add(5)
        counter.add(-3)
        counter.add(0)
        counter.add(.min)
        #expect(counter.value == 5)
    }

    @Test("A summed gauge is right although one cell takes away what another added")
    func summed() {
        let registry = Registry(cells: 3)
        let gauge = registry.summedGauge("kinglet_x", help: "X.")
        gauge.add(5, cell: 1)
        gauge.add(-3, cell: 2)
        #expect(gauge.value == 2)
        gauge.add(-4)
        #expect(gauge.value == -2)
        #expect(registry.samples == ["kinglet_x -2"])
    }

    @Test("Each label value, and each pair of them, has its own metric")
    func labels() {
        let registry = Registry()
        let one = registry.counter("kinglet_one_total", by: Direction.self, help: "X.")
        one[.received].add(1)
        one[.sent].add(2)
        let two = registry.gauge("kinglet_two", by: Direction.self, Kind.self, help: "X.")
        two[.received, .groupChat].set(3)
        two[.sent, .chat].add(-4)
        let single = registry.gauge("kinglet_single", by: Single.self, help: "X.")
        single[.only].set(5)
        #expect(
            registry.samples == [
                #"kinglet_one_total{direction="received"} 1"#,
                #"kinglet_one_total{direction="sent"} 2"#,
                #"kinglet_single{single="only"} 5"#,
                #"kinglet_two{direction="received",kind="chat"} 0"#,
                #"kinglet_two{direction="received",kind="group-chat"} 3"#,
                #"kinglet_two{direction="sent",kind="chat"} -4"#,
                #"kinglet_two{direction="sent",kind="group-chat"} 0"#,
            ])
    }

    @Test("A case that allCases leaves out is counted apart and not exposed")
    func unlisted() {
        let registry = Registry()
        let counter = registry.counter("kinglet_x_total", by: Partial.self, help: "X.")
        counter[.hidden].add(9)
        counter[.shown].add(1)
        #expect(registry.samples == [#"kinglet_x_total{partial="shown"} 1"#])
    }

    @Test("A reading that is nil is absent, and a negative counter too")
    func readings() {
        let source = Gauge()
        let registry = Registry()
        registry.counter("kinglet_read_total", help: "X.") { source.value }
        registry.gauge("kinglet_level", help: "X.") { source.value > 1 ? source.value : nil }
        #expect(registry.samples == ["kinglet_read_total 0"])
        source.set(2)
        #expect(registry.samples == ["kinglet_level 2", "kinglet_read_total 2"])
        source.set(-2)
        #expect(registry.samples.isEmpty)
    }

    @Test("Buckets are cumulative, bounds inclusive, and +Inf equals the count")
    func buckets() {
        let histogram = Registry(cells: 2).histogram(
            "kinglet_x_seconds", help: "X.", buckets: [1, 2, 4])
        for value in [0, 1, 1.5, 2, 4, 4.5, 1e9] {
            histogram.observe(value, cell: 1)
        }
        #expect(histogram.cumulative == [2, 4, 5, 7])
        #expect(histogram.count == 7)
        #expect(histogram.sum == 1_000_000_013)
    }

    @Test("A negative observation counts as zero; NaN and infinity are dropped")
    func oddObservations() {
        let histogram = Registry().histogram("kinglet_x_seconds", help: "X.", buckets: [1])
        for value in [-5, .nan, .infinity, -.infinity, 0.5] {
            histogram.observe(value)
        }
        #expect(histogram.cumulative == [2, 2])
        #expect(histogram.sum == 0.5)
    }

    @Test("A labelled histogram keeps its label before le")
    func labelledHistogram() {
        let registry = Registry()
        let histogram = registry.histogram(
            "kinglet_x_seconds", by: Single.self, help: "X.", buckets: [0.1])
        histogram[.only].observe(0.1)
        #expect(
            registry.samples == [
                #"kinglet_x_seconds_bucket{single="only",le="0.1"} 1"#,
                #"kinglet_x_seconds_bucket{single="only",le="+Inf"} 1"#,
                #"kinglet_x_seconds_sum{single="only"} 0.1"#,
                #"kinglet_x_seconds_count{single="only"} 1"#,
            ])
    }

    @Test("Totals are exact after many tasks counted while others rendered")
    func concurrency() async {
        let registry = Registry(cells: 4)
        let counter = registry.counter("kinglet_x_total", by: Direction.self, help: "X.")
        let histogram = registry.histogram("kinglet_x_seconds", help: "X.", buckets: [1, 2])
        let gauge = registry.gauge("kinglet_x_depth", help: "X.")
        let rounds = 10_000
        await withTaskGroup { group in
            for task in 0..<8 {
                group.addTask {
                    for round in 0..<rounds {
                        counter[.sent].add(1, cell: task % 5)
                        histogram.observe(Double(round % 3) + 0.5, cell: task % 5)
                        gauge.add(task % 2 == 0 ? 1 : -1)
                    }
                }
            }
            group.addTask {
                for _ in 0..<50 {
                    let samples = registry.samples
                    let bucket = samples.first { $0.contains("+Inf") }?.split(separator: " ").last
                    let count = samples.first { $0.contains("_count ") }?.split(separator: " ").last
                    #expect(bucket != nil && bucket == count)
                }
            }
        }
        #expect(counter[.sent].value == 8 * rounds)
        #expect(counter[.received].value == 0)
        #expect(histogram.count == 8 * rounds)
        // Every value is a multiple of a half, so the sum is exact in any order.
        let sum = (0..<rounds).reduce(0.0) { $0 + Double($1 % 3) + 0.5 } * 8
        #expect(histogram.sum == sum)
        #expect(gauge.value == 0)
    }
}
