import Foundation
import Testing

@testable import Backup

@Suite("Tar archives (ustar) from anywhere")
struct TarTests {
    private func header(
        _ path: String, size: Int64 = 0, isFolder: Bool = false
    ) throws -> [UInt8] {
        let header = TarHeader(
            path: try #require(SnapshotPath(path)), isFolder: isFolder, mode: 0o600, size: size,
            modified: 1)
        return try #require(header.block())
    }

    /// A header with another field, its checksum made right again.
    private func changed(_ block: [UInt8], _ offset: Int, _ bytes: [UInt8]) -> [UInt8] {
        var block = block
        block.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        block.replaceSubrange(148..<156, with: [UInt8](repeating: 0x20, count: 8))
        let sum = String(block.reduce(0) { $0 + Int($1) }, radix: 8)
        let digits = String(repeating: "0", count: 6 - sum.count) + sum
        block.replaceSubrange(148..<156, with: Array(digits.utf8) + [0, 0x20])
        return block
    }

    private let end = [UInt8](repeating: 0, count: 1024)

    /// What an archive tells in pieces of a size.
    private func read(_ archive: [UInt8], pieces: Int = 100_000) throws(BackupError) -> [String] {
        let told = Told()
        let reader = TarReader(subject: "archive") { event in
            switch event {
            case .entry(let header): told.lines.append("\(header.path) \(header.size)")
            case .content(let bytes): told.content += bytes
            case .end:
                told.lines.append("= \(told.content)")
                told.content = []
            }
        }
        for start in stride(from: 0, to: archive.count, by: pieces) {
            try reader.write(archive[start..<min(archive.count, start + pieces)])
        }
        try reader.finish()
        return told.lines
    }

    @Test("It is read the same however it is cut", arguments: [1, 7, 511, 512, 513, 4_000])
    func pieces(size: Int) throws {
        let padding = [UInt8](repeating: 0, count: 509)
        let parts: [[UInt8]] = [
            try header("a", size: 3), [1, 2, 3], padding, try header("b", isFolder: true),
            try header("b/c"), try header("d", size: 512), [UInt8](repeating: 5, count: 512), end,
        ]
        let archive = Array(parts.joined())
        let full = "= \([UInt8](repeating: 5, count: 512))"
        #expect(
            try read(archive, pieces: size)
                == ["a 3", "= [1, 2, 3]", "b 0", "b/c 0", "= []", "d 512", full])
    }

    @Test("A header is written and read again, with names up to 255 bytes")
    func headers() throws {
        for length in 1...254 {
            let parts = [
                String(repeating: "x", count: length),
                String(repeating: "x", count: length) + "/y",
                String(repeating: "xyz/", count: length / 4 + 1) + "end",
            ]
            for path in parts where path.utf8.count <= 255 {
                guard let snapshotPath = SnapshotPath(path) else { continue }
                let header = TarHeader(
                    path: snapshotPath, isFolder: length % 2 == 0, mode: 0o751,
                    size: length % 2 == 0 ? 0 : TarHeader.highest, modified: Int64(length))
                guard let block = header.block() else {
                    // One component is too long for its field.
                    #expect(path.split(separator: "/").contains { $0.utf8.count > 99 })
                    continue
                }
                #expect(try TarHeader(block: block) == header)
            }
        }
    }

    @Test("What could lead outside, or is no file, is refused")
    func hostile() throws {
        let plain = try header("file")
        func name(_ text: String) -> [UInt8] {
            changed(
                plain, 0, Array(text.utf8) + [UInt8](repeating: 0, count: 100 - text.utf8.count))
        }
        for text in ["/etc/passwd", "..", "../x", "a/../../x", "a//b", ".", "./a", "", "a/"] {
            #expect(throws: BackupError.self, "\(text)") { try read(name(text) + end) }
        }
        #expect(throws: BackupError.self) { try read(changed(plain, 345, Array("..".utf8)) + end) }
        #expect(throws: BackupError.self) { try read(changed(plain, 345, Array("/x".utf8)) + end) }
        for kind in "12346789gxLKSVA" {
            let block = changed(plain, 156, Array(String(kind).utf8))
            #expect(throws: BackupError.self, "\(kind)") { try read(block + end) }
        }
        #expect(throws: BackupError.self) {
            try read(changed(plain, 257, Array("ustar  ".utf8)) + end)
        }
        for size in ["777777777777", "99999999999", "-0000000001", "\u{0}", "00000000010x"] {
            let bytes = Array(size.utf8) + [UInt8](repeating: 0, count: 12 - size.utf8.count)
            #expect(throws: BackupError.self, "\(size)") {
                try read(changed(plain, 124, bytes) + end)
            }
        }
        let base256 = [UInt8(0x80)] + [UInt8](repeating: 0xff, count: 11)
        #expect(throws: BackupError.self) { try read(changed(plain, 124, base256) + end) }
        let folder = try header("folder", isFolder: true)
        #expect(throws: BackupError.self) {
            try read(changed(folder, 124, Array("00000001000".utf8)) + end)
        }
    }

    @Test("A changed bit of a header is found, or means the same within the checksum itself")
    func flips() throws {
        let plain = try header("file", isFolder: false)
        for bit in 0..<plain.count * 8 {
            var forged = plain
            forged[bit / 8] ^= 1 << UInt8(bit % 8)
            guard let told = try? read(forged + end) else { continue }
            // Spaces for zeros.
            #expect(told == ["file 0", "= []"] && (148..<156).contains(bit / 8), "bit \(bit)")
        }
    }

    @Test("Without its end it is not complete, and nothing may follow that")
    func ends() throws {
        let archive =
            try header("a", size: 3) + [1, 2, 3] + [UInt8](repeating: 0, count: 509) + end
        #expect(try read(archive).count == 2)
        #expect(try read(archive + [UInt8](repeating: 0, count: 512 * 18)).count == 2)
        for count in [0, 1, 512, 514, 1024, archive.count - 512, archive.count - 1] {
            #expect(throws: BackupError.self, "\(count)") { try read(Array(archive.prefix(count))) }
        }
        for more in [[1], [UInt8](repeating: 0, count: 512 * 19), try header("b") + end] {
            #expect(throws: BackupError.self) { try read(archive + more) }
        }
    }
}

/// What a reader has told.
private final class Told {
    var lines: [String] = []
    var content: [UInt8] = []
}
