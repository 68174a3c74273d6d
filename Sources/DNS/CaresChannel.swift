// A channel of c-ares: its settings, its sockets and its queries under way.

internal import CAres
internal import Glibc

/// How queries are sent.
struct ChannelSettings: Sendable {
    /// `address:port`, joined by commas; nil for those that the system's configuration names.
    var servers: String?
    /// The system's configuration.
    var configuration = "/etc/resolv.conf"
    /// The port of servers that are named without one.
    var port: UInt16 = 53
    /// For a look-up, with all its repetitions.
    var timeout: Duration
}

/// A channel. One thread creates it, calls it, and lets it go.
final class CaresChannel {
    private let channel: ares_channel
    private let interest: SocketInterest

    /// nil when there is no memory or no randomness.
    init?(_ settings: ChannelSettings) {
        guard Self.isReady else { return nil }
        interest = SocketInterest()
        guard var channel = Self.open(settings, interest, passesErrors: false) else { return nil }
        // A second server is asked where the first one fails. Where there is none, its words count.
        if kinglet_ares_server_count(channel) < 2,
            let other = Self.open(settings, interest, passesErrors: true)
        {
            ares_destroy(channel)
            channel = other
        }
        self.channel = channel
    }

    deinit { ares_destroy(channel) }

    private static func open(
        _ settings: ChannelSettings, _ interest: SocketInterest, passesErrors: Bool
    ) -> ares_channel? {
        var channel: ares_channel?
        var path = settings.configuration.utf8CString.map { $0 }
        // Every server is asked three times, each time for twice as long: the look-up's own limit
        // is what ends it.
        let wait = max(50, Int32(clamping: settings.timeout.milliseconds / 4))
        let argument = Unmanaged.passUnretained(interest).toOpaque()
        let result = kinglet_ares_open(
            &channel, settings.servers, &path, settings.port, wait, passesErrors ? 1 : 0,
            CaresCallbacks.socket, argument)
        return result == 0 ? channel : nil
    }

    /// Sends a query. The reply may come before this returns; it comes once.
    func query(_ name: String, type: UInt16, _ take: @escaping (Reply) -> Void) {
        let pending = Unmanaged.passRetained(PendingReply(take)).toOpaque()
        ares_query(channel, name, 1, Int32(type), CaresCallbacks.reply, pending)
    }

    /// Gives up whatever is under way, and closes the sockets.
    func cancel() { ares_cancel(channel) }

    /// What the hosts file says about a name.
    func hosts(_ name: String) -> [ResolvedAddress] {
        var found: [ResolvedAddress] = []
        for (family, size) in [(AF_INET6, 16), (AF_INET, 4)] {
            let limit = 16
            var bytes = [UInt8](repeating: 0, count: limit * size)
            let count = kinglet_ares_hosts(channel, name, family, &bytes, Int32(limit))
            for index in 0..<max(0, min(limit, Int(count))) {
                let address = Array(bytes[index * size..<(index + 1) * size])
                if let address = ResolvedAddress(bytes: address) { found.append(address) }
            }
        }
        return found
    }

    /// Milliseconds until `process` is to be called at the latest; -1 for never.
    var wait: Int32 { kinglet_ares_wait(channel) }

    /// What is waited for.
    var polled: [pollfd] {
        interest.events.map { pollfd(fd: $0.key, events: $0.value, revents: 0) }
    }

    /// Reads and writes where that is possible, and repeats what was not answered in time.
    func process(_ polled: ArraySlice<pollfd>) {
        for entry in polled where entry.revents != 0 {
            let isWritable = entry.revents & Int16(POLLOUT) != 0
            let isReadable = entry.revents & ~Int16(POLLOUT) != 0
            ares_process_fd(channel, isReadable ? entry.fd : -1, isWritable ? entry.fd : -1)
        }
        ares_process_fd(channel, -1, -1)
    }

    /// Prepares c-ares, once.
    private static let isReady = ares_library_init(ARES_LIB_INIT_ALL) == 0
}

extension Duration {
    /// Rounded up.
    var milliseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflows) = seconds.multipliedReportingOverflow(by: 1000)
        guard !overflows, abs(product) < Int64.max / 2 else {
            return seconds < 0 ? Int64.min : Int64.max
        }
        return product + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
    }
}
