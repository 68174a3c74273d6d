import Foundation
import Glibc
import Synchronization
import TLS
import Testing

@testable import Backup

/// What was said during a test.
final class Notes: Sendable {
    private let notes = Mutex<[String]>([])
    func add(_ note: String) { notes.withLock { $0.append(note) } }
    var all: [String] { notes.withLock { $0 } }
}

/// A folder of a test's own, removed with its last use.
final class ScratchFolder: Sendable {
    let path: String
    init() throws {
        path = FileManager.default.temporaryDirectory.path + "/scratch-\(UUID().uuidString)"
        try Files.makeFolder(path)
    }
    deinit { try? Files.remove(path) }

    /// Writes a file and the folders above it.
    @discardableResult
    func write(_ name: String, _ text: String, mode: mode_t = 0o600) throws -> String {
        let place = "\(path)/\(name)"
        try Files.makeFolder(Files.parent(of: place))
        try Files.replace(place, Array(text.utf8), mode: mode)
        return place
    }
}

@Suite("Walking what is to be backed up")
struct SourceScanTests {
    let folder: ScratchFolder
    let notes = Notes()

    init() throws { folder = try ScratchFolder() }

    func scan(
        previous: FileList? = nil, keepsLinks: Bool = false, excludes: [String] = [],
        wantsMD5: Bool = false, place: String? = nil, cancellation: Cancellation = Cancellation()
    ) throws -> SourceScan.Result {
        let path = try #require(SnapshotPath("uploads"))
        let root = SourceScan.Root(
            folder: path, place: place ?? folder.path, keepsLinks: keepsLinks,
            excludes: excludes.map { ExcludePattern($0) })
        let notes = notes
        return try SourceScan(
            roots: [root], previous: previous, wantsMD5: wantsMD5, cancellation: cancellation,
            progress: { _ in }, warn: { notes.add($0) }
        ).run()
    }

    func paths(_ result: SourceScan.Result) -> [String] {
        result.list.entries.map { $0.path.description }
    }

    @Test("Files have size, mode, time and digests; folders are listed only when they are empty")
    func listed() throws {
        try folder.write("a/b", "hello", mode: 0o640)
        try folder.write("c", "")
        try Files.makeFolder(folder.path + "/empty/inner")
        let result = try scan(wantsMD5: true)
        #expect(paths(result) == ["uploads/a/b", "uploads/c", "uploads/empty/inner"])
        let entry = result.list.entries[0]
        #expect(entry.mode == 0o640)
        #expect(entry.hash == contentHash(Array("hello".utf8)))
        #expect(entry.md5?.hexadecimal == "5d41402abc4b2a76b9719d911017c592")
        var status = stat()
        #expect(stat(folder.path + "/a/b", &status) == 0)
        #expect(entry.modified == nanoseconds(status))
        #expect(result.list.entries[2].kind == .folder)
        #expect(result.files == 2 && result.bytes == 5 && result.hashedBytes == 5)
        #expect(notes.all.isEmpty)
    }

    @Test("A file of the same size and time is not read again, another is")
    func reused() throws {
        try folder.write("a", "hello")
        try folder.write("b", "there")
        let first = try scan()
        let times = [timespec(tv_sec: 5, tv_nsec: 7), timespec(tv_sec: 5, tv_nsec: 8)]
        #expect(utimensat(AT_FDCWD, folder.path + "/b", times, 0) == 0)
        #expect(chmod(folder.path + "/a", 0o644) == 0)
        let second = try scan(previous: first.list)
        #expect(second.hashedBytes == 5)
        #expect(second.list.entries.map(\.hash) == first.list.entries.map(\.hash))
        #expect(second.list.entries.map(\.mode) == [0o644, 0o600])
        #expect(second.list.entries[1].modified == 5_000_000_008)
        // Without MD5 digests in the last list they have to be computed.
        #expect(try scan(previous: second.list, wantsMD5: true).hashedBytes == 10)
        #expect(try scan(previous: second.list).hashedBytes == 0)
    }

    @Test("Links, pipes and sockets are left out with a word, and never followed or opened")
    func special() throws {
        let outside = try ScratchFolder()
        try outside.write("secret", "x")
        #expect(symlink(outside.path, folder.path + "/folder") == 0)
        #expect(symlink(outside.path + "/secret", folder.path + "/file") == 0)
        #expect(mkfifo(folder.path + "/pipe", 0o600) == 0)
        #expect(mkfifo(folder.path + "/pipe2", 0o600) == 0)
        #expect(mknod(folder.path + "/null", S_IFCHR | 0o600, 0x103) == 0)
        try folder.write("a", "x")
        #expect(paths(try scan()) == ["uploads/a"])
        #expect(notes.all.count == 2)
        let kept = try scan(keepsLinks: true)
        #expect(paths(kept) == ["uploads/a", "uploads/file", "uploads/folder"])
        #expect(kept.list.entries[2].kind == .link(to: Array(outside.path.utf8)))
    }

