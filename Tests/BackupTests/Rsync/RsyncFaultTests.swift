import Foundation
import Glibc
import Programs
import Testing

@testable import Backup

@Suite("Faults on the way to another machine", .serialized)
struct RsyncFaultTests {
    /// Our own rsync that sends to a site, and nobody else's.
    private static func rsyncs(at port: Int) -> [pid_t] {
        let own = String(getpid())
        let names = (try? Files.names(in: "/proc")) ?? []
        return names.compactMap { pid_t(String(decoding: $0, as: UTF8.self)) }.filter { process in
            func content(_ name: String) -> String {
                // The size of these files is not known beforehand.
                guard let handle = FileHandle(forReadingAtPath: "/proc/\(process)/\(name)") else {
                    return ""
                }
                return String(decoding: (try? handle.readToEnd()) ?? Data(), as: UTF8.self)
            }
            return content("status").contains("PPid:\t\(own)\n")
                && content("cmdline").contains("\(port)")
                && content("cmdline").contains("rsync")
        }
    }

    @Test(
        "A transfer that was killed is never published, and the next one shares what it brought",
        arguments: [RemoteSite.Kind.ssh, .restricted, .daemon])
    func killed(kind: RemoteSite.Kind) throws {
        let site = try RemoteSite(kind)
        // Slow enough to be hit in the large file.
        let installation = try Installation(bandwidth: 128 * 1024)
        let paths = try RsyncTargetTests.written(installation)
        let large = try #require(SnapshotPath("uploads/zz/large"))
        var random = SystemRandomNumberGenerator()
        try installation.write(
            large, (0..<262_144).flatMap { _ in withUnsafeBytes(of: random.next()) { Array($0) } })
        let target = try site.target()
        try target.open(installation.context, forWriting: true)
        _ = try target.snapshots(installation.context)
        let first = try installation.prepare(1, paths + [large])
        // The folders are sent in their order, so that the others are there when it is begun.
        let (port, there) = (site.port, "\(site.store)/\(first.manifest.id)/uploads/ab/plain")
        let killer = Thread {
            let deadline = ContinuousClock.now + .seconds(120)
            while !Files.exists(there), ContinuousClock.now < deadline { poll(nil, 0, 5) }
            poll(nil, 0, 500)
            for process in Self.rsyncs(at: port) { kill(process, SIGKILL) }
        }
        killer.start()
        let error = try failure { try installation.store(first, target) }
        #expect(error.code == .temporary, "\(error)")
        #expect(!Files.exists("\(site.store)/\(first.manifest.id)/manifest"))

        var quick = installation.context
        quick.bandwidth = nil
        let again = try site.target()
        // rrsync lets the next one in when the killed one has ended.
        try again.open(quick, forWriting: true)
        #expect(try again.snapshots(quick) == [])
        #expect(again.listed?.attempts == [first.manifest.id])
        let second = try installation.prepare(2, paths + [large])
        let report = try again.store(second, quick) { stored throws(BackupError) in
            let found = try stored.verify(second.list.entries)
            guard found.faultCount == 0 else {
                throw BackupError(.damaged, subject: "check", found.faults.joined())
            }
        }
        // The large one, and perhaps a list that the first had not sent.
        #expect((1...2).contains(report.files))
        var statuses = [stat(), stat()]
        for (index, id) in [first.manifest.id, second.manifest.id].enumerated() {
            lstat("\(site.store)/\(id)/uploads/ab/plain", &statuses[index])
        }
        #expect(statuses[0].st_ino == statuses[1].st_ino && statuses[0].st_ino != 0)
        #expect(try again.snapshots(quick) == [second.manifest.id])
        try again.cleanUp(quick)
        #expect(Files.exists("\(site.store)/\(first.manifest.id)") == (kind == .restricted))
    }

