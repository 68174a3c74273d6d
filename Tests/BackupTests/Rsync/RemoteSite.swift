// A real sshd, or a real rsync daemon, on loopback, for the tests of rsync targets.

import Foundation
import Glibc
import Programs
import Synchronization
import Testing

@testable import Backup

/// What a test of these needs and this machine has not.
struct Missing: Error, CustomStringConvertible {
    let description: String
}

/// A server that runs beside the test, on a thread of its own. Not Foundation's `Process`: that may
/// wait for ever for the end of its child where others wait for theirs.
private final class Server: Sendable {
    private let isWanted = Atomic(true)
    private let isAtWork = Atomic(true)
    private let end = DispatchSemaphore(value: 0)

    var hasEnded: Bool { !isAtWork.load(ordering: .acquiring) }

    /// - Parameter log: gets what it writes.
    init(_ path: String, _ arguments: [String], log: String) {
        // Connections that outlive it keep the file open, not a pipe that would be waited for.
        var program = Program(
            "/bin/sh", ["-c", "exec \"$@\" >\"$0\" 2>&1", log, path] + arguments)
        program.grace = .seconds(5)
        let started = program
        Thread.detachNewThread { [self] in
            _ = try? started.run(
                isWanted: { isWanted.load(ordering: .acquiring) }, output: { _ in })
            isAtWork.store(false, ordering: .releasing)
            end.signal()
        }
    }

    /// Ends it and waits for that.
    func stop() {
        isWanted.store(false, ordering: .releasing)
        end.wait()
        end.signal()
    }
}

/// A folder that is removed with its owner, and a server that serves `<base>/store`.
final class RemoteSite {
    enum Kind: String, CaseIterable, Sendable {
        case ssh, restricted, daemon, chrootedDaemon
    }

    let kind: Kind
    let base: String
    /// What is served.
    var store: String { base + "/store" }
    var secrets: String { base + "/secrets" }
    private(set) var port = 0
    private var server: Server?
    /// In the place of ssh: runs what would be run there, as sshd does, with what the key's line in
    /// authorized_keys says. Most rules do not depend on ssh, of which each connection takes long.
    private var shell: String?

    /// - Parameter isDirect: whether sshd is left out.
    init(_ kind: Kind, isDirect: Bool = false, moduleOptions: String = "") throws {
        self.kind = kind
        base = FileManager.default.temporaryDirectory.path + "/site-\(UUID().uuidString)"
        for folder in ["/store", "/secrets", "/server"] { try Files.makeFolder(base + folder) }
        if isDirect, [.ssh, .restricted].contains(kind) {
            try makeShell()
            return
        }
        for _ in 0..<5 where server == nil {
            port = try Self.freePort()
            switch kind {
            case .ssh, .restricted: try startSSH()
            case .daemon, .chrootedDaemon: try startDaemon(moduleOptions)
            }
        }
        guard server != nil else { throw Missing(description: "the server did not start: \(log)") }
    }

    deinit {
        stop()
        try? FileManager.default.removeItem(atPath: base)
    }

    /// Ends the server.
    func stop() {
        server?.stop()
        server = nil
    }

    var log: String {
        (try? String(contentsOfFile: base + "/server/log", encoding: .utf8)) ?? ""
    }

    var place: RsyncPlace {
        switch kind {
        case .ssh, .restricted:
            .ssh(user: NSUserName(), host: "127.0.0.1", port: port, path: store)
        case .daemon, .chrootedDaemon:
            .daemon(user: "pi", host: "127.0.0.1", port: port, module: "backups", path: "")
        }
    }

    func target(rsync: String? = nil, place: RsyncPlace? = nil) throws -> RsyncTarget {
        if let shell {
            return try RsyncTarget(name: "site", place: self.place, callersShell: [shell])
        }
        let isDaemon = kind == .daemon || kind == .chrootedDaemon
        return try RsyncTarget(
            name: "site", place: place ?? self.place, secrets: secrets,
            passwordFile: isDaemon ? base + "/server/password" : nil, rsync: rsync)
    }

    func access() throws -> SSHAccess {
        try SSHAccess(target: "site", place: place, secrets: secrets)
    }

    // MARK: Servers

