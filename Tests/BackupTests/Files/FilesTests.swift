import Foundation
import Testing

@testable import Backup

@Suite("Files and folders")
struct FilesTests {
    let folder: String

    init() throws {
        folder = FileManager.default.temporaryDirectory.path + "/files-\(UUID().uuidString)"
        try Files.makeFolder(folder)
    }

    @Test("A file is replaced as a whole, with the mode that was asked for")
    func replace() throws {
        let path = folder + "/a"
        try Files.replace(path, [1, 2, 3], mode: 0o600)
        try Files.replace(path, Array(repeating: 7, count: 300_000), mode: 0o640)
        #expect(try Files.read(path, limit: 1_000_000)?.count == 300_000)
        #expect(try Files.read(folder + "/b", limit: 1) == nil)
        #expect(try Files.names(in: folder).count == 1)
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions]
        #expect(mode as? Int == 0o640)
        #expect(throws: BackupError.self) { try Files.read(path, limit: 299_999) }
        try Files.remove(folder)
    }

    @Test("What is removed is gone with all that is in it, and nothing that a link leads to")
    func remove() throws {
        let outside = folder + "-outside"
        try Files.makeFolder(outside)
        try Files.replace(outside + "/kept", [1], mode: 0o600)
        try Files.makeFolder(folder + "/a/b/c")
        try Files.replace(folder + "/a/b/x", [1], mode: 0o400)
        #expect(symlink(outside, folder + "/a/link") == 0)
        try Files.remove(folder)
        #expect(!Files.exists(folder))
        #expect(try Files.read(outside + "/kept", limit: 10) == [1])
        try Files.remove(folder)
        try Files.remove(outside)
    }

    @Test("A link, a folder or a pipe is not read as a file")
    func notAFile() throws {
        #expect(symlink("/etc/passwd", folder + "/link") == 0)
        #expect(mkfifo(folder + "/pipe", 0o600) == 0)
        for name in ["/link", "/pipe", ""] {
            #expect(throws: BackupError.self) { try Files.read(folder + name, limit: 100_000) }
        }
        try Files.remove(folder)
    }

    @Test("A full disk, a missing one and a read-only one are told apart")
    func codes() {
        #expect(Files.error("x", "write", code: ENOSPC).code == .full)
        #expect(Files.error("x", "write", code: ENODEV).code == .absent)
        #expect(Files.error("x", "write", code: EROFS).code == .permanent)
        #expect(Files.error("x", "write", code: EIO).code == .temporary)
    }
}
