// What a program takes of the CPU while it runs.

internal import Glibc

/// CPU time of programs.
enum ProgramTime {
    /// Of a process and its living descendants, in seconds; 0 where the kernel does not tell.
    static func seconds(of process: pid_t, depth: Int = 3) -> Double {
        let nanoseconds = first(in: "/proc/\(process)/schedstat").flatMap { Double($0) } ?? 0
        var total = nanoseconds * 1e-9
        guard depth > 0, let children = text("/proc/\(process)/task/\(process)/children") else {
            return total
        }
        for child in children.split(separator: " ").prefix(8) {
            if let child = pid_t(child) { total += seconds(of: child, depth: depth - 1) }
        }
        return total
    }

    private static func first(in path: String) -> Substring? {
        text(path)?.split(separator: " ").first
    }

    private static func text(_ path: String) -> String? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 512)
        let count = read(file, &bytes, bytes.count)
        guard count > 0 else { return nil }
        return String(decoding: bytes[..<count].filter { $0 != 0x0A }, as: UTF8.self)
    }
}
