// Where a scraper finds this server: a host and a port, as in a URL.

/// A host and, if it is given, a port (RFC 3986 section 3.2), with nothing in it that could mean
/// something else in a URL, a header or a document.
struct TargetAddress: Sendable, Hashable {
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    let host: String
    let port: Int?

    /// Reads what stands in a Host header (RFC 9110 section 7.2) or in the configuration.
    init?(_ text: String) {
        let bytes = Array(text.utf8)
        // The longest name, a colon and a port.
        guard bytes.count <= 253 + 6 else { return nil }
        let end: Int
        if bytes.first == UInt8(ascii: "[") {
            guard let close = bytes.firstIndex(of: UInt8(ascii: "]")) else { return nil }
            let inner = String(decoding: bytes[1..<close], as: UTF8.self)
            guard inner.contains(":"), IPAddress(inner) != nil else { return nil }
            end = close + 1
        } else {
            end = bytes.firstIndex(of: UInt8(ascii: ":")) ?? bytes.count
            guard (1...253).contains(end), bytes[..<end].allSatisfy(Self.isNameByte) else {
                return nil
            }
        }
        host = String(decoding: bytes[..<end], as: UTF8.self)
        guard end < bytes.count else {
            port = nil
            return
        }
        let digits = bytes[(end + 1)...]
        guard bytes[end] == UInt8(ascii: ":"), (1...5).contains(digits.count),
            digits.allSatisfy({ (0x30...0x39).contains($0) }),
            let number = Int(String(decoding: digits, as: UTF8.self)),
            (1...65_535).contains(number)
        else { return nil }
        port = number
    }

    /// An address of this machine.
    init(_ address: IPAddress, port: Int) {
        host = address.isIPv4 ? address.text : "[\(address.text)]"
        self.port = port
    }

    /// With a port, `fallback` where none is given.
    func text(port fallback: Int) -> String { "\(host):\(port ?? fallback)" }

    /// Letters, digits, hyphens and dots; underscores, which names of containers have.
    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
