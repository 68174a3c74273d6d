// Domainparts that are IPv6 addresses (RFC 7622 section 3.2, RFC 3986 section 3.2.2).

import Glibc

/// An IPv6 address between brackets.
enum IPv6Literal {
    /// The literal in the one form of RFC 5952, so that equal addresses are equal texts.
    ///
    /// A zone identifier is refused: it names a network interface of one machine, so it can be
    /// part of no address that others see.
    static func canonical(_ bytes: UnsafeBufferPointer<UInt8>) throws(Refusal) -> String {
        guard bytes.first == UInt8(ascii: "["), bytes.last == UInt8(ascii: "]"),
            bytes.count <= Int(INET6_ADDRSTRLEN) + 2,
            // inet_pton reads up to a zero byte.
            !bytes.contains(0)
        else { throw Refusal(.badAddressLiteral) }
        let text = String(decoding: bytes.dropFirst().dropLast(), as: UTF8.self)
        var address = in6_addr()
        guard inet_pton(AF_INET6, text, &address) == 1 else { throw Refusal(.badAddressLiteral) }
        let canonical = withUnsafeTemporaryAllocation(
            of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)
        ) { buffer -> String? in
            inet_ntop(AF_INET6, &address, buffer.baseAddress, socklen_t(buffer.count))
                .flatMap { String(validatingCString: $0) }
        }
        guard let canonical else { throw Refusal(.unavailable) }
        return "[\(canonical)]"
    }
}
