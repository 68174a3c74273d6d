// What the kernel says of this process: processor time, memory, descriptors, threads.

import Glibc

/// The metrics of this process, read from procfs (proc(5)) at each scrape.
///
/// A source that is absent or unreadable gives no series.
public enum ProcessMetrics {
    private static let cpu = "kinglet_process_cpu_seconds_total"
    private static let resident = "kinglet_process_resident_memory_bytes"
    private static let anonymous = "kinglet_process_anonymous_memory_bytes"
    private static let open = "kinglet_process_open_descriptors"
    private static let maximum = "kinglet_process_max_descriptors"
    private static let started = "kinglet_process_start_time_seconds"
    private static let threads = "kinglet_process_threads"
    private static let written = "kinglet_process_disk_written_bytes_total"

    /// Registers them.
    /// - Parameter proc: where procfs is mounted.
    public static func register(in registry: Registry, proc: String = "/proc") {
        let families: [(String, MetricKind, String)] = [
            (cpu, .counter, "Processor time used, in user and kernel mode."),
            (resident, .gauge, "Memory in RAM, pages shared with other programs included."),
            (anonymous, .gauge, "Memory in RAM that no file backs: what the process needs."),
            (open, .gauge, "Open file descriptors."),
            (maximum, .gauge, "File descriptors that the process may open."),
            (started, .gauge, "When the process started, in seconds since 1970."),
            (threads, .gauge, "Threads."),
            (written, .counter, "Bytes that the process had the kernel write to disks."),
        ]
        registry.collect(families.map { FamilyDescription(name: $0, kind: $1, help: $2) }) {
            collect(proc, into: &$0)
        }
    }

    /// Memory in RAM that no file backs, in bytes; nil where procfs does not say.
    public static func anonymousMemory(proc: String = "/proc") -> Int? {
        // Resident and shared pages (proc(5)): cheaper for the kernel than `status`.
        let pages = text("\(proc)/self/statm")?.split(separator: " ").map { Int($0) } ?? []
        guard pages.count > 2, let resident = pages[1], let shared = pages[2] else { return nil }
        return (resident - shared) * sysconf(Int32(_SC_PAGESIZE))
    }

    private static func collect(_ proc: String, into sink: inout SampleSink) {
        let ticks = Double(max(1, sysconf(Int32(_SC_CLK_TCK))))
        if let stat = text("\(proc)/self/stat").flatMap(ProcessStat.init) {
            sink.add(cpu, value: stat.cpuTicks / ticks)
            sink.add(threads, value: stat.threads)
            // btime moves when the clock is set; on a machine without one it is right once the
            // time is.
            if let boot = text("\(proc)/stat").flatMap({ number(in: $0, after: "btime") }) {
                sink.add(started, value: boot + stat.startTicks / ticks)
            }
        }
        if let status = text("\(proc)/self/status") {
            if let kilobytes = number(in: status, after: "VmRSS:") {
                sink.add(resident, value: kilobytes * 1024)
            }
            if let kilobytes = number(in: status, after: "RssAnon:") {
                sink.add(anonymous, value: kilobytes * 1024)
            }
        }
        if let limits = text("\(proc)/self/limits"),
            let limit = number(in: limits, after: "Max open files")
        {
            sink.add(maximum, value: limit)
        }
        // The kernel counts a page when it becomes dirty, whatever becomes of it.
        if let io = text("\(proc)/self/io"), let bytes = number(in: io, after: "write_bytes:") {
            sink.add(written, value: bytes)
        }
        if let count = descriptors("\(proc)/self/fd") {
            sink.add(open, value: Double(count))
        }
    }

    /// The first number on the line that starts so; `unlimited` is infinite.
    static func number(in text: String, after start: String) -> Double? {
        for line in text.split(separator: "\n") where line.hasPrefix(start) {
            let words = line.dropFirst(start.count)
                .split { $0 == " " || $0 == "\t" }
            guard let word = words.first else { return nil }
            return word == "unlimited" ? .infinity : UInt64(word).map { Double($0) }
        }
        return nil
    }

    /// A file's text, at most 256 KiB of it (`/proc/stat` has a long line of interrupts).
    private static func text(_ path: String) -> String? {
        let limit = 256 * 1024
        let file = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        var length = 0
        while length < limit {
            if length == bytes.count {
                bytes += [UInt8](repeating: 0, count: bytes.count)
            }
            let got = bytes.withUnsafeMutableBytes { buffer in
                read(file, buffer.baseAddress.map { $0 + length }, buffer.count - length)
            }
            if got < 0 && errno == EINTR { continue }
            guard got >= 0 else { return nil }
            if got == 0 { break }
            length += got
        }
        return String(decoding: bytes[..<length], as: UTF8.self)
    }

    /// How many descriptors the directory shows. Linux says so since 6.2 as its size; before, all of
    /// them have to be listed, which takes milliseconds when there are ten thousand.
    private static func descriptors(_ path: String) -> Int? {
        var status = stat()
        // Other file systems mean something else by a directory's size.
        if path.hasPrefix("/proc/"), stat(path, &status) == 0, status.st_size > 0 {
            return Int(status.st_size)
        }
        return entries(path)
    }

    /// How many entries a directory has, the descriptor that reads it not counted.
    private static func entries(_ path: String) -> Int? {
        guard let directory = opendir(path) else { return nil }
        defer { closedir(directory) }
        let own = dirfd(directory)
        var count = 0
        while let entry = readdir(directory) {
            // No name is made a String: there may be many.
            let isCounted = withUnsafeBytes(of: entry.pointee.d_name) { name in
                let first = name.first ?? 0
                return first != UInt8(ascii: ".")
                    && name.prefix { $0 != 0 }.reduce(0) { $0 &* 10 &+ Int32($1) &- 48 } != own
            }
            if isCounted { count += 1 }
        }
        return count
    }
}

/// The fields of `/proc/self/stat` that are used, by their numbers in proc(5).
struct ProcessStat {
    /// Fields 14 and 15, utime and stime.
    let cpuTicks: Double
    /// Field 20.
    let threads: Double
    /// Field 22, after boot.
    let startTicks: Double

    init?(_ text: String) {
        // Field 2 is the program's name in parentheses; it may hold spaces and parentheses itself.
        guard let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        func field(_ number: Int) -> Double? {
            let index = number - 3
            return fields.indices.contains(index) ? UInt64(fields[index]).map { Double($0) } : nil
        }
        guard let user = field(14), let system = field(15), let threads = field(20),
            let start = field(22)
        else { return nil }
        cpuTicks = user + system
        self.threads = threads
        startTicks = start
    }
}
