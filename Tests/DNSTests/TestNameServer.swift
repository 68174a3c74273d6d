// A name server of the test's own, which answers as badly as it is told to.

import Foundation
import Glibc
import Synchronization

/// Answers by UDP on a free port of 127.0.0.1.
final class TestNameServer: Sendable {
    /// What is sent back for a query, each a datagram.
    typealias Answers = @Sendable (_ query: [UInt8]) -> [[UInt8]]

    let port: UInt16
    private let descriptor: Int32
    private let isStopped = Atomic(false)
    private let asked = Mutex<[(name: String, type: UInt16)]>([])
    private let marks = DispatchSemaphore(value: 0)
    private let answers: Answers

    /// The queries so far.
    var queries: [(name: String, type: UInt16)] { asked.withLock { $0 } }

    init(_ answers: @escaping Answers) throws {
        self.answers = answers
        descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        port = try Self.bind(descriptor)
        Thread.detachNewThread { self.serve() }
    }

    /// Ends it; a socket that is read by a thread stays open until that has seen it.
    func stop() {
        isStopped.store(true, ordering: .sequentiallyConsistent)
        Self.withAddress(port) { _ = sendto(descriptor, nil, 0, 0, $0, $1) }
    }

    /// Waits until everything that was sent before has been looked at.
    func catchUp() async {
        Self.withAddress(port) { _ = sendto(descriptor, [UInt8(0)], 1, 0, $0, $1) }
        await marks.signals()
    }

    private func serve() {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            var peer = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let count = withUnsafeMutableBytes(of: &peer) { peer in
                recvfrom(
                    descriptor, &buffer, buffer.count, 0,
                    peer.baseAddress?.assumingMemoryBound(to: sockaddr.self), &length)
            }
            if isStopped.load(ordering: .sequentiallyConsistent) { break }
            if count == 1 { marks.signal() }
            guard count > 1 else { continue }
            let query = Array(buffer[..<count])
            if let question = Message.question(of: query) {
                asked.withLock { $0.append((question.name, question.type)) }
            }
            for answer in answers(query) {
                _ = withUnsafeBytes(of: &peer) { peer in
                    sendto(
                        descriptor, answer, answer.count, 0,
                        peer.baseAddress?.assumingMemoryBound(to: sockaddr.self), length)
                }
            }
        }
        close(descriptor)
    }

    /// Binds a socket to a port that was free.
    private static func bind(_ descriptor: Int32) throws -> UInt16 {
        let result = withAddress(0) { Glibc.bind(descriptor, $0, $1) }
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let known = withUnsafeMutableBytes(of: &address) { address in
            getsockname(
                descriptor, address.baseAddress?.assumingMemoryBound(to: sockaddr.self), &length)
        }
        guard result == 0, known == 0 else { throw POSIXError(.EADDRNOTAVAIL) }
        return UInt16(bigEndian: address.sin_port)
    }

    /// A port on which nobody listened, neither for UDP nor for TCP, a moment ago.
    static func freePort() throws -> UInt16 {
        let sockets = [SOCK_DGRAM, SOCK_STREAM].map { socket(AF_INET, Int32($0.rawValue), 0) }
        defer { for socket in sockets { close(socket) } }
        for _ in 0..<100 {
            let port = try bind(sockets[0])
            if withAddress(port, { Glibc.bind(sockets[1], $0, $1) }) == 0 { return port }
        }
        throw POSIXError(.EADDRINUSE)
    }

    private static func withAddress<R>(
        _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R
    ) -> R {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}

extension DispatchSemaphore {
    /// Waits for so many signals, and blocks no task's thread meanwhile.
    func signals(_ count: Int = 1) async {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                for _ in 0..<count { self.wait() }
                continuation.resume()
            }
        }
    }
}

extension Duration {
    /// For a look-up that is answered: even a machine that is busy with other things does so before
    /// the query is repeated, after a quarter of it.
    static let ample = Duration.seconds(600)
}
