// A domain name as it is in messages (RFC 1035, section 3.1).

/// A name. Letters differ by nothing but case (RFC 4343), so they are kept in lower case.
struct DNSName: Hashable, Sendable {
    /// Labels, each after its length, without the root's.
    private(set) var wire: [UInt8] = []

    /// Bytes of a whole name at most, the root's included.
    static let largest = 255

    init() {}

    /// A name as it is written, with or without a dot at its end: letters, digits, hyphens and
    /// underscores in labels of up to 63.
    init?(_ text: String) {
        let bytes = text.hasSuffix(".") ? text.utf8.dropLast() : text.utf8[...]
        guard bytes.count <= Self.largest else { return nil }
        for label in bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
            guard label.allSatisfy(Self.isPlain), append(Array(label)[...]) else { return nil }
        }
    }

    var isRoot: Bool { wire.isEmpty }

    /// The name in ASCII without a dot at its end; nil for the root and where a label holds anything
    /// but letters, digits, hyphens and underscores.
    var text: String? {
        guard !isRoot else { return nil }
        var result: [UInt8] = []
        var position = 0
        while position < wire.count {
            let label = wire[position + 1..<position + 1 + Int(wire[position])]
            guard label.allSatisfy(Self.isPlain) else { return nil }
            if !result.isEmpty { result.append(UInt8(ascii: ".")) }
            result += label
            position += 1 + label.count
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// Takes a label in; false when it is empty or too long, or the name would be.
    mutating func append(_ label: ArraySlice<UInt8>) -> Bool {
        guard (1...63).contains(label.count), wire.count + label.count + 2 <= Self.largest else {
            return false
        }
        wire.append(UInt8(label.count))
        wire += label.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
        return true
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "-"), UInt8(ascii: "_"): true
        default: false
        }
    }
}
