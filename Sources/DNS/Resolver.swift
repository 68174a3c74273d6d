// Look-ups in the domain name system.

internal import Glibc

/// Asks name servers, by c-ares, and keeps their answers for the lifetime that they have.
///
/// Any task may ask; those who ask for the same wait for the same query. A thread of the resolver's
/// own, which sleeps while there is nothing to do, owns the channel of c-ares; nobody else touches
/// it. What a name server says is not trusted: it comes without proof (no DNSSEC).
public final class Resolver: Sendable {
    private let table: AnswerTable
    private let thread: LookupThread

    /// - Parameters:
    ///   - servers: `address`, `address:port` or `[address]:port`; those of `/etc/resolv.conf` when
    ///     empty, and when that file changes, the new ones.
    ///   - timeout: for a look-up, with all its repetitions, once its turn has come.
    ///   - queryLimit: look-ups that are under way at most; further ones wait for their turn.
    ///   - cacheLimit: answers that are kept at most.
    public convenience init(
        servers: [String] = [], timeout: Duration = .seconds(5), queryLimit: Int = 256,
        cacheLimit: Int = 4_000
    ) throws(DNSError) {
        var settings = ChannelSettings(timeout: timeout)
        if !servers.isEmpty {
            var texts: [String] = []
            for server in servers {
                guard let text = Self.server(server) else { throw DNSError(.invalidName, server) }
                texts.append(text)
            }
            settings.servers = texts.joined(separator: ",")
        }
        self.init(settings, queryLimit: queryLimit, cacheLimit: cacheLimit) { .now }
    }

    init(
        _ settings: ChannelSettings, queryLimit: Int = 256, cacheLimit: Int = 4_000,
        now: @escaping @Sendable () -> ContinuousClock.Instant
    ) {
        var settings = settings
        settings.timeout = min(max(settings.timeout, .milliseconds(10)), .seconds(3600))
        table = AnswerTable(limit: cacheLimit, now: now)
        thread = LookupThread(settings, limit: queryLimit, table: table)
    }

    deinit { stop() }

    /// The SRV records of a service, such as `_xmpp-server._tcp.example.org`.
    ///
    /// - Parameter name: in ASCII; its labels hold letters, digits, hyphens and underscores.
    public func services(_ name: String) async throws(DNSError) -> ServiceAnswer {
        guard let plain = DNSName(name)?.text else { throw DNSError(.invalidName, name) }
        guard case .services(let answer) = try await find(.services(plain)) else {
            throw DNSError(.malformed, name)
        }
        return answer
    }

    /// The addresses of a host, IPv6 before IPv4: from the hosts file if it is named there, else from
    /// its A and AAAA records. At least one; an address is its own.
    ///
    /// - Parameter host: in ASCII, or an IPv4 or IPv6 address.
    public func addresses(of host: String) async throws(DNSError) -> [ResolvedAddress] {
        if let address = ResolvedAddress(host) { return [address] }
        guard let plain = DNSName(host)?.text else { throw DNSError(.invalidName, host) }
        guard case .addresses(let addresses) = try await find(.addresses(plain)) else {
            throw DNSError(.malformed, host)
        }
        return addresses
    }

    /// Ends what is under way; every later look-up is cancelled.
    public func stop() {
        thread.stop()
        table.stop()
    }

    private func find(_ question: Question) async throws(DNSError) -> Answer.Found {
        if let known = table.known(question) { return try known.get() }
        let number = table.newWaiter()
        let outcome = await withTaskCancellationHandler {
            await withCheckedContinuation { (waiter: AnswerTable.Waiter) in
                let step = table.wait(waiter, number, for: question) { Task.isCancelled }
                if step == .ask { thread.ask(question) }
            }
        } onCancel: {
            table.cancel(number, for: question)
        }
        return try outcome.get()
    }

    /// A server as c-ares takes it; nil when it is none.
    private static func server(_ text: String) -> String? {
        if let address = ResolvedAddress(text) {
            return address.isIPv6 ? "[\(address.text)]" : address.text
        }
        guard let colon = text.lastIndex(of: ":"),
            let address = ResolvedAddress(String(text[..<colon])),
            !address.isIPv6 || text.hasPrefix("["),
            let port = UInt16(text[text.index(after: colon)...]), port > 0
        else { return nil }
        return address.isIPv6 ? "[\(address.text)]:\(port)" : "\(address.text):\(port)"
    }
}
