// Every function that libcurl calls back.
//
// THREADS: libcurl calls these from inside curl_easy_perform or curl_multi_…, on the thread that made
// the call. They touch the `Receiver` of that transfer, or the `CurlMulti` of that call, which no other
// thread knows: one of `HTTPTransfer` belongs to the thread that performs it, one of `HTTPPool` to the
// pool's thread.

internal import CCurl
internal import DNS
internal import Glibc

/// What has come for one request.
final class Receiver {
    /// Bytes of all header lines at most.
    static let largestHead = 65_536

    private(set) var headers: [(name: String, value: String)] = []
    private(set) var body: [UInt8] = []
    /// More came than is wanted.
    private(set) var isTooLarge = false
    /// Nobody wants it any more.
    private(set) var isCancelled = false
    /// When the request began to be written to a connection.
    private(set) var sent: ContinuousClock.Instant?
    private let bodyLimit: Int
    private let forbidsPrivateAddresses: Bool
    private let isWanted: () -> Bool
    private var head = 0
    private var (allowedAddresses, forbiddenAddresses) = (0, 0)

    init(
        bodyLimit: Int, forbidsPrivateAddresses: Bool = false,
        isWanted: @escaping () -> Bool = { true }
    ) {
        self.bodyLimit = max(0, bodyLimit)
        self.forbidsPrivateAddresses = forbidsPrivateAddresses
        self.isWanted = isWanted
    }

    /// Whether there were addresses to connect to, and none that may be.
    var hasForbiddenAddressesOnly: Bool { forbiddenAddresses > 0 && allowedAddresses == 0 }

    /// Whether it goes on.
    fileprivate func take(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count <= bodyLimit - body.count else {
            isTooLarge = true
            return false
        }
        body += bytes
        return true
    }

    /// A line of the head, or of a head before it, such as a redirection's.
    fileprivate func takeLine(_ bytes: UnsafeRawBufferPointer) -> Bool {
        head += bytes.count
        guard head <= Self.largestHead else {
            isTooLarge = true
            return false
        }
        if bytes.starts(with: "HTTP/".utf8) {
            headers = []
            body = []
        } else if let colon = bytes.firstIndex(of: UInt8(ascii: ":")) {
            let isSpace = { (byte: UInt8) in byte == 0x20 || (0x09...0x0D).contains(byte) }
            var value = bytes[(colon + 1)...].drop(while: isSpace)
            while let last = value.last, isSpace(last) { value.removeLast() }
            headers.append(
                (
                    String(decoding: bytes[..<colon], as: UTF8.self),
                    String(decoding: value, as: UTF8.self)
                ))
        }
        return true
    }

    fileprivate func goesOn() -> Bool {
        if !isWanted() { isCancelled = true }
        return !isCancelled
    }

    /// Whether a connection to an address may be opened. A stranger's name may lead anywhere, and
    /// somewhere else a moment later: so it is asked of each address when it is about to be used.
    fileprivate func allows(_ address: UnsafeRawBufferPointer) -> Bool {
        guard forbidsPrivateAddresses else { return true }
        let isAllowed = Self.resolved(address)?.reach == .global
        if isAllowed { allowedAddresses += 1 } else { forbiddenAddresses += 1 }
        return isAllowed
    }

    /// The address in a `sockaddr_in` or `sockaddr_in6`; nil for another kind.
    private static func resolved(_ address: UnsafeRawBufferPointer) -> ResolvedAddress? {
        guard address.count >= 16 else { return nil }
        switch Int32(address.loadUnaligned(as: UInt16.self)) {
        case AF_INET: return ResolvedAddress(bytes: Array(address[4..<8]))
        case AF_INET6 where address.count >= 24:
            return ResolvedAddress(bytes: Array(address[8..<24]))
        default: return nil
        }
    }

    fileprivate func begins() { sent = .now }
}

/// C functions for libcurl; the last argument is the `Receiver`.
enum CurlCallbacks {
    typealias Write =
        @convention(c) (
            UnsafeMutablePointer<CChar>?, Int, Int, UnsafeMutableRawPointer?
        ) -> Int

    /// A piece of the body. Another number than that of its bytes ends the transfer.
    static let body: Write = { source, size, count, argument in
        receive(source, size, count, argument) { $0.take($1) }
    }

    /// A line of the head.
    static let header: Write = { source, size, count, argument in
        receive(source, size, count, argument) { $0.takeLine($1) }
    }

    /// Asked about once a second, and whenever something comes. Not zero ends the transfer.
    static let progress:
        @convention(c) (
            UnsafeMutableRawPointer?, curl_off_t, curl_off_t, curl_off_t, curl_off_t
        ) -> Int32 = { argument, _, _, _, _ in
            receiver(argument)?.goesOn() == true ? 0 : 1
        }

    /// A connection is about to be opened. No socket means that it must not; libcurl then tries the
    /// host's next address.
    static let openSocket:
        @convention(c) (
            UnsafeMutableRawPointer?, curlsocktype, UnsafeMutablePointer<curl_sockaddr>?
        ) -> curl_socket_t = { argument, _, address in
            guard let receiver = receiver(argument), let address else { return -1 }
            // What stands behind it is as long as it says, and longer than the type.
            let bytes = UnsafeRawBufferPointer(
                start: address.pointer(to: \.addr), count: Int(address.pointee.addrlen))
            guard receiver.allows(bytes) else { return -1 }
            // Programs that are started meanwhile do not get it; the flag has the value of O_CLOEXEC.
            return socket(
                address.pointee.family, address.pointee.socktype | O_CLOEXEC,
                address.pointee.protocol)
        }

    /// There is a connection, and the request is about to be written.
    static let beforeRequest:
        @convention(c) (
            UnsafeMutableRawPointer?, UnsafeMutablePointer<CChar>?, UnsafeMutablePointer<CChar>?,
            Int32, Int32
        ) -> Int32 = { argument, _, _, _, _ in
            receiver(argument)?.begins()
            return CURL_PREREQFUNC_OK
        }

    /// A socket of a pool is watched, in another way or no longer.
    static let watch:
        @convention(c) (
            UnsafeMutableRawPointer?, curl_socket_t, Int32, UnsafeMutableRawPointer?,
            UnsafeMutableRawPointer?
        ) -> Int32 = { _, socket, what, argument, _ in
            multi(argument)?.watch(socket, what)
            return 0
        }

    /// A pool wants to be called at a time; -1 for never.
    static let timer:
        @convention(c) (UnsafeMutableRawPointer?, Int, UnsafeMutableRawPointer?) -> Int32 = {
            _, milliseconds, argument in
            multi(argument)?.setTimer(milliseconds)
            return 0
        }

    private static func multi(_ argument: UnsafeMutableRawPointer?) -> CurlMulti? {
        argument.map { Unmanaged<CurlMulti>.fromOpaque($0).takeUnretainedValue() }
    }

    private static func receive(
        _ source: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int,
        _ argument: UnsafeMutableRawPointer?,
        _ take: (Receiver, UnsafeRawBufferPointer) -> Bool
    ) -> Int {
        let (length, overflows) = size.multipliedReportingOverflow(by: count)
        guard !overflows, let receiver = receiver(argument) else { return -1 }
        return take(receiver, UnsafeRawBufferPointer(start: source, count: length)) ? length : -1
    }

    private static func receiver(_ argument: UnsafeMutableRawPointer?) -> Receiver? {
        argument.map { Unmanaged<Receiver>.fromOpaque($0).takeUnretainedValue() }
    }
}