    private func makeShell() throws {
        port = 22
        let line = try access().authorizedKeysLine(publicKey: "")
        let forced = try #require(line.split(separator: "\"").dropFirst().first)
        try write(
            """
            #!/bin/sh
            [ "$1" = -l ] && shift 2
            shift
            export SSH_ORIGINAL_COMMAND="$*"
            exec \(kind == .restricted ? String(forced) : #"sh -c "$*""#)

            """, "shell")
        shell = base + "/server/shell"
        chmod(base + "/server/shell", 0o700)
    }

    private func startSSH() throws {
        let sshd = "/usr/sbin/sshd"
        guard Glibc.access(sshd, X_OK) == 0 else {
            throw Missing(description: "\(sshd) is missing: apt install openssh-server")
        }
        if getuid() == 0 { mkdir("/run/sshd", 0o755) }
        let hostKey = base + "/server/host_key"
        if !Files.exists(hostKey) {
            try Self.run("/usr/bin/ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", hostKey])
        }
        let publicKey = try access().makeKey()
        let line =
            kind == .restricted
            ? try access().authorizedKeysLine(publicKey: publicKey) : publicKey
        try write(line + "\n", "authorized_keys")
        try write(
            """
            Port \(port)
            ListenAddress 127.0.0.1
            HostKey \(hostKey)
            PidFile none
            StrictModes no
            UsePAM no
            PermitRootLogin yes
            PasswordAuthentication no
            KbdInteractiveAuthentication no
            AuthorizedKeysFile \(base)/server/authorized_keys
            """, "sshd_config")
        try start(sshd, ["-D", "-e", "-f", base + "/server/sshd_config"])
        if server != nil { try access().trust(access().scanHostKeys()) }
    }

    private func startDaemon(_ options: String) throws {
        guard Glibc.access("/usr/bin/rsync", X_OK) == 0 else {
            throw Missing(description: "rsync is missing: apt install rsync")
        }
        try write("pi:pa55word\n", "rsyncd.secrets")
        try write("pa55word\n", "password")
        try write(
            """
            address = 127.0.0.1
            port = \(port)
            use chroot = \(kind == .chrootedDaemon ? "yes" : "no")
            \(getuid() == 0 ? "uid = root\ngid = root" : "")
            [backups]
            path = \(store)
            read only = no
            auth users = pi
            secrets file = \(base)/server/rsyncd.secrets
            \(options)
            """, "rsyncd.conf")
        try start(
            "/usr/bin/rsync",
            ["--daemon", "--no-detach", "--config=\(base)/server/rsyncd.conf"])
    }

    func write(_ text: String, _ name: String) throws {
        try Files.replace(base + "/server/" + name, Array(text.utf8), mode: 0o600)
    }

    /// Starts a server and waits until it listens; without one when it ended.
    private func start(_ path: String, _ arguments: [String]) throws {
        let process = Server(path, arguments, log: base + "/server/log")
        let deadline = ContinuousClock.now + .seconds(120)
        while !process.hasEnded, ContinuousClock.now < deadline {
            if Self.connects(port) {
                server = process
                return
            }
            poll(nil, 0, 20)
        }
        process.stop()
    }

    static func withLoopback(_ port: Int, _ body: (UnsafePointer<sockaddr>) -> Int32)
        -> Int32
    {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1, body)
        }
    }

    static func connects(_ port: Int) -> Bool {
        let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        return withLoopback(port) { connect(socket, $0, size) } == 0
    }

    static func freePort() throws -> Int {
        let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        guard withLoopback(0, { bind(socket, $0, size) }) == 0 else {
            throw Missing(description: "no free port")
        }
        var address = sockaddr_in()
        _ = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(socket, $0, &size)
            }
        }
        return Int(in_port_t(bigEndian: address.sin_port))
    }

    /// Runs a program to its end; -1 when it was killed or took longer than two minutes.
    @discardableResult
    static func run(
        _ path: String, _ arguments: [String]
    ) throws -> (status: Int, text: String) {
        var program = Program(path, arguments)
        program.timeLimit = .seconds(120)
        program.grace = .seconds(1)
        var bytes: [UInt8] = []
        var errors: [UInt8] = []
        let end = try program.run(output: { bytes += $0 }, errors: { errors += $0 })
        let text = String(decoding: bytes + errors, as: UTF8.self)
        if case .exited(let status) = end { return (status, text) }
        return (-1, text)
    }
}
