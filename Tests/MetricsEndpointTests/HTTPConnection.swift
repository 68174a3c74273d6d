// A client of raw bytes over a POSIX socket: it can send what no HTTP library would.

import Glibc

/// One TCP connection to a server on this machine.
final class HTTPConnection {
    struct Failure: Error {
        let operation: String
        let code: Int32
    }

    /// A whole answer.
    struct Answer {
        var status: Int
        /// By lower-case name, in order.
        var headers: [(name: String, value: String)]
        var body: String

        func header(_ name: String) -> String? { all(name).first }
        func all(_ name: String) -> [String] { headers.filter { $0.name == name }.map(\.value) }
    }

    private let descriptor: Int32

    /// Connects to a port on 127.0.0.1 or ::1.
    init(port: Int, ipv6: Bool = false) throws {
        descriptor = socket(ipv6 ? AF_INET6 : AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw Failure(operation: "socket", code: errno) }
        // A server that never answers fails the test instead of hanging it.
        var limit = timeval(tv_sec: 120, tv_usec: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var result: Int32
        if ipv6 {
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = UInt16(port).bigEndian
            address.sin6_addr = in6addr_loopback
            result = Self.connect(descriptor, &address)
        } else {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = UInt16(port).bigEndian
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            result = Self.connect(descriptor, &address)
        }
        guard result == 0 else { throw Failure(operation: "connect", code: errno) }
    }

    deinit { close(descriptor) }

    private static func connect<Address>(_ descriptor: Int32, _ address: inout Address) -> Int32 {
        withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<Address>.size))
            }
        }
    }

    /// Sends bytes; false when the server has closed the connection.
    @discardableResult
    func send(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
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

    /// Everything until the server closes the connection.
    func readToEnd() throws -> String {
        var bytes: [UInt8] = []
        while let more = try read() { bytes += more }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// One answer; the rest of the connection stays usable.
    func readAnswer(hasBody: Bool = true) throws -> Answer {
        var bytes: [UInt8] = []
        while true {
            if let answer = Self.parse(bytes, hasBody: hasBody) { return answer }
            guard let more = try read() else { throw Failure(operation: "end of answer", code: 0) }
            bytes += more
        }
    }

    private func read() throws -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 16384)
        let got = recv(descriptor, &buffer, buffer.count, 0)
        if got == 0 || (got < 0 && errno == ECONNRESET) { return nil }
        guard got > 0 else { throw Failure(operation: "recv", code: errno) }
        return Array(buffer[..<got])
    }

    /// The answer, once all of it is there.
    private static func parse(_ bytes: [UInt8], hasBody: Bool) -> Answer? {
        let end = Array("\r\n\r\n".utf8)
        guard let head = bytes.indices.first(where: { bytes[$0...].starts(with: end) }) else {
            return nil
        }
        let lines = String(decoding: bytes[..<head], as: UTF8.self).split(separator: "\r\n")
        let status = lines[0].split(separator: " ")
        guard status.count >= 2, let code = Int(status[1]) else { return nil }
        let headers = lines.dropFirst().map { line -> (name: String, value: String) in
            let colon = line.firstIndex(of: ":") ?? line.endIndex
            let value = line[colon...].dropFirst().drop { $0 == " " }
            return (line[..<colon].lowercased(), String(value))
        }
        var answer = Answer(status: code, headers: headers, body: "")
        let body = bytes[(head + end.count)...]
        let length = hasBody ? answer.header("content-length").flatMap { Int($0) } ?? 0 : 0
        guard body.count >= length else { return nil }
        answer.body = String(decoding: body.prefix(length), as: UTF8.self)
        return answer
    }
}
