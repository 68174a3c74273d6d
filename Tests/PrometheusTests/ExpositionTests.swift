// Whole expositions, byte for byte, and the parts that are easy to get wrong.

import Synchronization
import Testing

@testable import Prometheus

@Suite("Exposition")
struct ExpositionTests {
    /// One family of each kind, registered out of order.
    private func registry() -> Registry {
        let registry = Registry(cells: 2)
        let stanzas = registry.counter(
            "kinglet_stanzas_total", by: Kind.self, Direction.self, help: "Stanzas.")
        stanzas[.chat, .sent].add(3, cell: 1)
        stanzas[.chat, .sent].add(4)
        let latency = registry.histogram(
            "kinglet_latency_seconds", help: "Time to deliver.", buckets: [0.005, 1, 2_500_000])
        latency.observe(0.005)
        latency.observe(0.25, cell: 1)
        latency.observe(3_000_000)
        registry.gauge("kinglet_free_ratio", help: "Free share.").set(0.5)
        registry.info(
            "kinglet_build_info", help: "Says \"what\" was built: \\ and\nmore.",
            labels: [("version", "1.0"), ("note", "a \"b\" \\ c\nd")])
        registry.counter("kinglet_cpu_seconds_total", help: "Processor time.") { 12.25 }
        registry.gauge("kinglet_absent", help: "Nobody knows.") { nil }
        return registry
    }

