// A NUT server that does what a test tells it, on a loopback port of its own.

import Glibc
import Synchronization

@testable import Hardware

/// Takes connections until it is gone; each gets the script from its beginning.
final class ScriptedNUTServer: Sendable {
    /// What happens when a line has come in.
    enum Step: Sendable {
        /// Expects this line and sends this text.
        case answer(String, String)
        /// Sends this text without being asked.
        case send(String)
        /// Sends this text for ever.
        case flood(String)
        /// Neither sends nor closes until the client does.
        case stall
        /// Ends the connection.
        case close
    }

    let port: UInt16
    private let listener: Int32
    private let received = Lines()

    private final class Lines: Sendable {
        let all = Mutex<[String]>([])
        func append(_ line: String) { all.withLock { $0.append(line) } }
    }

    /// The lines that came in, in order.
    var lines: [String] { received.all.withLock { $0 } }
    var address: String { "127.0.0.1:\(port)" }

    init(_ script: [Step]) throws {
        (listener, port) = try Self.listen()
        try ReadingThread.start { [listener, received] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0 else { break }
                Self.play(script, on: connection, received)
                close(connection)
            }
            close(listener)
        }
    }

    /// Wakes the thread out of `accept`, whose end closes the socket.
    deinit { shutdown(listener, Int32(SHUT_RDWR)) }

    /// A port on which nobody listens.
    static func unusedPort() throws -> UInt16 {
        let (socket, port) = try listen()
        close(socket)
        return port
    }

    private static func listen() throws -> (socket: Int32, port: UInt16) {
        let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout.size(ofValue: address))
        let code = withUnsafeMutablePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(socket, address, length) == 0 && Glibc.listen(socket, 8) == 0
                    && getsockname(socket, address, &length) == 0
            }
        }
        guard code else { throw ReadingError(systemError: errno, subject: "test server") }
        return (socket, UInt16(bigEndian: address.sin_port))
    }

    private static func play(
        _ script: [Step], on connection: Int32, _ received: Lines
    ) {
        for step in script {
            switch step {
            case .answer(let expected, let text):
                guard let line = readLine(connection) else { return }
                received.append(line)
                guard line == expected else { return }
                guard send(text, connection) else { return }
            case .send(let text):
                guard send(text, connection) else { return }
            case .flood(let text):
                while send(text, connection) {}
                return
            case .stall:
                while readLine(connection) != nil {}
                return
            case .close:
                return
            }
        }
        if let line = readLine(connection) { received.append(line) }
    }

    private static func send(_ text: String, _ connection: Int32) -> Bool {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    private static func readLine(_ connection: Int32) -> String? {
        var line: [UInt8] = []
        var byte: UInt8 = 0
        while read(connection, &byte, 1) == 1 {
            if byte == 0x0A { return String(decoding: line, as: UTF8.self) }
            line.append(byte)
        }
        return nil
    }
}
