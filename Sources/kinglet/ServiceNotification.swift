// What the service manager is told: ready, reloading, stopping, and that the event loops turn
// (sd_notify(3)). Nothing happens where nobody listens.

internal import Dispatch
internal import Glibc
internal import Logging

/// The service manager's notification socket. Safe on any thread.
struct ServiceNotification: Sendable {
    private let descriptor: CInt
    private let address: sockaddr_un
    private let addressLength: socklen_t
    private let log: Logger
    /// How long the service manager waits for a sign of life; nil when it does not.
    private let watchdogMicroseconds: Int?

    /// Takes over what the environment says, so that no child inherits it: $NOTIFY_SOCKET,
    /// $WATCHDOG_USEC in microseconds, and $WATCHDOG_PID. Nil without a socket that can be used.
    /// Changes the environment: call it before there are threads that read it.
    init?(log: Logger) {
        let socketName = Self.take("NOTIFY_SOCKET")
        let microseconds = Self.take("WATCHDOG_USEC").flatMap { Int($0) } ?? 0
        let watchdogProcess = Self.take("WATCHDOG_PID")
        guard let socketName else { return nil }
        guard let (address, length) = Self.address(of: socketName) else {
            log.warning("the service manager cannot be told: $NOTIFY_SOCKET is no socket's name")
            return nil
        }
        descriptor = socket(
            AF_UNIX, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        self.address = address
        addressLength = length
        self.log = log
        let isOurs = watchdogProcess == nil || watchdogProcess == "\(getpid())"
        watchdogMicroseconds = isOurs && microseconds > 0 ? microseconds : nil
    }

    private static func take(_ name: String) -> String? {
        guard let value = getenv(name) else { return nil }
        defer { unsetenv(name) }
        return String(cString: value)
    }

    /// An absolute path, or `@name` for a name in the abstract namespace (unix(7)).
    private static func address(of name: String) -> (sockaddr_un, socklen_t)? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(name.utf8)
        guard let first = bytes.first, bytes.count > 1,
            bytes.count < MemoryLayout.size(ofValue: address.sun_path)
        else { return nil }
        switch first {
        case UInt8(ascii: "@"): bytes[0] = 0
        case UInt8(ascii: "/"): break
        default: return nil
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let header = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2
        return (address, socklen_t(header + bytes.count))
    }

    // MARK: States

    /// Everything listens.
    func ready(_ status: String) { send("READY=1\nSTATUS=\(status)") }

    /// The configuration is being read again, until `ready` is called.
    func reloading() {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1000
        send("RELOADING=1\nMONOTONIC_USEC=\(microseconds)")
    }

    /// The end was asked for.
    func stopping() { send("STOPPING=1\nSTATUS=Stopping") }

    private func send(_ state: String) {
        var address = address
        let bytes = Array(state.utf8)
        let sent = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(
                    descriptor, bytes, bytes.count, CInt(MSG_NOSIGNAL), $0, addressLength)
            }
        }
        guard sent != bytes.count else { return }
        log.warning("the service manager cannot be told", metadata: ["problem": "\(systemError())"])
    }

    // MARK: Watchdog

    /// Gives signs of life for as long as `isAlive` says so, on a thread of its own; it must not
    /// wait for the disk. Nil when the service manager asks for none. They end with the value.
    func startWatchdog(
        isAlive: @escaping @Sendable () -> Bool
    ) -> (any DispatchSourceTimer)? {
        guard let watchdogMicroseconds else { return nil }
        // Four looks per interval: a loop that is late at one of them has another chance. A
        // serial queue gets its thread also when the pool's threads are all busy.
        let timer = DispatchSource.makeTimerSource(queue: DispatchQueue(label: "watchdog"))
        timer.schedule(deadline: .now(), repeating: .microseconds(max(1, watchdogMicroseconds / 4)))
        timer.setEventHandler { if isAlive() { send("WATCHDOG=1") } }
        timer.resume()
        return timer
    }
}