    @Test("Text format 0.0.4: golden exposition")
    func goldenText() {
        #expect(
            registry().text(.text004) == #"""
                # HELP kinglet_build_info Says "what" was built: \\ and\nmore.
                # TYPE kinglet_build_info gauge
                kinglet_build_info{version="1.0",note="a \"b\" \\ c\nd"} 1
                # HELP kinglet_cpu_seconds_total Processor time.
                # TYPE kinglet_cpu_seconds_total counter
                kinglet_cpu_seconds_total 12.25
                # HELP kinglet_free_ratio Free share.
                # TYPE kinglet_free_ratio gauge
                kinglet_free_ratio 0.5
                # HELP kinglet_latency_seconds Time to deliver.
                # TYPE kinglet_latency_seconds histogram
                kinglet_latency_seconds_bucket{le="0.005"} 1
                kinglet_latency_seconds_bucket{le="1.0"} 2
                kinglet_latency_seconds_bucket{le="2.5e+06"} 2
                kinglet_latency_seconds_bucket{le="+Inf"} 3
                kinglet_latency_seconds_sum 3000000.255
                kinglet_latency_seconds_count 3
                # HELP kinglet_stanzas_total Stanzas.
                # TYPE kinglet_stanzas_total counter
                kinglet_stanzas_total{kind="chat",direction="received"} 0
                kinglet_stanzas_total{kind="chat",direction="sent"} 7
                kinglet_stanzas_total{kind="group-chat",direction="received"} 0
                kinglet_stanzas_total{kind="group-chat",direction="sent"} 0

                """#)
    }

    @Test("Values of a label that nobody uses are left out, until they are used or counted")
    func unusedValues() {
        let registry = Registry()
        let isUsed = Atomic(false)
        let pairs = registry.counter(
            "kinglet_pairs_total", by: Kind.self, Direction.self,
            where: { $0 == .groupChat && isUsed.load(ordering: .relaxed) }, help: "Pairs.")
        let single = registry.counter(
            "kinglet_single_total", by: Kind.self, where: { _ in false }, help: "Single.")
        let times = registry.histogram(
            "kinglet_times_seconds", by: Kind.self, where: { _ in false }, help: "Times.",
            buckets: [1])
        #expect(registry.text() == "")

        isUsed.store(true, ordering: .relaxed)
        #expect(
            registry.samples == [
                #"kinglet_pairs_total{kind="group-chat",direction="received"} 0"#,
                #"kinglet_pairs_total{kind="group-chat",direction="sent"} 0"#,
            ])
        isUsed.store(false, ordering: .relaxed)
        pairs[.chat, .sent].add()
        single[.groupChat].add(2)
        times[.chat].observe(0.5)
        #expect(
            registry.samples == [
                #"kinglet_pairs_total{kind="chat",direction="sent"} 1"#,
                #"kinglet_single_total{kind="group-chat"} 2"#,
                #"kinglet_times_seconds_bucket{kind="chat",le="1.0"} 1"#,
                #"kinglet_times_seconds_bucket{kind="chat",le="+Inf"} 1"#,
                #"kinglet_times_seconds_sum{kind="chat"} 0.5"#,
                #"kinglet_times_seconds_count{kind="chat"} 1"#,
            ])
    }

    @Test("OpenMetrics 1.0: golden exposition")
    func goldenOpenMetrics() {
        #expect(
            registry().text(.openMetrics100) == #"""
                # TYPE kinglet_build info
                # HELP kinglet_build Says \"what\" was built: \\ and\nmore.
                kinglet_build_info{version="1.0",note="a \"b\" \\ c\nd"} 1
                # TYPE kinglet_cpu_seconds counter
                # HELP kinglet_cpu_seconds Processor time.
                kinglet_cpu_seconds_total 12.25
                # TYPE kinglet_free_ratio gauge
                # HELP kinglet_free_ratio Free share.
                kinglet_free_ratio 0.5
                # TYPE kinglet_latency_seconds histogram
                # HELP kinglet_latency_seconds Time to deliver.
                kinglet_latency_seconds_bucket{le="0.005"} 1
                kinglet_latency_seconds_bucket{le="1.0"} 2
                kinglet_latency_seconds_bucket{le="2.5e+06"} 2
                kinglet_latency_seconds_bucket{le="+Inf"} 3
                kinglet_latency_seconds_sum 3000000.255
                kinglet_latency_seconds_count 3
                # TYPE kinglet_stanzas counter
                # HELP kinglet_stanzas Stanzas.
                kinglet_stanzas_total{kind="chat",direction="received"} 0
                kinglet_stanzas_total{kind="chat",direction="sent"} 7
                kinglet_stanzas_total{kind="group-chat",direction="received"} 0
                kinglet_stanzas_total{kind="group-chat",direction="sent"} 0
                # EOF

                """#)
    }

    @Test("An empty registry is an empty text and an OpenMetrics end mark")
    func empty() {
        #expect(Registry().text(.text004) == "")
        #expect(Registry().text(.openMetrics100) == "# EOF\n")
    }

    @Test("Families are in order of their names, whatever the order of registration")
    func order() {
        let registry = Registry()
        for name in ["kinglet_bee", "kinglet_a_total", "kinglet_c", "kinglet_a_z"] {
            if name.hasSuffix("_total") {
                _ = registry.counter(name, help: "A.")
            } else {
                _ = registry.gauge(name, help: "A.")
            }
        }
        let sorted = ["kinglet_a_total", "kinglet_a_z", "kinglet_bee", "kinglet_c"]
        #expect(registry.names == sorted)
        #expect(registry.samples == sorted.map { "\($0) 0" })
    }

    @Test(
        "Values are written as Go's ParseFloat reads them",
        arguments: [
            (0, "0"), (-0.0, "0"), (1, "1"), (-7, "-7"), (1e6, "1000000"),
            (1_700_000_000.5, "1700000000.5"), (9e15, "9000000000000000"), (0.1, "0.1"),
            (1e-7, "1e-07"), (1e300, "1e+300"), (.nan, "NaN"), (.infinity, "+Inf"),
            (-.infinity, "-Inf"),
        ] as [(Double, String)])
    func numbers(value: Double, text: String) {
        #expect(Exposition.number(value) == text)
    }

    @Test(
        "OpenMetrics 1.0, Canonical Numbers: bounds are written as the specification lists them",
        arguments: [
            (0, "0.0"), (0.001, "0.001"), (0.5, "0.5"), (1, "1.0"), (10, "10.0"),
            (1e-10, "1e-10"), (1e-05, "1e-05"), (0.0001, "0.0001"), (100_000, "100000.0"),
            (1e6, "1e+06"), (1e10, "1e+10"), (1_234_567.5, "1.2345675e+06"), (1e20, "1e+20"),
            (-1e6, "-1e+06"), (.infinity, "+Inf"),
        ] as [(Double, String)])
    func bounds(value: Double, text: String) {
        #expect(Exposition.bound(value) == text)
    }

    @Test("Backslash, quote and line feed are escaped in label values, the quote not in text help")
    func escaping() {
        #expect(Exposition.escape(#"a\b"c"# + "\n", quotes: true) == #"a\\b\"c\n"#)
        #expect(Exposition.escape(#"a\b"c"# + "\n", quotes: false) == #"a\\b"c\n"#)
        #expect(Exposition.escape("Grüße 👋\t\r", quotes: true) == "Grüße 👋\t\r")
    }
}
