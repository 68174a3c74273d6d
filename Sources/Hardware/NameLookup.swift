// Addresses of a host by its name. The C library's lookup cannot be told how long it may take: the
// reading that asks hangs with it, fails when its time is over, and holds up no other.

import Glibc

/// An address that a socket can be connected to.
struct SocketAddress: Sendable {
    var family: Int32
    /// A `sockaddr` of the family.
    var bytes: [UInt8]
}

/// Finds addresses.
enum NameLookup {
    /// The most addresses of one host that are tried.
    private static let addressLimit = 4

    /// The addresses of a host and its port; empty when it has none.
    static func addresses(of host: NUTAddress) -> [SocketAddress] {
        let numeric = resolve(host, flags: AI_NUMERICHOST)
        return numeric.isEmpty ? resolve(host, flags: 0) : numeric
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