    @Test("A connection that breaks in the middle is a reason to try again")
    func cut() throws {
        let site = try RemoteSite(.daemon)
        let installation = try Installation()
        let path = try #require(SnapshotPath("uploads/large"))
        try installation.write(path, Array(repeating: 0x55, count: 4 << 20))
        let snapshot = try installation.prepare(1, [path])
        let proxy = try CuttingProxy(to: site.port)
        let place = RsyncPlace.daemon(
            user: "pi", host: "127.0.0.1", port: proxy.port, module: "backups", path: "")
        let target = try site.target(place: place)
        try target.open(installation.context, forWriting: true)
        proxy.limit = 1 << 20
        let error = try failure { try installation.store(snapshot, target) }
        #expect(error.code == .temporary, "\(error)")
        #expect(!Files.exists("\(site.store)/\(snapshot.manifest.id)/manifest"))
        proxy.limit = .max
        _ = try target.snapshots(installation.context)
        let next = try installation.prepare(2, [path])
        try installation.store(next, target)
        #expect(try target.snapshots(installation.context) == [next.manifest.id])
    }

    @Test(
        "Another host key, and a key that is refused, need a person; a host that is away does not")
    func access() throws {
        let site = try RemoteSite(.ssh)
        let installation = try Installation()
        let context = installation.context
        let access = try site.access()
        let known = try #require(try Files.read(access.knownHosts, limit: 65_536))
        let other = site.base + "/server/other"
        try RemoteSite.run("/usr/bin/ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", other])
        let blob = try #require(try Files.read(other + ".pub", limit: 4096)).split(separator: 0x20)
        let line =
            "[127.0.0.1]:\(site.port) ssh-ed25519 " + String(decoding: blob[1], as: UTF8.self)
        try Files.replace(access.knownHosts, Array((line + "\n").utf8), mode: 0o600)
        let changed = try failure { try site.target().open(context, forWriting: true) }
        #expect(changed.code == .permanent && changed.message.contains("host key"), "\(changed)")
        try Files.replace(access.knownHosts, known, mode: 0o600)

        try site.write("", "authorized_keys")
        let refused = try failure { try site.target().open(context, forWriting: true) }
        #expect(refused.code == .permanent && refused.message.contains("refuses our key"))
        #expect(try failure { try access.test() }.code == .permanent)

