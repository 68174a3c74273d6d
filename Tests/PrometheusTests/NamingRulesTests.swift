// What may not be registered.

import Testing

@testable import Prometheus

@Suite("Naming rules")
struct NamingRulesTests {
    @Test(
        "Good names pass",
        arguments: [
            ("kinglet_stanzas_total", .counter), ("kinglet_sent_bytes_total", .counter),
            ("kinglet_sessions", .gauge), ("kinglet_free_ratio", .gauge),
            ("kinglet_latency_seconds", .histogram), ("kinglet_build_info", .info),
            ("node_memory_active_bytes", .gauge), ("rpi_voltage_volts", .gauge), ("up", .gauge),
            ("rpi_bootloader_build_timestamp_seconds", .gauge),
        ] as [(String, MetricKind)])
    func good(name: String, kind: MetricKind) {
        #expect(NamingRules.problem(name: name, kind: kind, help: "Help.") == nil)
    }

    @Test(
        "Names that promtool would report are refused",
        arguments: [
            ("kinglet_stanzas", .counter, "a counter must end in _total"),
            ("kinglet_stanzas_total", .gauge, "gauge must not end in _total"),
            ("kinglet_x_seconds_total", .histogram, "histogram must not end in _total"),
            ("kinglet_build", .info, "an info must end in _info"),
            ("kinglet_build_info", .gauge, "gauge must not end in _info"),
            ("kinglet_sessions_count", .gauge, "gauge must not end in _count"),
            ("kinglet_x_sum", .gauge, "gauge must not end in _sum"),
            ("kinglet_x_bucket", .gauge, "gauge must not end in _bucket"),
            ("kinglet_x_created", .gauge, "gauge must not end in _created"),
            ("kinglet_x_count_total", .counter, "counter must not end in _count"),
            ("kinglet_gauge_x", .gauge, "the type 'gauge' is in the name"),
            ("kinglet_x_counter_total", .counter, "the type 'counter' is in the name"),
            ("kinglet_latency_ms", .gauge, "'ms' is an abbreviation"),
            ("kinglet_size_kb_total", .counter, "'kb' is an abbreviation"),
            ("kinglet_age_minutes", .gauge, "'minutes' is not a base unit"),
            ("kinglet_latency_milliseconds", .histogram, "'milliseconds' is not a base unit"),
            ("kinglet_size_kilobytes", .gauge, "'kilobytes' is not a base unit"),
            ("kinglet_rate_megabits", .gauge, "'megabits' is not a base unit"),
            ("rpi_temperature_fahrenheit", .gauge, "'fahrenheit' is not a base unit"),
            ("kingletSessions", .gauge, "not in lower snake case"),
            ("kinglet:sessions", .gauge, "not in lower snake case"),
            ("kinglet__x", .gauge, "not in lower snake case"),
            ("kinglet_", .gauge, "not in lower snake case"),
            ("_kinglet", .gauge, "not in lower snake case"),
            ("1kinglet", .gauge, "not in lower snake case"),
            ("kinglet-x", .gauge, "not in lower snake case"),
            ("kinglet_größe", .gauge, "not in lower snake case"),
            ("", .gauge, "not in lower snake case"),
        ] as [(String, MetricKind, String)])
    func bad(name: String, kind: MetricKind, problem: String) {
        #expect(NamingRules.problem(name: name, kind: kind, help: "Help.") == problem)
    }

    @Test("Help must not be empty")
    func help() {
        #expect(NamingRules.problem(name: "kinglet_x", kind: .gauge, help: "") == "no help")
    }

    @Test("Label names are lower snake case and not those of the format")
    func labels() {
        for name in ["kind", "error_code", "v2"] { #expect(NamingRules.isLabelName(name)) }
        for name in ["le", "quantile", "__name__", "errorCode", "a-b", "", "2v", "a:b"] {
            #expect(!NamingRules.isLabelName(name), "\(name)")
        }
    }

    @Test("OpenMetrics 1.0: families claim the names of their samples")
    func claims() {
        let histogram = NamingRules.claimedNames("kinglet_x", .histogram)
        #expect(histogram.contains("kinglet_x_bucket") && histogram.contains("kinglet_x_created"))
        #expect(
            NamingRules.claimedNames("kinglet_x_total", .counter).contains("kinglet_x"))
    }

    @Test("A name registered twice stops the program")
    func twice() async {
        await #expect(processExitsWith: .failure) {
            let registry = Registry()
            _ = registry.gauge("kinglet_x", help: "X.")
            _ = registry.gauge("kinglet_x", help: "X.")
        }
    }

    @Test("A gauge with the family name of a counter stops the program")
    func clash() async {
        await #expect(processExitsWith: .failure) {
            let registry = Registry()
            _ = registry.counter("kinglet_x_total", help: "X.")
            _ = registry.gauge("kinglet_x", help: "X.")
        }
    }

    @Test("A bad name stops the program when it is registered")
    func badName() async {
        await #expect(processExitsWith: .failure) {
            _ = Registry().counter("kinglet_stanzas", help: "X.")
        }
    }

    @Test("Buckets that do not increase stop the program")
    func badBuckets() async {
        await #expect(processExitsWith: .failure) {
            _ = Registry().histogram("kinglet_x_seconds", help: "X.", buckets: [1, 1])
        }
    }
}
