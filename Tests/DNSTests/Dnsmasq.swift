// Debian's small name server.

import Foundation
import Programs
import Synchronization

@testable import DNS

/// dnsmasq, on a free port of an address on loopback, with records of the test's.
final class Dnsmasq: Sendable {
    struct NotStarted: Error {
        let complaints: String
    }

    let port: UInt16
    private let isWanted = Atomic(true)
    private let ended = DispatchSemaphore(value: 0)

    /// - Parameter records: options that name them.
    init(_ records: [String]) throws {
        let path = Program.find("dnsmasq") ?? "/usr/sbin/dnsmasq"
        port = try TestNameServer.freePort()
        var program = Program(
            path,
            [
                "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                "--port=\(port)", "--listen-address=127.0.0.1", "--bind-interfaces",
                "--local=/test/", "--local-ttl=77",
            ] + records)
        program.grace = .seconds(1)
        // It ends with the test's process, however that ends.
        program.timeLimit = .seconds(300)
        let started = DispatchSemaphore(value: 0)
        let complaints = Mutex("")
        let run = program
        Thread.detachNewThread { [self] in
            _ = try? run.run(
                isWanted: { isWanted.load(ordering: .relaxed) }, output: { _ in },
                errors: { bytes in
                    let isStarted = complaints.withLock { text in
                        text += String(decoding: bytes, as: UTF8.self)
                        return text.contains("started, version")
                    }
                    if isStarted { started.signal() }
                })
            started.signal()
            ended.signal()
        }
        started.wait()
        let text = complaints.withLock { $0 }
        guard text.contains("started, version") else { throw NotStarted(complaints: text) }
    }

    /// Ends it, and waits for that.
    func stop() {
        isWanted.store(false, ordering: .relaxed)
        ended.wait()
    }
}
