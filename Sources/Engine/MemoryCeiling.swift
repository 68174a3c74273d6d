// A machine of 2 GB has more to do than chat: above a limit the server takes no new connections,
// before the kernel kills it with those it has.

internal import CMalloc
internal import Glibc
internal import Logging
internal import Options
internal import Prometheus
internal import Synchronization

/// Compares the memory in use with its limit once a second. Safe on any thread.
final class MemoryCeiling: Sendable {
    private let limit: Setting<Int>
    private let inUse: @Sendable () -> Int?
    private let over = Atomic<Bool>(false)

    /// - Parameter inUse: the program's anonymous memory in bytes, nil if it is not known.
    init(limit: Setting<Int>, registry: Registry, inUse: @escaping @Sendable () -> Int?) {
        self.limit = limit
        self.inUse = inUse
        registry.gauge(
            "kinglet_memory_limit_bytes",
            help: "Anonymous memory above which no new connection is taken.",
            read: { Double(Self.bytes(limit.value)) })
    }

    /// Whether new connections have to wait.
    var isReached: Bool { over.load(ordering: .relaxed) }

    func check(_ log: Logger) {
        let limit = Self.bytes(limit.value)
        guard let first = inUse() else { return }
        var bytes = first
        if bytes > limit {
            // What was freed may still be with the allocator.
            malloc_trim(0)
            bytes = inUse() ?? bytes
        }
        let isOver = bytes > limit
        guard over.exchange(isOver, ordering: .relaxed) != isOver else { return }
        if isOver {
            log.warning(
                "memory in use is above limits.memory: no new connections",
                metadata: ["bytes": "\(bytes)", "limit": "\(limit)"])
        } else {
            log.notice("memory in use is below limits.memory again")
        }
    }

    private static func bytes(_ limit: Int) -> Int {
        guard limit == 0 else { return limit }
        let pages = sysconf(Int32(_SC_PHYS_PAGES))
        return pages > 0 ? pages / 2 * sysconf(Int32(_SC_PAGESIZE)) : Int.max
    }
}
