// Families whose labels are known only at run time.

import Testing

@testable import Prometheus

@Suite("Collectors")
struct CollectorTests {
    private let temperature = FamilyDescription(
        name: "rpi_temperature_celsius", kind: .gauge, help: "Temperature.")
    private let events = FamilyDescription(
        name: "rpi_events_total", kind: .counter, help: "Events.")

    private func collect(_ body: @escaping @Sendable (inout SampleSink) -> Void) -> Registry {
        let registry = Registry()
        registry.collect([temperature, events], body)
        return registry
    }

    @Test("Samples appear under their family; a family without samples is left out whole")
    func families() {
        let registry = collect {
            $0.add("rpi_temperature_celsius", labels: [("sensor", "cpu")], value: 51.5)
        }
        #expect(
            registry.text() == """
                # HELP rpi_temperature_celsius Temperature.
                # TYPE rpi_temperature_celsius gauge
                rpi_temperature_celsius{sensor="cpu"} 51.5

                """)
        #expect(registry.names == ["rpi_events_total", "rpi_temperature_celsius"])
    }

    @Test("The body runs once for all its families and anew at each scrape")
    func once() {
        let calls = Gauge()
        let registry = Registry()
        registry.collect([temperature, events]) {
            calls.add(1)
            $0.add("rpi_temperature_celsius", value: calls.value)
            $0.add("rpi_events_total", value: calls.value)
        }
        #expect(registry.samples == ["rpi_events_total 1", "rpi_temperature_celsius 1"])
        #expect(registry.samples == ["rpi_events_total 2", "rpi_temperature_celsius 2"])
    }

    @Test("A histogram is cumulative, and one that cannot be right is left out whole")
    func histogram() {
        func samples(_ body: @escaping @Sendable (inout SampleSink) -> Void) -> [String] {
            let registry = Registry()
            registry.collect(
                [
                    FamilyDescription(name: "run_seconds", kind: .histogram, help: "Runs."),
                    FamilyDescription(name: "other_seconds", kind: .gauge, help: "Other."),
                ], body)
            return registry.samples
        }
        #expect(
            samples {
                $0.addHistogram(
                    "run_seconds", labels: [("backup", "a")], bounds: [1, 2.5], counts: [3, 0, 1],
                    sum: 4.5)
            } == [
                #"run_seconds_bucket{backup="a",le="1.0"} 3"#,
                #"run_seconds_bucket{backup="a",le="2.5"} 3"#,
                #"run_seconds_bucket{backup="a",le="+Inf"} 4"#,
                #"run_seconds_sum{backup="a"} 4.5"#, #"run_seconds_count{backup="a"} 4"#,
            ])
        #expect(
            samples {
                let name = "run_seconds"
                $0.addHistogram(name, bounds: [1], counts: [1], sum: 1)
                $0.addHistogram(name, bounds: [2, 1], counts: [1, 1, 1], sum: 1)
                $0.addHistogram(name, bounds: [1, .infinity], counts: [1, 1, 1], sum: 1)
                $0.addHistogram(name, bounds: [1], counts: [1, 1], sum: -1)
                $0.addHistogram(name, bounds: [1], counts: [1, 1], sum: .nan)
                $0.addHistogram(name, labels: [("le", "1")], bounds: [], counts: [1], sum: 1)
                $0.addHistogram("other_seconds", bounds: [1], counts: [1, 1], sum: 1)
                $0.addHistogram("none_seconds", bounds: [1], counts: [1, 1], sum: 1)
            }.isEmpty)
    }

    @Test("A label set counts once, whatever the order of its labels and with empty ones left out")
    func duplicates() {
        let registry = collect {
            let name = "rpi_temperature_celsius"
            $0.add(name, labels: [("a", "1"), ("b", "2")], value: 1)
            $0.add(name, labels: [("b", "2"), ("a", "1")], value: 2)
            $0.add(name, labels: [], value: 3)
            $0.add(name, labels: [("a", "")], value: 4)
        }
        #expect(
            registry.samples == [
                #"rpi_temperature_celsius{a="1",b="2"} 1"#, "rpi_temperature_celsius 3",
            ])
    }

    @Test("What would make a scraper refuse the whole scrape is dropped")
    func invalid() {
        let registry = collect {
            $0.add("rpi_undeclared", value: 1)
            $0.add("rpi_temperature_celsius", labels: [("Bad-Name", "x")], value: 1)
            $0.add("rpi_temperature_celsius", labels: [("le", "1")], value: 1)
            $0.add("rpi_temperature_celsius", labels: [("a", "1"), ("a", "2")], value: 1)
            $0.add("rpi_events_total", value: -1)
            $0.add("rpi_events_total", labels: [("a", "1")], value: .nan)
        }
        #expect(registry.text() == "")
    }

    @Test("Label values are cut at 128 characters and a family has at most 1,000 samples")
    func bounds() {
        let registry = collect {
            for number in 0..<2_000 {
                $0.add("rpi_temperature_celsius", labels: [("n", "\(number)")], value: 0)
            }
            $0.add(
                "rpi_events_total", labels: [("n", String(repeating: "ü", count: 300))], value: 1)
        }
        let cut = String(repeating: "ü", count: 128)
        #expect(registry.samples.first == "rpi_events_total{n=\"\(cut)\"} 1")
        #expect(registry.samples.count == 1_001)
    }

    @Test("An info sample is 1, whatever was given")
    func info() {
        let registry = Registry()
        registry.collect([FamilyDescription(name: "rpi_board_info", kind: .info, help: "Board.")]) {
            $0.add("rpi_board_info", labels: [("model", "5")], value: 17)
        }
        #expect(registry.samples == [#"rpi_board_info{model="5"} 1"#])
    }

    @Test("What was rendered before is shown as it would have been added")
    func rendered() {
        let name = "rpi_temperature_celsius"
        let samples = RenderedSamples([temperature, events]) {
            $0.add(name, labels: [("b", "2"), ("a", "\"1\"")], value: 1)
            $0.add(name, labels: [("a", "\"1\""), ("b", "2")], value: 2)
            $0.add("rpi_events_total", value: -1)
            $0.add("rpi_undeclared", value: 1)
        }
        let registry = collect { $0.add(samples) }
        #expect(registry.samples == [#"rpi_temperature_celsius{a="\"1\"",b="2"} 1"#])
        #expect(collect { $0.add(RenderedSamples()) }.text() == "")
    }

    @Test("What was rendered before cannot double a series, nor enter a family of another kind")
    func renderedTwice() {
        let name = "rpi_temperature_celsius"
        let samples = RenderedSamples([temperature]) { $0.add(name, value: 1) }
        let after = collect {
            $0.add(name, value: 2)
            $0.add(samples)
        }
        #expect(after.samples == ["rpi_temperature_celsius 2"])
        let before = collect {
            $0.add(samples)
            $0.add(samples)
            $0.add(name, value: 2)
        }
        #expect(before.samples == ["rpi_temperature_celsius 1"])
        let other = FamilyDescription(name: "rpi_events_total", kind: .gauge, help: "Events.")
        let odd = RenderedSamples([other]) { $0.add("rpi_events_total", value: -1) }
        #expect(collect { $0.add(odd) }.text() == "")
    }
}
