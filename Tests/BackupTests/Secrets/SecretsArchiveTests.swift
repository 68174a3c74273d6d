import Foundation
import Testing

@testable import Backup

@Suite("The archive of secrets")
struct SecretsArchiveTests {
    let folder: String
    let key = RecoveryKey.generate()
    var source: String { folder + "/secrets" }
    var file: String { folder + "/secrets.age" }
    let deep = String(repeating: "d", count: 95) + "/" + String(repeating: "e", count: 90)

    init() throws {
        folder = try Age.folder()
        try Files.makeFolder(folder + "/secrets/tls/" + deep)
        try Files.makeFolder(folder + "/secrets/empty")
        for (name, bytes) in contents { try Files.replace(source + "/" + name, bytes, mode: 0o640) }
    }

    private var contents: [(name: String, bytes: [UInt8])] {
        [
            ("backup.key", [1]), ("none", []), ("schlüssel", Age.noise(512)),
            ("tls/server.key", Age.noise(100_000)), ("tls/\(deep)/f", Age.noise(513)),
        ]
    }

    private func inode(_ path: String) -> ino_t {
        var status = stat()
        return lstat(path, &status) == 0 ? status.st_ino : 0
    }

    @Test("It unpacks to what it was made of, without what was left out")
    func roundTrip() throws {
        defer { try? Files.remove(folder) }
        let written = try SecretsArchive.write(
            folder: source, to: file, key: key, excluding: ["backup.key"])
        #expect(written.entries == 8)
        #expect(
            try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int
                == 0o600)
        let target = folder + "/new/secrets"
        #expect(try SecretsArchive.extract(file: file, into: target, key: key) == 8)
        for (name, bytes) in contents where name != "backup.key" {
            #expect(try Files.read(target + "/" + name, limit: 1 << 20) == bytes)
            let before = try FileManager.default.attributesOfItem(atPath: source + "/" + name)
            let after = try FileManager.default.attributesOfItem(atPath: target + "/" + name)
            #expect(after[.posixPermissions] as? Int == 0o600)
            let time = try #require(before[.modificationDate] as? Date)
            let restored = try #require(after[.modificationDate] as? Date)
            #expect(time.timeIntervalSince1970.rounded(.down) == restored.timeIntervalSince1970)
        }
        #expect(!Files.exists(target + "/backup.key"))
        #expect(Files.exists(target + "/empty"))
        let mode = try FileManager.default.attributesOfItem(atPath: target + "/tls")
        #expect(mode[.posixPermissions] as? Int == 0o700)
    }

    @Test("Its digest stays as long as names, modes, times and contents do")
    func digest() throws {
        defer { try? Files.remove(folder) }
        func digest() throws -> ContentHash {
            try SecretsArchive.digest(of: source, excluding: ["backup.key"])
        }
        var seen = [try digest()]
        let written = try SecretsArchive.write(
            folder: source, to: file, key: key, excluding: ["backup.key"])
        #expect(written.digest == seen[0])
        let first = try Files.read(file, limit: 1 << 20)
        _ = try SecretsArchive.write(
            folder: source, to: file, key: key, excluding: ["backup.key"])
        #expect(try Files.read(file, limit: 1 << 20) != first)
        // Not by what is left out.
        try Files.replace(source + "/backup.key", [2], mode: 0o600)
        #expect(try digest() == seen[0])

        func expectChange(_ what: String) throws {
            let now = try digest()
            #expect(!seen.contains(now), "\(what)")
            seen.append(now)
        }
        let none = source + "/none"
        #expect(chmod(none, 0o600) == 0)
        try expectChange("mode")
        #expect(
            utimes(none, [timeval(tv_sec: 5, tv_usec: 0), timeval(tv_sec: 5, tv_usec: 0)]) == 0)
        try expectChange("time")
        #expect(rename(none, source + "/nothing") == 0)
        try expectChange("name")
        #expect(rmdir(source + "/empty") == 0)
        try expectChange("folder")
    }

    @Test("age and tar unpack it by hand")
    func byHand() throws {
        defer { try? Files.remove(folder) }
        try key.store(file: folder + "/paper.key")
        _ = try SecretsArchive.write(
            folder: source, to: file, key: key, excluding: ["backup.key"])
        let archive = try Age.run("age", ["-d", "-i", folder + "/paper.key", file])
        let listed = try Age.run("tar", ["-t", "--quoting-style=literal"], input: archive)
        let names = String(decoding: listed, as: UTF8.self).split(separator: "\n").map(String.init)
        let long = "tls/" + String(repeating: "d", count: 95)
        #expect(
            names == [
                "empty/", "none", "schlüssel", "tls/", long + "/", "tls/\(deep)/",
                "tls/\(deep)/f", "tls/server.key",
            ])
        let target = folder + "/by-hand"
        try Files.makeFolder(target)
        _ = try Age.run("tar", ["-x", "-C", target], input: archive)
        #expect(try Files.read(target + "/tls/\(deep)/f", limit: 1 << 20) == Age.noise(513))
        // And what tar packs in this format unpacks here.
        let packed = try Age.run(
            "tar", ["-c", "--format=ustar", "-C", target, "tls", "none", "schlüssel"])
        try Files.replace(file, try Age.encrypt(packed, for: key), mode: 0o600)
        #expect(try SecretsArchive.extract(file: file, into: folder + "/again", key: key) == 7)
    }

    @Test("Links, pipes and sockets are not kept, and that is said")
    func others() throws {
        defer { try? Files.remove(folder) }
        #expect(symlink("/etc/passwd", source + "/link") == 0)
        #expect(symlink("/etc", source + "/tls/link") == 0)
        #expect(mkfifo(source + "/pipe", 0o600) == 0)
        let warnings = Warnings()
        let written = try SecretsArchive.write(
            folder: source, to: file, key: key, warn: { warnings.texts.append($0) })
        #expect(written.entries == 9)
        #expect(warnings.texts.count == 3)
        #expect(warnings.texts.contains { $0.contains("/secrets/tls/link is a link") })
        try Files.remove(source)
        #expect(symlink("/etc", source) == 0)
        #expect(throws: BackupError.self) { try SecretsArchive.digest(of: source) }
    }

    @Test("What is too much, too large or too deep is refused, and nothing half is left")
    func limits() throws {
        defer { try? Files.remove(folder) }
        var limits = SecretsArchive.Limits.standard
        limits.entries = 8
        #expect(throws: BackupError.self) {
            try SecretsArchive.write(folder: source, to: file, key: key, limits: limits)
        }
        limits = .standard
        limits.file = 99_999
        #expect(throws: BackupError.self) {
            try SecretsArchive.write(folder: source, to: file, key: key, limits: limits)
        }
        limits = .standard
        limits.total = 100_500
        #expect(throws: BackupError.self) {
            try SecretsArchive.write(folder: source, to: file, key: key, limits: limits)
        }
        #expect(!Files.exists(file) && !Files.exists(file + ".new"))
        _ = try SecretsArchive.write(folder: source, to: file, key: key)
        for limits in [limits, .init(entries: 8, file: 1 << 20, total: 1 << 20)] {
            #expect(throws: BackupError.self) {
                try SecretsArchive.extract(
                    file: file, into: folder + "/new", key: key, limits: limits)
            }
            #expect(try Files.names(in: folder + "/new").isEmpty)
        }
        try Files.makeFolder(source + "/" + String(repeating: "x", count: 100))
        try Files.replace(
            source + "/" + String(repeating: "x", count: 100) + "/x", [],
            mode: 0o600)
        #expect(throws: BackupError.self) { try SecretsArchive.digest(of: source) }
    }

    @Test("A wrong key or a damaged archive leaves nothing, and what is there stays")
    func failures() throws {
        defer { try? Files.remove(folder) }
        let target = folder + "/new"
        try Files.makeFolder(target)
        try Files.replace(target + "/own", [7], mode: 0o600)
        _ = try SecretsArchive.write(folder: source, to: file, key: key)
        #expect(throws: BackupError.self) {
            try SecretsArchive.extract(file: file, into: target, key: .generate())
        }
        let whole = try Files.read(file, limit: 1 << 20) ?? []
        for count in [0, 100, 500, 70_000, whole.count - 1] {
            try Files.replace(file, Array(whole.prefix(count)), mode: 0o600)
            #expect(throws: BackupError.self) {
                try SecretsArchive.extract(file: file, into: target, key: key)
            }
            #expect(try Files.names(in: target) == [Array("own".utf8)], "\(count)")
        }
        try Files.replace(file, whole, mode: 0o600)
        try Files.replace(target + "/schlüssel", [8], mode: 0o600)
        #expect(throws: BackupError.self) {
            try SecretsArchive.extract(file: file, into: target, key: key)
        }
        #expect(try Files.read(target + "/schlüssel", limit: 9) == [8])
        #expect(try Files.read(target + "/own", limit: 9) == [7])
        #expect(try Files.names(in: target).count == 2)
    }

    @Test("An archive cannot write through a link that is there")
    func linkInTheWay() throws {
        defer { try? Files.remove(folder) }
        _ = try SecretsArchive.write(folder: source, to: file, key: key)
        let outside = folder + "/outside"
        for name in ["tls", "none", "empty"] {
            let target = folder + "/target-" + name
            try Files.makeFolder(outside)
            try Files.makeFolder(target)
            #expect(symlink(outside, target + "/" + name) == 0)
            #expect(throws: BackupError.self) {
                try SecretsArchive.extract(file: file, into: target, key: key)
            }
            #expect(try Files.names(in: outside).isEmpty)
            #expect(try Files.names(in: target) == [Array(name.utf8)])
        }
    }
}

/// What was warned of.
private final class Warnings {
    var texts: [String] = []
}
