// The endpoint's own listening socket. libmicrohttpd could open one, but would not say why it
// failed; a start with "address already in use" must.

import Glibc

/// Opens listening sockets.
enum ListeningSocket {
    /// Enough for a crowd that comes at once: what does not fit comes back a second later, and so
    /// would a scraper among it.
    private static let backlog: Int32 = 1024

    /// Listens on a numeric address and says the descriptor, and the address and port it got.
    /// - Parameter loopbackOnly: refuse an address that other machines can reach.
    static func open(
        address: String, port: Int, loopbackOnly: Bool
    ) throws(MetricsEndpointError) -> (descriptor: Int32, address: IPAddress?, port: Int) {
        let place = Self.place(address, port)
        let info = try resolve(address: address, port: port, loopbackOnly: loopbackOnly)
        defer { freeaddrinfo(info) }
        return try listen(on: info.pointee, place, port)
    }

    /// Says what `open` would refuse, without opening anything.
    static func check(
        address: String, port: Int, loopbackOnly: Bool
    ) throws(MetricsEndpointError) {
        freeaddrinfo(try resolve(address: address, port: port, loopbackOnly: loopbackOnly))
    }

    private static func place(_ address: String, _ port: Int) -> String {
        address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)"
    }

    /// What the system makes of the address; the caller frees it.
    private static func resolve(
        address: String, port: Int, loopbackOnly: Bool
    ) throws(MetricsEndpointError) -> UnsafeMutablePointer<addrinfo> {
        let place = Self.place(address, port)
        guard (0...65535).contains(port) else {
            throw MetricsEndpointError(
                .badAddress, subject: place, message: "\(port) is not a port",
                advice: "set metrics.port to a number from 0 to 65535")
        }
        // Not inet_pton, because link-local addresses carry a zone (RFC 4007 section 11).
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(address, String(port), &hints, &list) == 0, let list
        else {
            throw MetricsEndpointError(
                .badAddress, subject: place, message: "'\(address)' is not an IP address",
                advice: "set metrics.address to an address of this machine such as 127.0.0.1")
        }
        // Asked of what the system made of the text, which has more spellings than one.
        let isLoopback = list.pointee.ai_addr.flatMap { IPAddress($0) }?.isLoopback == true
        guard !loopbackOnly || isLoopback else {
            freeaddrinfo(list)
            throw MetricsEndpointError(
                .badAccess, subject: place,
                message: "metrics on \(place) would be open to everybody who reaches this machine",
                advice: "set metrics.token, metrics.user or a metrics.allow of your own networks, "
                    + "or listen on 127.0.0.1")
        }
        return list
    }

    private static func listen(
        on info: addrinfo, _ place: String, _ port: Int
    ) throws(MetricsEndpointError) -> (descriptor: Int32, address: IPAddress?, port: Int) {
        let descriptor = socket(
            info.ai_family,
            info.ai_socktype | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw failure(place, errno) }
        // A restart must not wait for the old connections to leave TIME_WAIT.
        set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
        if info.ai_family == AF_INET6 {
            // "::" means every address, those of IPv4 too, whatever the system's default is.
            set(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 0)
        }
        guard bind(descriptor, info.ai_addr, info.ai_addrlen) == 0,
            Glibc.listen(descriptor, backlog) == 0
        else {
            let code = errno
            close(descriptor)
            throw failure(place, code)
        }
        return (descriptor, IPAddress(socket: descriptor), boundPort(descriptor) ?? port)
    }

    private static func set(_ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32) {
        var value = value
        _ = setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    private static func boundPort(_ descriptor: Int32) -> Int? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(descriptor, $0, &length)
            }
        }
        // The port is at the same place for both versions.
        return result != 0
            ? nil
            : withUnsafeBytes(of: storage) {
                Int(UInt16(bigEndian: $0.loadUnaligned(as: sockaddr_in.self).sin_port))
            }
    }

    private static func failure(_ place: String, _ code: Int32) -> MetricsEndpointError {
        let (kind, reason, advice): (MetricsEndpointError.Code, String, String) =
            switch code {
            case EADDRINUSE:
                (
                    .portTaken, "address already in use",
                    "stop the other program or set metrics.port"
                )
            case EADDRNOTAVAIL:
                (
                    .cannotListen, "this machine has no such address",
                    "set metrics.address to an address of this machine such as 127.0.0.1"
                )
            case EACCES, EPERM:
                (.cannotListen, "permission denied", "set metrics.port to 1024 or above")
            case EMFILE, ENFILE, ENOMEM, ENOBUFS:
                (
                    .noResources, "no descriptors or memory left",
                    "raise LimitNOFILE of the service"
                )
            default:
                (
                    .cannotListen, "error \(code) of the system",
                    "check metrics.address and metrics.port"
                )
            }
        return MetricsEndpointError(
            kind, subject: place, message: "cannot listen on \(place): \(reason)", advice: advice)
    }
}