        site.stop()
        #expect(try failure { try site.target().open(context, forWriting: true) }.code == .absent)
        #expect(try failure { _ = try access.scanHostKeys() }.code == .absent)
    }

    @Test("A key and host keys are made once, private, and shown as ssh shows them")
    func keys() throws {
        let site = try RemoteSite(.ssh)
        let access = try site.access()
        #expect(access.isComplete)
        let key = try access.makeKey()
        #expect(try access.makeKey() == key && key.hasPrefix("ssh-ed25519 "))
        var status = stat()
        for path in [access.key, access.knownHosts] {
            #expect(stat(path, &status) == 0 && status.st_mode & 0o7777 == 0o600)
        }
        #expect(stat(access.folder, &status) == 0 && status.st_mode & 0o7777 == 0o700)
        let shown = try RemoteSite.run(
            "/usr/bin/ssh-keygen", ["-l", "-f", site.base + "/server/host_key.pub"])
        let scanned = try access.scanHostKeys()
        #expect(scanned.contains { shown.text.contains($0.fingerprint) })
        #expect(
            access.authorizedKeysLine(publicKey: key)
                == "restrict,command=\"rrsync -no-del -no-overwrite \(site.store)\" \(key)")
        #expect(throws: BackupError.self) {
            _ = try SSHAccess(target: "../x", place: site.place, secrets: site.secrets)
        }
        for path in ["/a;id", "/a$(id)", "/a\nb", "/../etc", "/a'b", "/a*"] {
            let place = RsyncPlace.ssh(user: "pi", host: "h", port: nil, path: path)
            #expect(throws: BackupError.self, "\(path)") { try place.check() }
        }
    }

    @Test("A daemon says no: module, password, read-only, too few rights to delete")
    func daemon() throws {
        let site = try RemoteSite(.daemon, moduleOptions: "refuse options = delete")
        let installation = try Installation()
        let context = installation.context
        let wrong = RsyncPlace.daemon(
            user: "pi", host: "127.0.0.1", port: site.port, module: "other", path: "")
        let module = try failure { try site.target(place: wrong).open(context, forWriting: true) }
        #expect(module.code == .permanent && module.message.contains("module"))

        let target = try site.target()
        try target.open(context, forWriting: true)
        #expect(!target.canRemove)

        try site.write("wrong", "password")
        let refused = try failure { try site.target().open(context, forWriting: true) }
        #expect(refused.code == .permanent && refused.message.contains("password"))
        #expect(!refused.description.contains("wrong"))
        chmod(site.base + "/server/password", 0o644)
        let open = try failure { _ = try site.target() }
        #expect(open.code == .permanent && open.advice.contains("chmod 600"))

        let readOnly = try RemoteSite(.daemon, moduleOptions: "read only = yes")
        let fresh = try Installation()
        let error = try failure { try readOnly.target().open(fresh.context, forWriting: true) }
        #expect(error.code == .permanent && error.message.contains("read-only"), "\(error)")
    }

    @Test("A full target is called full, and nothing is published", .enabled(if: getuid() == 0))
    func full() throws {
        let site = try RemoteSite(.daemon)
        let mount = try RemoteSite.run(
            "/bin/mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", site.store])
        try #require(mount.status == 0, "\(mount.text)")
        defer { umount2(site.store, Int32(MNT_DETACH)) }
        let installation = try Installation()
        let path = try #require(SnapshotPath("uploads/large"))
        try installation.write(path, Array(repeating: 0x55, count: 3 << 20))
        let target = try site.target()
        try target.open(installation.context, forWriting: true)
        let error = try failure {
            try installation.store(installation.prepare(1, [path]), target)
        }
        #expect(error.code == .full, "\(error)")
        #expect(try target.snapshots(installation.context) == [])
    }
}

/// Passes connections on and cuts each after some bytes towards the server. Unchecked: the limit is
/// behind the lock, and the rest does not change.
private final class CuttingProxy: @unchecked Sendable {
    let port: Int
    private let listener: Int32
    private let lock = NSLock()
    private var most = Int.max
    var limit: Int {
        get { lock.withLock { most } }
        set { lock.withLock { most = newValue } }
    }

    init(to target: Int) throws {
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        port = try RemoteSite.freePort()
        let bound = RemoteSite.withLoopback(port) { [listener] in
            bind(listener, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
        guard bound == 0, listen(listener, 16) == 0 else {
            throw Missing(description: "no port for the proxy")
        }
        Thread { [weak self, listener] in
            while case let client = accept(listener, nil, nil), client >= 0 {
                guard let self else { return }
                let most = self.limit
                Thread { Self.pass(client, target, most) }.start()
            }
        }.start()
    }

    deinit {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    private static func pass(_ client: Int32, _ target: Int, _ most: Int) {
        let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer {
            close(client)
            close(server)
        }
        let connected = RemoteSite.withLoopback(target) {
            connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
        guard connected == 0 else { return }
        var sent = 0
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while sent < most {
            var ends = [client, server].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            guard poll(&ends, 2, -1) > 0 else { return }
            for (index, end) in ends.enumerated() where end.revents != 0 {
                let count = read(end.fd, &buffer, buffer.count)
                guard count > 0 else { return }
                var offset = 0
                while offset < count {
                    let more = buffer[offset..<count].withUnsafeBytes {
                        send(
                            ends[1 - index].fd, $0.baseAddress, $0.count,
                            Int32(MSG_NOSIGNAL))
                    }
                    guard more > 0 else { return }
                    offset += more
                }
                if index == 0 { sent += count }
            }
        }
    }
}
