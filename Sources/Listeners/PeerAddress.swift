// Where a connection comes from.

internal import Glibc
internal import NIOCore

/// A peer's address without its port, IPv4 written as such also when it came through IPv6.
struct PeerAddress {
    let text: String
    /// The address, or the /64 that an IPv6 address is in.
    let network: String
    let isLoopback: Bool

    init(_ address: SocketAddress?) {
        var text = address?.ipAddress ?? ""
        if text.hasPrefix("::ffff:"), text.contains(".") { text = String(text.dropFirst(7)) }
        self.text = text
        isLoopback = text == "::1" || text.hasPrefix("127.")
        var bytes = [UInt8](repeating: 0, count: 16)
        if !isLoopback, inet_pton(AF_INET6, text, &bytes) == 1 {
            network = bytes.prefix(8).map { String($0, radix: 16) }.joined(separator: ".") + "/64"
        } else {
            network = text
        }
    }
}
