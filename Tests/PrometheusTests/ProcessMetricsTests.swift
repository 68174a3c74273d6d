// Process metrics from a recorded procfs, from one with pieces missing, and from the real one.

import Glibc
import Testing

@testable import Prometheus

@Suite("Process metrics")
struct ProcessMetricsTests {
    /// The name holds what breaks parsers that split at spaces or at the first parenthesis.
    private static let stat =
        "4242 (king) (let) S 1 4242 4242 0 -1 4194560 9000 0 12 0 1234 66 0 0 20 0 5 0 987654 "
        + "250000000 9000 18446744073709551615 1 1 0 0 0 0 0 4096 81920 0 0 0 17 1 0 0 0 0 0\n"

    private static let status = """
        Name:\tking) (let
        VmPeak:\t  244140 kB
        VmRSS:\t   36000 kB
        RssAnon:\t    9000 kB
        RssFile:\t   27000 kB
        Threads:\t5

        """

    private static let limits = """
        Limit                     Soft Limit           Hard Limit           Units
        Max processes             31210                31210                processes
        Max open files            1024                 524288               files
        Max locked memory         unlimited            unlimited            bytes

        """

    private static let io = """
        rchar: 1686028
        wchar: 1001887
        syscr: 853
        syscw: 31
        read_bytes: 4612096
        write_bytes: 1015808
        cancelled_write_bytes: 4096

        """

    private static let boot = "cpu  1 2 3 4\nintr 5 0 0\nctxt 9\nbtime 1700000000\nprocesses 7\n"

    @Test("A recorded tree gives the recorded numbers")
    func recorded() throws {
        let tree = try Tree([
            "self/stat": Self.stat, "self/status": Self.status, "self/limits": Self.limits,
            "self/io": Self.io, "stat": Self.boot, "self/fd/0": "", "self/fd/1": "",
            "self/fd/2": "",
        ])
        let registry = Registry()
        ProcessMetrics.register(in: registry, proc: tree.path)
        let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
        #expect(
            registry.samples == [
                "kinglet_process_anonymous_memory_bytes 9216000",
                "kinglet_process_cpu_seconds_total \(Exposition.number(1300 / ticks))",
                "kinglet_process_disk_written_bytes_total 1015808",
                "kinglet_process_max_descriptors 1024",
                "kinglet_process_open_descriptors 3",
                "kinglet_process_resident_memory_bytes 36864000",
                "kinglet_process_start_time_seconds "
                    + Exposition.number(1_700_000_000 + 987_654 / ticks),
                "kinglet_process_threads 5",
            ])
    }

    @Test("An absent source is an absent series, never zero")
    func absent() throws {
        let tree = try Tree(["self/stat": Self.stat, "self/io": "rchar: 1\nwrite_bytes: ?\n"])
        let registry = Registry()
        ProcessMetrics.register(in: registry, proc: tree.path)
        let names = registry.samples.compactMap { $0.split(separator: " ").first.map(String.init) }
        #expect(names == ["kinglet_process_cpu_seconds_total", "kinglet_process_threads"])

        let nothing = Registry()
        ProcessMetrics.register(in: nothing, proc: tree.path + "/nowhere")
        #expect(nothing.text() == "")
    }

    @Test(
        "A truncated or garbled stat gives nothing",
        arguments: ["", "4242 (kinglet", "4242 (kinglet) S 1 2", "1 (a) " + "x ".repeated(40)])
    func garbled(stat: String) {
        #expect(ProcessStat(stat) == nil)
    }

    @Test("An unlimited limit is infinite, a missing line nothing")
    func limits() {
        #expect(
            ProcessMetrics.number(in: Self.limits, after: "Max locked memory") == .infinity)
        #expect(ProcessMetrics.number(in: Self.limits, after: "Max stack size") == nil)
        #expect(ProcessMetrics.number(in: "btime\n", after: "btime") == nil)
        #expect(ProcessMetrics.number(in: "btime x\n", after: "btime") == nil)
    }

    @Test("This process has every series, with believable numbers")
    func real() {
        let registry = Registry()
        ProcessMetrics.register(in: registry)
        var values: [String: Double] = [:]
        for sample in registry.samples {
            let parts = sample.split(separator: " ")
            values[String(parts[0])] = Double(parts[1])
        }
        // Not every kernel keeps account of it.
        let countsWrites = access("/proc/self/io", R_OK) == 0
        #expect(values.count == (countsWrites ? 8 : 7))
        #expect(values["kinglet_process_resident_memory_bytes", default: 0] > 1_000_000)
        #expect(values["kinglet_process_threads", default: 0] >= 1)
        #expect(values["kinglet_process_open_descriptors", default: 0] >= 1)
        #expect(values["kinglet_process_start_time_seconds", default: 0] > 1_500_000_000)
    }
}

extension ProcessMetricsTests {
    @Test("Open descriptors are counted one by one, by either way: a thousand more are that")
    func descriptors() {
        func open() -> Double? {
            let registry = Registry()
            ProcessMetrics.register(in: registry)
            let line = registry.samples.first { $0.hasPrefix("kinglet_process_open_descriptors ") }
            return line.flatMap { Double($0.dropFirst("kinglet_process_open_descriptors ".count)) }
        }
        // Other tests open and close theirs at the same time.
        let files = (0..<1000).map { _ in Glibc.open("/dev/null", O_RDONLY | O_CLOEXEC) }
        let most = open() ?? 0
        let polledMost = ProcessMetrics.polledDescriptors() ?? 0
        for file in files { close(file) }
        let least = open() ?? 0
        #expect(most >= 1000 && (900...1100).contains(most - least))
        #expect(abs(Double(polledMost) - most) < 100)
    }
}

extension String {
    fileprivate func repeated(_ count: Int) -> String { String(repeating: self, count: count) }
}

/// Files in a directory of their own, gone with the value.
private final class Tree {
    let path: String
    /// What to remove, in this order from the end.
    private var made: [String]

    struct Failure: Error {
        let path: String
    }

    init(_ files: [String: String]) throws {
        var template = Array("/tmp/kinglet-proc-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure(path: "/tmp") }
        path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        made = [path]
        try directory("self")
        if files.keys.contains(where: { $0.hasPrefix("self/fd/") }) { try directory("self/fd") }
        for (name, text) in files {
            guard let file = fopen("\(path)/\(name)", "w") else { throw Failure(path: name) }
            fputs(text, file)
            fclose(file)
            made.append("\(path)/\(name)")
        }
    }

    private func directory(_ name: String) throws {
        guard mkdir("\(path)/\(name)", 0o700) == 0 else { throw Failure(path: name) }
        made.append("\(path)/\(name)")
    }

    deinit {
        for path in made.reversed() { remove(path) }
    }
}