    @Test("Another file system below is left out")
    func oneFileSystem() throws {
        try Files.makeFolder(folder.path + "/disk")
        try folder.write("a", "x")
        #expect(mount("none", folder.path + "/disk", "tmpfs", 0, nil) == 0)
        defer { umount2(folder.path + "/disk", 0) }
        try folder.write("disk/b", "x")
        #expect(paths(try scan()) == ["uploads/a"])
        #expect(notes.all.count == 1 && notes.all[0].contains("another file system"))
    }

    @Test(
        "Exclusions mean names, ends of paths, or places of this machine",
        arguments: [
            ("*.log", ["a/x.txt", "a/b/x.txt", "cache/x.txt"]),
            ("cache", ["a/x.log", "a/x.txt", "a/b/x.txt"]),
            ("cache/", ["a/x.log", "a/x.txt", "a/b/x.txt"]),
            ("a/b", ["a/x.log", "a/x.txt", "cache/x.txt"]),
            ("a/*.txt", ["a/x.log", "a/b/x.txt", "cache/x.txt"]),
            ("a/**.txt", ["a/x.log", "cache/x.txt"]),
            ("HERE/a", ["cache/x.txt"]),
            ("/a", ["a/x.log", "a/x.txt", "a/b/x.txt", "cache/x.txt"]),
            ("x.txt/", ["a/x.log", "a/x.txt", "a/b/x.txt", "cache/x.txt"]),
            ("?.txt", ["a/x.log"]),
        ])
    func excludes(pattern: String, left: [String]) throws {
        for name in ["a/x.log", "a/x.txt", "a/b/x.txt", "cache/x.txt"] {
            try folder.write(name, "x")
        }
        let result = try scan(
            excludes: [pattern.replacingOccurrences(of: "HERE", with: folder.path)])
        let files = result.list.entries.filter { $0.hash != nil }
        #expect(Set(files.map { $0.path.description }) == Set(left.map { "uploads/" + $0 }))
    }

    @Test("A pattern that would take for ever is given up")
    func slowPattern() {
        let pattern = ExcludePattern(String(repeating: "*a", count: 30) + "b")
        let place = Array(("/" + String(repeating: "a", count: 60)).utf8)
        #expect(!pattern.matches(place, isFolder: false))
    }

    @Test("rsync gets the patterns for where it starts, and no others")
    func forRsync() {
        #expect(ExcludePattern("*.log").forRsync(below: "/etc") == "*.log")
        #expect(ExcludePattern("/etc/nginx/cache").forRsync(below: "/etc") == "/nginx/cache")
        #expect(ExcludePattern("/srv/x").forRsync(below: "/etc") == nil)
    }

    @Test("A file that cannot be read is named, and the rest is listed")
    func unreadable() throws {
        try folder.write("a", "x")
        // A name is gone by the time it is opened; nothing is said of that.
        #expect(try scan(place: folder.path + "/nothing").list.entries.isEmpty)
        #expect(notes.all.isEmpty)
        // /proc/self/mem is a regular file that nobody can read at its beginning.
        let result = try scan(place: "/proc/self/mem")
        #expect(result.list.entries.isEmpty)
        #expect(result.warnings == 1)
        #expect(notes.all.first?.contains("cannot be read") == true)
        // Of ours everything has to be sent; the owner's can be left out.
        #expect(result.leftOut.isEmpty)
        let notes = notes
        let owners = try SourceScan(
            roots: [
                .init(
                    folder: SnapshotPath(valid: Array("extra/1".utf8)), place: "/proc/self/mem",
                    keepsLinks: true)
            ], cancellation: Cancellation(), progress: { _ in }, warn: { notes.add($0) }
        ).run()
        #expect(owners.leftOut == [Array("/proc/self/mem".utf8)])
    }

    @Test("A file that grows while it is read is read again, then named")
    func growing() throws {
        let notes = notes
        let path = try #require(SnapshotPath("log"))
        // Progress is told while the file is read, which is when it grows.
        let big = try folder.write("big", String(repeating: "x", count: 20 << 20))
        let grown = try SourceScan(
            roots: [.init(folder: path, place: big)], cancellation: Cancellation(),
            progress: { _ in
                let file = open(big, O_WRONLY | O_APPEND)
                _ = write(file, "y", 1)
                close(file)
            }, warn: { notes.add($0) }
        ).run()
        #expect(notes.all.contains { $0.contains("changes while it is read") })
        let entry = try #require(grown.list.entries.first)
        // What is listed is what was read, whatever the file has become.
        var content = [UInt8](repeating: UInt8(ascii: "x"), count: 20 << 20)
        content += [UInt8](repeating: UInt8(ascii: "y"), count: Int(entry.size) - content.count)
        #expect(entry.hash == contentHash(content))
    }

    @Test("Folders nested without end, and a run that is called off, end the walk")
    func bounds() throws {
        var path = folder.path
        for _ in 0..<120 {
            path += "/d"
            #expect(mkdir(path, 0o700) == 0)
        }
        let result = try scan()
        #expect(result.warnings == 1)
        #expect(result.list.entries.count == 1)
        let cancellation = Cancellation()
        cancellation.cancel("enough")
        let error = #expect(throws: BackupError.self) { try scan(cancellation: cancellation) }
        #expect(error?.code == .cancelled)
    }
}
