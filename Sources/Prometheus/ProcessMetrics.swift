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
    ///
    /// By bytes: cut into characters and lines, these files would be most of what a scrape costs.
    static func number(in text: String, after start: String) -> Double? {
        var text = text
        return text.withUTF8 { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let end = rest.firstIndex(of: UInt8(ascii: "\n")) ?? rest.endIndex
                if rest[..<end].starts(with: start.utf8) {
                    return number(rest[..<end].dropFirst(start.utf8.count))
                }
                rest = rest[end...].dropFirst()
            }
            return nil
        }
    }

    /// The first word of a line as a number.
    private static func number(_ line: Slice<UnsafeBufferPointer<UInt8>>) -> Double? {
        func isSpace(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == 9 }
        let word = line.drop(while: isSpace).prefix { !isSpace($0) }
        if word.elementsEqual("unlimited".utf8) { return .infinity }
        return UInt64(String(decoding: word, as: UTF8.self)).map { Double($0) }
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

    /// How many descriptors are open. Linux says so since 6.2 as the directory's size; to list them
    /// would take milliseconds when there are ten thousand.
    private static func descriptors(_ path: String) -> Int? {
        // Other file systems mean something else by a directory's size.
        guard path.hasPrefix("/proc/") else { return entries(path) }
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return status.st_size > 0 ? Int(status.st_size) : polledDescriptors() ?? entries(path)
    }

    /// The same for an older kernel: one call says of each number whether it is open.
    static func polledDescriptors() -> Int? {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0,
            let slots = text("/proc/self/status").flatMap({ number(in: $0, after: "FDSize:") })
        else { return nil }
        // More than the limit at once is refused.
        let count = Int(min(slots, Double(limit.rlim_cur), 1_048_576))
        var polled = (0..<count).map { pollfd(fd: Int32($0), events: 0, revents: 0) }
        guard poll(&polled, nfds_t(count), 0) >= 0 else { return nil }
        return polled.count { $0.revents & Int16(POLLNVAL) == 0 }
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
        let bytes = Array(text.utf8)
        guard let end = bytes.lastIndex(of: UInt8(ascii: ")")) else { return nil }
        let fields = bytes[(end + 1)...].split(separator: UInt8(ascii: " "), maxSplits: 24)
        func field(_ number: Int) -> Double? {
            let index = number - 3
            guard fields.indices.contains(index) else { return nil }
            return UInt64(String(decoding: fields[index], as: UTF8.self)).map { Double($0) }
        }
        guard let user = field(14), let system = field(15), let threads = field(20),
            let start = field(22)
        else { return nil }
        cpuTicks = user + system
        self.threads = threads
        startTicks = start
    }
}
