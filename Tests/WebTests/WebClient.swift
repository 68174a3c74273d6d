// A client of raw bytes over TLS: it can send what no HTTP library would.

import Glibc
import TLS

/// One connection to a server on this machine. It blocks; used by one thread at a time.
final class WebClient {
    struct Failure: Error {
        let operation: String
        let code: Int32
    }

    /// A whole answer.
    struct Answer: Sendable {
        var status: Int
        /// By lower-case name, in order.
        var headers: [(name: String, value: String)]
        var body: String

        func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
    }

    private let descriptor: Int32
    private let tls: TLSClient?
    private var received: [UInt8] = []
    private(set) var isAtEnd = false

    /// - Parameters:
    ///   - tls: false for bytes in clear.
    ///   - receiveBuffer: bytes that the system keeps for us; small, to be a slow reader.
    init(_ port: Int, tls usesTLS: Bool = true, receiveBuffer: Int32? = nil) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        tls =
            usesTLS
            ? try TLSClient(serverName: "example.org", applicationProtocols: ["h2", "http/1.1"])
            : nil
        guard descriptor >= 0 else { throw Failure(operation: "socket", code: errno) }
        // A server that never answers fails the test instead of hanging it.
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        if var receiveBuffer {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receiveBuffer, 4)
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw Failure(operation: "connect", code: errno) }
        guard let tls else { return }
        write(try tls.receive())
        while !tls.isReady {
            guard let bytes = try readBytes() else { throw Failure(operation: "hello", code: 0) }
            write(try tls.receive(bytes))
        }
    }

    deinit { close(descriptor) }

    /// Sends text; false when the server has closed the connection.
    @discardableResult
    func send(_ text: String) throws -> Bool { try send(Array(text.utf8)) }

    @discardableResult
    func send(_ bytes: [UInt8]) throws -> Bool {
        var isOpen = true
        for start in stride(from: 0, to: bytes.count, by: 16_000) where isOpen {
            let part = Array(bytes[start..<min(bytes.count, start + 16_000)])
            isOpen = write(try tls?.send(part) ?? part)
        }
        return isOpen
    }

    /// Says that nothing more comes.
    func endOutput() {
        if let tls { write(tls.close()) }
        shutdown(descriptor, Int32(SHUT_WR))
    }

    /// Everything until the server closes the connection.
    func readToEnd() throws -> String {
        while try readMore() {}
        defer { received = [] }
        return String(decoding: received, as: UTF8.self)
    }

    /// One answer; the rest of the connection stays usable.
    func answer(hasBody: Bool = true) throws -> Answer {
        while true {
            if let answer = takeAnswer(hasBody) { return answer }
            guard try readMore() else { throw Failure(operation: "end of answer", code: 0) }
        }
    }

    /// A request without a body, and its answer.
    func get(_ path: String, method: String = "GET", headers: String = "") throws -> Answer {
        try send("\(method) \(path) HTTP/1.1\r\nHost: example.org\r\n\(headers)\r\n")
        return try answer(hasBody: method != "HEAD")
    }

    /// Whether the server closes the connection without another byte.
    func isClosed() throws -> Bool { try readToEnd().isEmpty }

    private func readMore() throws -> Bool {
        guard !isAtEnd, let bytes = try readBytes() else {
            isAtEnd = true
            return false
        }
        guard let tls else {
            received += bytes
            return true
        }
        write(try tls.receive(bytes))
        received += tls.takeReceived()
        if tls.isClosedByPeer { isAtEnd = true }
        return true
    }

    private func readBytes() throws -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        if count == 0 || (count < 0 && (errno == ECONNRESET || errno == EPIPE)) { return nil }
        guard count > 0 else { throw Failure(operation: "recv", code: errno) }
        return Array(buffer[..<count])
    }

    @discardableResult
    private func write(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let result = bytes.withUnsafeBytes {
                Glibc.send(
                    descriptor, $0.baseAddress.map { $0 + sent }, bytes.count - sent,
                    Int32(MSG_NOSIGNAL))
            }
            guard result > 0 else { return false }
            sent += result
        }
        return true
    }

    private func takeAnswer(_ hasBody: Bool) -> Answer? {
        let end = Array("\r\n\r\n".utf8)
        guard let head = received.indices.first(where: { received[$0...].starts(with: end) })
        else { return nil }
        let lines = String(decoding: received[..<head], as: UTF8.self).split(separator: "\r\n")
        let status = (lines.first ?? "").split(separator: " ")
        guard status.count >= 2, let code = Int(status[1]) else { return nil }
        let headers = lines.dropFirst().map { line -> (name: String, value: String) in
            let colon = line.firstIndex(of: ":") ?? line.endIndex
            return (
                line[..<colon].lowercased(), String(line[colon...].dropFirst().drop { $0 == " " })
            )
        }
        var answer = Answer(status: code, headers: headers, body: "")
        let body = received[(head + end.count)...]
        let length = hasBody ? answer.header("content-length").flatMap { Int($0) } ?? 0 : 0
        guard body.count >= length else { return nil }
        answer.body = String(decoding: body.prefix(length), as: UTF8.self)
        received = Array(body.dropFirst(length))
        return answer
    }
}
