// An address, and where on the network it is: a stranger's records may point anywhere, also at what
// only this machine or its owner's network should reach.

internal import Glibc

/// Where an address is.
public enum AddressReach: String, CaseIterable, Sendable {
    /// On the internet; networks for documentation count as such.
    case global
    /// In a private network, or behind a provider's address translation.
    case privateNetwork = "private"
    /// This machine.
    case loopback
    /// On the same cable.
    case linkLocal = "link_local"
    /// Nowhere in particular: unspecified, multicast, reserved.
    case other
}

/// An IPv4 or IPv6 address.
public struct ResolvedAddress: Sendable, Equatable, Hashable {
    /// 4 or 16, in network order.
    public let bytes: [UInt8]

    /// An address of 4 or 16 bytes.
    public init?(bytes: [UInt8]) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.bytes = bytes
    }

    /// An address as it is written, with or without the brackets of a URL; no zone.
    public init?(_ text: String) {
        let isBracketed = text.hasPrefix("[") && text.hasSuffix("]") && text.utf8.count > 2
        let inner = isBracketed ? String(text.dropFirst().dropLast()) : text
        guard inner.utf8.count <= 45, !inner.utf8.contains(0) else { return nil }
        var bytes = [UInt8](repeating: 0, count: 16)
        if !isBracketed, inet_pton(AF_INET, inner, &bytes) == 1 {
            self.bytes = Array(bytes.prefix(4))
        } else if inet_pton(AF_INET6, inner, &bytes) == 1 {
            self.bytes = bytes
        } else {
            return nil
        }
    }

    /// Whether it is an IPv6 address.
    public var isIPv6: Bool { bytes.count == 16 }

    /// As it is written (RFC 5952 for IPv6), without brackets.
    public var text: String {
        var buffer = [CChar](repeating: 0, count: 64)
        return bytes.withUnsafeBytes { bytes in
            inet_ntop(
                isIPv6 ? AF_INET6 : AF_INET, bytes.baseAddress, &buffer, socklen_t(buffer.count)
            ).map { String(cString: $0) } ?? ""
        }
    }

    /// Where it is. One that stands for an IPv4 address is where that is.
    public var reach: AddressReach { isIPv6 ? reach6 : Self.reach4(bytes[...]) }

    // MARK: Ranges (IANA's registries of special-purpose addresses)

    private static func reach4(_ bytes: ArraySlice<UInt8>) -> AddressReach {
        let value = bytes.prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        return ranges4.first { value >> (32 - $0.bits) == $0.prefix >> (32 - $0.bits) }?.reach
            ?? .global
    }

    private static let ranges4: [(prefix: UInt32, bits: UInt32, reach: AddressReach)] = [
        (0x0000_0000, 8, .other), (0x0A00_0000, 8, .privateNetwork),
        (0x6440_0000, 10, .privateNetwork), (0x7F00_0000, 8, .loopback),
        (0xA9FE_0000, 16, .linkLocal), (0xAC10_0000, 12, .privateNetwork),
        // Assignments of protocols, such as the inner side of DS-Lite.
        (0xC000_0000, 24, .other), (0xC0A8_0000, 16, .privateNetwork),
        // Measuring of devices.
        (0xC612_0000, 15, .privateNetwork),
        // Multicast, and what is reserved, with the broadcast address.
        (0xE000_0000, 4, .other), (0xF000_0000, 4, .other),
    ]

    private var reach6: AddressReach {
        let mapped: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]
        let translated: [UInt8] = [0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0]
        if bytes.starts(with: mapped) || bytes.starts(with: translated) {
            return Self.reach4(bytes[12...])
        }
        // 6to4 (RFC 3056).
        if bytes.starts(with: [0x20, 0x02]) { return Self.reach4(bytes[2...]) }
        if bytes.dropLast().allSatisfy({ $0 == 0 }), bytes[15] == 1 { return .loopback }
        // Translation of a local kind (RFC 8215).
        if bytes.starts(with: [0, 0x64, 0xFF, 0x9B, 0, 1]) { return .privateNetwork }
        switch (bytes[0], bytes[1]) {
        case (0xFE, 0x80...0xBF): return .linkLocal
        // Site-local, deprecated (RFC 3879), and unique local (RFC 4193).
        case (0xFE, 0xC0...), (0xFC...0xFD, _): return .privateNetwork
        // Teredo hides an IPv4 address that anybody may choose.
        case (0x20, 0x01) where bytes[2] == 0 && bytes[3] == 0: return .other
        case (0x20...0x3F, _): return .global
        default: return .other
        }
    }
}
