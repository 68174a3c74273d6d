// A listening TCP socket as a descriptor: several event loops take connections from one.

internal import Glibc
internal import NIOCore

/// A bound socket that listens. Its owner closes it, or gives it to a channel.
struct ListeningSocket {
    private static let backlog: Int32 = 1024

    let descriptor: Int32

    /// - Parameter address: an IP address or a name of one; `::` takes IPv4 too.
    /// - Throws: `IOError`, or what `SocketAddress` finds wrong.
    init(_ address: String, port: Int) throws {
        let address = try SocketAddress.makeAddressResolvingHost(address, port: port)
        let isIPv6 = address.protocol == .inet6
        descriptor = socket(
            isIPv6 ? AF_INET6 : AF_INET,
            Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw Self.failure("socket") }
        do {
            try set(SOL_SOCKET, SO_REUSEADDR, 1)
            if isIPv6 { try set(Int32(IPPROTO_IPV6), IPV6_V6ONLY, 0) }
            let result = address.withSockAddr { pointer, size in
                bind(descriptor, pointer, socklen_t(size))
            }
            guard result == 0 else { throw Self.failure("bind") }
            guard listen(descriptor, Self.backlog) == 0 else { throw Self.failure("listen") }
        } catch {
            close()
            throw error
        }
    }

    /// Another descriptor of the same socket.
    func duplicate() throws -> Int32 {
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0 else { throw Self.failure("dup") }
        return copy
    }

    func close() { _ = Glibc.close(descriptor) }

    private func set(_ level: Int32, _ option: Int32, _ value: Int32) throws {
        var value = value
        let size = socklen_t(MemoryLayout<Int32>.size)
        guard setsockopt(descriptor, level, option, &value, size) == 0 else {
            throw Self.failure("setsockopt")
        }
    }

    private static func failure(_ call: String) -> IOError {
        IOError(errnoCode: errno, reason: call)
    }
}
