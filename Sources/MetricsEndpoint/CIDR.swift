// Addresses and networks of both IP versions as one kind of number.

import Glibc

/// An IP address. IPv4 addresses, also when they come mapped into IPv6 (RFC 4291 section 2.5.5.2),
/// are IPv4 addresses.
struct IPAddress: Sendable, Hashable {
    /// 128 bits; an IPv4 address in its mapped form.
    let bits: UInt128

    static let mappedPrefix: UInt128 = 0xFFFF << 32

    var isIPv4: Bool { bits >> 32 == 0xFFFF }

    /// What stands for every address of a machine: `0.0.0.0` and `::`.
    var isEvery: Bool { bits == 0 || bits == Self.mappedPrefix }

    /// 127.0.0.0/8 and ::1.
    var isLoopback: Bool { isIPv4 ? (bits >> 24) & 0xFF == 127 : bits == 1 }

    /// The numeric form, that of an IPv4 address without the mapping.
    var text: String {
        var buffer = [UInt8](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let written = withUnsafeBytes(of: bits.bigEndian) { bytes in
            buffer.withUnsafeMutableBytes { buffer in
                inet_ntop(
                    isIPv4 ? AF_INET : AF_INET6, bytes.baseAddress.map { $0 + (isIPv4 ? 12 : 0) },
                    buffer.baseAddress?.assumingMemoryBound(to: CChar.self),
                    socklen_t(buffer.count))
            }
        }
        return written == nil ? "" : String(decoding: buffer.prefix { $0 != 0 }, as: UTF8.self)
    }

    /// Reads the numeric form of either version, nothing else.
    init?(_ text: String) {
        // The C library would not see what comes after it.
        guard !text.utf8.contains(0) else { return nil }
        var four = in_addr()
        if inet_pton(AF_INET, text, &four) == 1 {
            self.init(four)
            return
        }
        var six = in6_addr()
        guard inet_pton(AF_INET6, text, &six) == 1 else { return nil }
        self.init(six)
    }

    /// Reads what the kernel says of a peer.
    init?(_ address: UnsafePointer<sockaddr>) {
        let raw = UnsafeRawPointer(address)
        switch Int32(address.pointee.sa_family) {
        case AF_INET: self.init(raw.loadUnaligned(as: sockaddr_in.self).sin_addr)
        case AF_INET6: self.init(raw.loadUnaligned(as: sockaddr_in6.self).sin6_addr)
        default: return nil
        }
    }

    /// The local end of a socket.
    init?(socket: Int32) {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let address = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(socket, $0, &length) == 0 ? IPAddress($0) : nil
            }
        }
        guard let address else { return nil }
        self = address
    }

    private init(_ address: in_addr) {
        bits = Self.mappedPrefix | UInt128(UInt32(bigEndian: address.s_addr))
    }

    private init(_ address: in6_addr) {
        bits = withUnsafeBytes(of: address) { $0.reduce(0) { $0 << 8 | UInt128($1) } }
    }
}

/// A network: an address and how many of its first bits count, such as `192.168.0.0/16` or
/// `fd00::/8` (RFC 4632, RFC 4291 section 2.3). An address alone is a network of one.
public struct CIDR: Sendable, Hashable, CustomStringConvertible {
    /// As it was written.
    public let description: String
    private let network: UInt128
    private let mask: UInt128
    /// How many of the 128 bits count.
    private let prefix: Int
    private let isIPv4: Bool

    /// Reads a network; nil when the text is not one. Bits past the prefix do not matter.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = parts.first.flatMap({ IPAddress(String($0)) }) else { return nil }
        let written = address.isIPv4 && !parts[0].contains(":") ? 32 : 128
        var length = written
        if parts.count == 2 {
            guard (1...3).contains(parts[1].utf8.count),
                parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                let given = Int(parts[1]), given <= written
            else { return nil }
            length = given
        }
        prefix = length + 128 - written
        description = text
        mask = prefix == 0 ? 0 : ~0 << UInt128(128 - prefix)
        network = address.bits & mask
        isIPv4 = address.isIPv4 && prefix >= 96
    }

    /// Whether it is wider than any private network (10.0.0.0/8 and fc00::/7 are the widest, RFC 1918
    /// and RFC 4193), so that strangers are in it.
    var isWide: Bool { prefix < (isIPv4 ? 96 + 8 : 7) }

    /// Whether an address is in the network. An IPv6 network holds no IPv4 address.
    func contains(_ address: IPAddress) -> Bool {
        address.isIPv4 == isIPv4 && address.bits & mask == network
    }
}
