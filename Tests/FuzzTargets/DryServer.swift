// The whole engine with all features, without sockets, driven from a thread that may wait.

import Addresses
import Dispatch
import Engine
import Features
import Glibc
import Logging
import NIOCore
import NIOEmbedded
import Options
import Prometheus
import SASL
import Storage
import Synchronization
import XML
import XMPP

/// A server on one event loop, over a database that goes with it.
final class DryServer: Sendable {
    static let domain = "capulet.example"

    /// Inputs may know the attacker's.
    static func password(of local: String) -> String { "the secret of \(local)" }

    let host: Host
    private let loop = NIOAsyncTestingEventLoop()
    private let registry: Registry
    private let directory: String

    init() throws {
        // In memory where there is such a place: databases are made by the thousand.
        let parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"
        var template = Array("\(parent)/kinglet-fuzz-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Violation("no directory") }
        directory = String(
            decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        var document = ConfigurationDocument.empty
        for setting in [
            "storage.durability=relaxed", "limits.login_delay=0s", "limits.stanza=64KiB",
            // The loop's clock stands still, so what was used up never comes back.
            "limits.stanza_rate=1000000", "limits.byte_rate=1GiB",
        ] {
            try document.override(setting)
        }
        let options = OptionSet(document)
        registry = Registry(cells: 2)
        let builder = HostBuilder(options: options, registry: registry)
        for feature in AllFeatures.list { builder.add(feature) }
        try options.finish()
        host = try Host(
            builder, domains: [Self.domain], databaseFile: "\(directory)/kinglet.db",
            loginSecret: Array(repeating: 7, count: 32), eventLoops: [loop],
            log: Logger(label: "fuzz") { _ in SwiftLogNoOpLogHandler() })
    }

    deinit {
        try? host.database.close()
        for suffix in ["", "-wal", "-shm"] { unlink("\(directory)/kinglet.db\(suffix)") }
        rmdir(directory)
    }

    func addAccount(_ local: String) throws {
        let jid = BareJID(preparedLocal: local, preparedDomain: Self.domain)
        let keys = try PasswordKeys(password: Self.password(of: local), iterations: 1)
        let result = wait { done in host.accounts.create(jid, keys, now: 0) { done($0) } }
        if case .failure(let error) = result { throw Violation("no account \(local): \(error)") }
    }

    /// Removes an account with everything that is kept for it.
    func removeAccount(_ local: String) throws {
        let jid = BareJID(preparedLocal: local, preparedDomain: Self.domain)
        let result = wait { done in host.removeAccount(jid) { done($0) } }
        if case .failure(let error) = result { throw Violation("\(local) remains: \(error)") }
        settle()
    }

    func endSessions(of local: String) {
        let jid = BareJID(preparedLocal: local, preparedDomain: Self.domain)
        wait { done in
            host.endSessions(of: jid, StreamError(.policyViolation)) { done(()) }
        }
        settle()
    }

    /// Runs a body on the loop, and what it left to be run.
    func onLoop<Value: Sendable>(_ body: @escaping @Sendable () -> Value) -> Value {
        wait { done in loop.execute { done(body()) } }
    }

    func connect(_ account: String) throws -> DryClient {
        guard host.admission.enter(address: "192.0.2.1", isLoopback: true) == nil,
            let engineLoop = host.loop(of: loop)
        else { throw Violation("a connection is refused") }
        let loop = loop
        return onLoop { [host] in
            DryClient(self, host, engineLoop, loop, account: account)
        }
    }

    /// Waits until what has come in has had all its consequences.
    func settle() {
        for _ in 0..<3 {
            wait { done in host.database.writer.submit({ _ in }, then: { _ in done(()) }) }
            onLoop {}
        }
    }

    /// The value of a gauge, over all its labels.
    func gauge(_ name: String) -> Double {
        String(decoding: registry.render(.text004), as: UTF8.self).split(separator: "\n")
            .filter { $0.hasPrefix(name + " ") || $0.hasPrefix(name + "{") }
            .compactMap { $0.split(separator: " ").last.flatMap { Double($0) } }
            .reduce(0, +)
    }

    private func wait<Value: Sendable>(
        _ body: (_ done: @escaping @Sendable (Value) -> Void) -> Void
    ) -> Value {
        let answer = Answer<Value>()
        body { answer.give($0) }
        return answer.take()
    }
}

/// A value that another thread gives.
private final class Answer<Value: Sendable>: Sendable {
    private let value = Mutex<Value?>(nil)
    private let arrival = DispatchSemaphore(value: 0)

    func give(_ value: Value) {
        self.value.withLock { $0 = value }
        arrival.signal()
    }

    func take() -> Value {
        while true {
            arrival.wait()
            if let value = value.withLock({ $0 }) { return value }
        }
    }
}
