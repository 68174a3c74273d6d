// A service that hears pings, on the loopback interface.

import Foundation
import Synchronization

/// Takes connections until it is stopped or the tests end; each gets a thread, on which `answer`
/// runs.
final class PingServer: Sendable {
    let port: Int
    private let socket: Int32
    private let seen = Mutex<[String]>([])

    /// What has been requested, head and body, in the order of arrival.
    var requests: [String] { seen.withLock { $0 } }

    /// - Parameter answer: gives the status for the request of a number; nil to say nothing.
    init(_ answer: @escaping @Sendable (_ number: Int) -> String?) throws {
        signal(SIGPIPE, SIG_IGN)
        let socket = Foundation.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, length) == 0 && listen(socket, 16) == 0
                    && getsockname(socket, $0, &length) == 0
            }
        }
        guard isListening else { throw POSIXError(.EADDRINUSE) }
        self.socket = socket
        port = Int(UInt16(bigEndian: address.sin_port))
        // The thread keeps it, so that nobody else gets its descriptor's number meanwhile.
        Thread.detachNewThread { [self] in
            while true {
                let connection = accept(socket, nil, nil)
                guard connection >= 0 else { break }
                Thread.detachNewThread { [self] in
                    let request = Self.read(connection)
                    let number = seen.withLock { seen in
                        seen.append(request)
                        return seen.count
                    }
                    if let status = answer(number) {
                        Self.answer(status, to: connection)
                    } else {
                        var byte: UInt8 = 0
                        while recv(connection, &byte, 1, 0) > 0 {}
                    }
                    close(connection)
                }
            }
            close(socket)
        }
    }

    /// Takes no more connections.
    func stop() { shutdown(socket, Int32(SHUT_RDWR)) }

    private static func answer(_ status: String, to connection: Int32) {
        let bytes = Array("HTTP/1.1 \(status)\r\nContent-Length: 0\r\n\r\n".utf8)
        _ = send(connection, bytes, bytes.count, 0)
    }

    /// Head and body of a request.
    private static func read(_ connection: Int32) -> String {
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while true {
            let text = String(decoding: bytes, as: UTF8.self)
            if let end = text.range(of: "\r\n\r\n") {
                let length = text[..<end.lowerBound].lowercased()
                    .split(separator: "\r\n").first { $0.hasPrefix("content-length:") }
                    .flatMap { Int($0.dropFirst(15).trimmingCharacters(in: .whitespaces)) }
                if text[end.upperBound...].utf8.count >= length ?? 0 { return text }
            }
            let count = recv(connection, &piece, piece.count, 0)
            guard count > 0 else { return text }
            bytes += piece[..<count]
        }
    }
}
