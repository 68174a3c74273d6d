import Foundation
import Glibc
import Programs
import Testing

@testable import Backup

/// What is in no list is not sent, and what is listed is: else a run would fail at each attempt.
@Suite("What is left out of a transfer")
struct LeftOutTests {
    private let installation: Installation
    private var top: String { installation.base + "/site" }

    init() throws {
        installation = try Installation()
        try Files.makeFolder(installation.base + "/to")
    }

    private func make(_ name: [UInt8]) {
        let path = (Array(top.utf8) + [0x2F] + name + [0]).map { CChar(bitPattern: $0) }
        let file = open(path, O_WRONLY | O_CREAT, 0o600)
        #expect(file >= 0)
        close(file)
    }

    @Test(
        "Files and folders that cannot be read are left out, whatever their names are, and no others",
        arguments: Mover.allCases, [false, true])
    func leftOut(mover: Mover, sendsContent: Bool) throws {
        try Files.makeFolder(top + "/private/deep")
        try Files.makeFolder(top + "/other/private")
        let names =
            [
                "a*b", "a?b", "[x]", "[!x]*", "back\\slash", "star*\\", "new\nline", "# note",
                "; note",
            ]
            .map { Array($0.utf8) } + [[0x61, 0xFF, 0x2A]]
        for name in names { make(name) }
        for name in ["aXb", "x", "private/deep/file", "other/private/file"] {
            make(Array(name.utf8))
        }
        var request = TransferRequest(
            sources: [sendsContent ? top + "/" : top], destination: installation.base + "/to/",
            linkDestinations: [], context: installation.context)
        request.leftOut = Set(
            (names + [Array("private".utf8)]).map { Array(top.utf8) + [0x2F] + $0 })
        let transfer: any FileTransfer =
            switch mover {
            case .rsync: try RsyncTransfer()
            case .copy: CopyTransfer()
            }
        _ = try transfer.send(request)
        let there = installation.base + "/to" + (sendsContent ? "" : "/site")
        let found = try Files.names(in: there).map { String(decoding: $0, as: UTF8.self) }
        #expect(found.sorted() == ["aXb", "other", "x"])
        #expect(Files.exists(there + "/other/private/file"))
    }

    @Test("A path that cannot be read itself is sent in no step")
    func wholePath() throws {
        try Files.makeFolder(top)
        var snapshot = try installation.prepare(1, [])
        snapshot.sources = [(SnapshotPath(valid: Array("extra/1".utf8)), top)]
        #expect(try TransferStep.all(for: snapshot).count == 1)
        snapshot.leftOut = [Array(top.utf8)]
        #expect(try TransferStep.all(for: snapshot).isEmpty)
    }

    /// Names below the folder that rsync would send.
    private func sent(_ pattern: String) throws -> Set<String> {
        var request = TransferRequest(
            sources: [top], destination: installation.base + "/to/", linkDestinations: [],
            context: installation.context)
        request.excludes = [ExcludePattern(pattern).forRsync(below: installation.base)]
            .compactMap { $0 }
        let transfer = try RsyncTransfer()
        let program = Program(
            transfer.program.path,
            ["-n", "--out-format=%n"] + (try transfer.arguments(request)))
        var output = ""
        let end = try program.run(output: { output += String(decoding: $0, as: UTF8.self) })
        #expect(end == .exited(0), "\(pattern)")
        return Set(
            output.split(separator: "\n").filter { $0.hasPrefix("site/") && !$0.hasSuffix("/") }
                .map { $0.replacingOccurrences(of: "\\#134", with: "\\") })
    }

    private func listed(_ pattern: String) throws -> Set<String> {
        let found = try SourceScan(
            roots: [
                .init(
                    folder: SnapshotPath(valid: Array("site".utf8)), place: top, keepsLinks: true,
                    excludes: [ExcludePattern(pattern)])
            ], cancellation: Cancellation(), progress: { _ in }, warn: { _ in }
        ).run()
        return Set(found.list.entries.filter { $0.hash != nil }.map { $0.path.description })
    }

    @Test("Every pattern means for rsync what it means for the walk")
    func patterns() throws {
        for folder in ["/a/b", "/b/a", "/[ab]"] { try Files.makeFolder(top + folder) }
        for name in [
            "a/b/a", "a/b/ab", "a/b/[a]", "b/a/b", "b/a/a\\b", "b/+ a", "[ab]/a", "[ab]/b", "ab",
            "- a", "+ a", "!", "!a", "[a]", "a\\b", "a\\", "\\*", "aXb", "#a",
        ] { make(Array(name.utf8)) }
        var patterns = [
            "!", "+ a", "- a", "!a", "[a]", "[ab]", "[ab]/a", "a\\b", "\\*", "a\\", "[a", "a]",
            "a**b",
            "**a", "a/**", "**/a", "a/***", "*\\*", "?\\?", "[a]*", "# a", "#a", ";a", "a/",
            "[ab]/",
            "+ *", "- *", "!*", ". a", "merge a", top + "/a", top + "/[ab]/*", top + "/a/**",
            top + "/!", top + "/*\\*",
        ]
        // And many that nobody would think of; always the same.
        var state: UInt64 = 7
        func next(_ count: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % count
        }
        let letters = ["a", "b", "*", "**", "?", "[", "]", "\\", "!", "/", "a", "b"]
        for _ in 0..<60 {
            patterns.append((0...next(4)).map { _ in letters[next(letters.count)] }.joined())
        }
        for pattern in patterns {
            let (sent, listed) = (try sent(pattern), try listed(pattern))
            #expect(listed.isSubset(of: sent), "\(pattern)")
            // rsync is not told of one whose first wildcard stands for a folder above.
            if !pattern.hasPrefix("/") || pattern.hasPrefix(top) {
                #expect(sent == listed, "\(pattern)")
            }
        }
    }
}
