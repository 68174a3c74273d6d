import Foundation
import TLS
import Testing

@testable import Backup

/// The SHA-256 digest of some bytes.
func contentHash(_ bytes: [UInt8]) -> ContentHash? {
    ContentHash(DigestAlgorithm.sha256.hash(bytes))
}

@Suite("Manifests as they are stored")
struct ManifestFileTests {
    static let key = RecoveryKey(secret: [UInt8](repeating: 7, count: 32))

    static func manifest() throws -> Manifest {
        let id = try #require(SnapshotID("20261121T030000Z-000017"))
        var manifest = Manifest(
            id: id, instance: String(repeating: "0a", count: 16), backup: "nightly",
            domains: ["example.test"], software: ["kinglet": "0.6"],
            previous: SnapshotID("20261120T030000Z-000016"))
        let digest = String(repeating: "ab", count: 32)
        manifest.databases = [
            .init(
                name: "kinglet.db",
                base: .init(path: "database/kinglet.db/base-1", sha256: digest, size: 4096),
                changes: [.init(path: "database/kinglet.db/000001-1.wal", sha256: digest, size: 1)],
                pageSize: 4096, pageCount: 1, rows: ["messages": 5], lastMessage: 5,
                isChecked: true)
        ]
        manifest.lists = [.init(sha256: digest, size: 100, entries: 3)]
        manifest.files = 3
        manifest.bytes = 4200
        manifest.extra = ["0": "/etc/nginx"]
        manifest.archive = .init(packs: [digest], lists: [.init(pack: 0, offset: 5)])
        return manifest
    }

    @Test("A manifest is two lines, and is read back")
    func roundTrip() throws {
        let manifest = try Self.manifest()
        let file = try ManifestFile.encode(manifest, key: Self.key)
        let lines = String(decoding: file, as: UTF8.self).split(separator: "\n")
        #expect(lines.count == 2)
        #expect(lines[0].hasPrefix("{") && lines[1].hasPrefix("hmac-sha256 "))
        #expect(try ManifestFile.decode(file, id: manifest.id, key: Self.key) == manifest)
    }

    @Test("One that was changed by hand, cut off, or moved to another name is damaged")
    func changed() throws {
        let manifest = try Self.manifest()
        let file = try ManifestFile.encode(manifest, key: Self.key)
        for index in file.indices {
            var other = file
            other[index] ^= 1
            #expect(throws: BackupError.self, "byte \(index)") {
                try ManifestFile.decode(other, id: manifest.id, key: Self.key)
            }
            #expect(throws: BackupError.self, "\(index) bytes") {
                try ManifestFile.decode(Array(file[..<index]), id: manifest.id, key: Self.key)
            }
        }
        let text = String(decoding: file, as: UTF8.self)
        let edited = text.replacingOccurrences(of: "example.test", with: "example.evil")
        let error = #expect(throws: BackupError.self) {
            try ManifestFile.decode(Array(edited.utf8), id: manifest.id, key: Self.key)
        }
        #expect(error?.code == .damaged)
        #expect(error?.message.contains("changed after it was written") == true)

        let id = try #require(SnapshotID("20261121T030000Z-000018"))
        #expect(throws: BackupError.self) {
            try ManifestFile.decode(file, id: id, key: Self.key)
        }
        let other = RecoveryKey(secret: [UInt8](repeating: 8, count: 32))
        #expect(throws: BackupError.self) {
            try ManifestFile.decode(file, id: manifest.id, key: other)
        }
        #expect(throws: BackupError.self) {
            try ManifestFile.decode(
                [UInt8](repeating: 0x20, count: ManifestFile.longest + 1), id: manifest.id,
                key: Self.key)
        }
    }

    @Test("One of a later format says which kinglet reads it")
    func later() throws {
        var manifest = try Self.manifest()
        manifest.format = 2
        manifest.software["kinglet"] = "9.1"
        let file = try ManifestFile.encode(manifest, key: Self.key)
        let error = #expect(throws: BackupError.self) {
            try ManifestFile.decode(file, id: manifest.id, key: Self.key)
        }
        #expect(error?.advice == "use kinglet 9.1 or later")
    }

    /// One change to a manifest after which it cannot be true.
    static let impossible: [(String, @Sendable (inout Manifest) -> Void)] = [
        ("format", { $0.format = 0 }),
        ("instance", { $0.instance = "../../etc" }),
        ("files", { $0.files = -1 }),
        ("too many files", { $0.files = 4 }),
        ("bytes", { $0.bytes = -1 }),
        ("copied", { $0.copied = -1 }),
        ("database name", { $0.databases[0].name = "../kinglet.db" }),
        ("database below", { $0.databases[0].name = "a/b" }),
        ("base outside", { $0.databases[0].base.path = "database/kinglet.db/../../x" }),
        ("base elsewhere", { $0.databases[0].base.path = "uploads/x" }),
        ("change absolute", { $0.databases[0].changes[0].path = "/etc/passwd" }),
        ("change size", { $0.databases[0].changes[0].size = -1 }),
        ("base digest", { $0.databases[0].base.sha256 = "ab" }),
        ("page size", { $0.databases[0].pageSize = 1000 }),
        ("page size 0", { $0.databases[0].pageSize = 0 }),
        ("pages", { $0.databases[0].pageCount = -1 }),
        ("rows", { $0.databases[0].rows["messages"] = -1 }),
        ("list digest", { $0.lists[0].sha256 = "../../../../etc/passwd" }),
        ("list entries", { $0.lists[0].entries = 0 }),
        ("list size", { $0.lists[0].size = .max }),
        ("extra", { $0.extra["../.."] = "/etc" }),
        ("pack", { $0.archive?.packs = ["../x"] }),
        ("pack number", { $0.archive?.lists[0].pack = 1 }),
        ("pack number below", { $0.archive?.lists[0].pack = -1 }),
        ("offset", { $0.archive?.lists[0].offset = -1 }),
        ("places", { $0.archive?.lists = [] }),
    ]

    @Test("What cannot be is not believed though the seal fits", arguments: 0..<26)
    func untrue(_ index: Int) throws {
        var manifest = try Self.manifest()
        Self.impossible[index].1(&manifest)
        let file = try ManifestFile.encode(manifest, key: Self.key)
        let error = #expect(throws: BackupError.self, "\(Self.impossible[index].0)") {
            try ManifestFile.decode(file, id: manifest.id, key: Self.key)
        }
        #expect(error?.code == .damaged)
    }
}
