// Addresses of a host by its name, in bounded time.
//
// THREADS: the C library's lookup cannot be told how long it may take, so it runs on a thread of
// its own, and who asked stops waiting. There is never more than one such thread: while an old
// lookup hangs, further ones fail.

import Glibc
import Synchronization

/// An address that a socket can be connected to.
struct SocketAddress: Sendable {
    var family: Int32
    /// A `sockaddr` of the family.
    var bytes: [UInt8]
}

/// Finds addresses.
final class NameLookup: Sendable {
    /// The most addresses of one host that are tried.
    private static let addressLimit = 4

    private final class Answer: Sendable {
        let arrived = StopSignal()
        let addresses = Mutex<[SocketAddress]>([])
    }

    private let isBusy = Atomic(false)

    /// The addresses of a host and its port; empty when it has none.
    func addresses(
        of host: NUTAddress, before deadline: ContinuousClock.Instant
    ) throws(ReadingError) -> [SocketAddress] {
        let numeric = Self.resolve(host, flags: AI_NUMERICHOST)
        guard numeric.isEmpty else { return numeric }
        guard !isBusy.exchange(true, ordering: .acquiringAndReleasing) else {
            throw Self.timeout(host)
        }
        let answer = Answer()
        do throws(ReadingError) {
            try ReadingThread.start { [self] in
                let found = Self.resolve(host, flags: 0)
                answer.addresses.withLock { $0 = found }
                isBusy.store(false, ordering: .releasing)
                answer.arrived.raise()
            }
        } catch {
            isBusy.store(false, ordering: .releasing)
            throw error
        }
        answer.arrived.wait(atMost: ContinuousClock.now.duration(to: deadline))
        guard answer.arrived.isRaised else { throw Self.timeout(host) }
        return answer.addresses.withLock { $0 }
    }

    private static func timeout(_ host: NUTAddress) -> ReadingError {
        ReadingError(
            .timeout, subject: host.host, message: "its name was not resolved in time",
            advice: "check the name server, or write an IP address")
    }

    private static func resolve(_ host: NUTAddress, flags: Int32) -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_flags = flags | AI_NUMERICSERV
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host.host, "\(host.port)", &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        var found: [SocketAddress] = []
        var next = list
        while let entry = next?.pointee, found.count < addressLimit {
            let bytes = UnsafeRawBufferPointer(
                start: entry.ai_addr, count: Int(entry.ai_addrlen))
            found.append(SocketAddress(family: entry.ai_family, bytes: Array(bytes)))
            next = entry.ai_next
        }
        return found
    }
}
