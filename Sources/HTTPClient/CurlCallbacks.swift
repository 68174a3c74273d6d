// Every function that libcurl calls back.
//
// THREADS: libcurl calls these from inside curl_easy_perform, on the thread that made the call. They
// touch the `Receiver` of that call, which no other thread knows.

internal import CCurl

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
    private let bodyLimit: Int
    private let isWanted: () -> Bool
    private var head = 0

    init(bodyLimit: Int, isWanted: @escaping () -> Bool) {
        self.bodyLimit = bodyLimit
        self.isWanted = isWanted
    }

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
        let line = String(decoding: bytes, as: UTF8.self)
        if line.hasPrefix("HTTP/") {
            headers = []
            body = []
        } else if let colon = line.firstIndex(of: ":") {
            let value = line[line.index(after: colon)...]
                .drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed()
            headers.append((String(line[..<colon]), String(value)))
        }
        return true
    }

    fileprivate func goesOn() -> Bool {
        if !isWanted() { isCancelled = true }
        return !isCancelled
    }
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
