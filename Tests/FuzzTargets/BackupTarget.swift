// What a backup reads that others may have written: the target's files, what rsync prints, and
// schedules. It is read or refused, what is read is the only way to write it, and how it comes in
// pieces makes no difference.

import TLS

@testable import Backup

enum BackupTarget {
    /// - Parameter input: one byte that says what it is, and that.
    static func run(_ input: [UInt8]) throws {
        guard let kind = input.first else { return }
        let rest = Array(input.dropFirst())
        switch kind {
        case UInt8(ascii: "l"): try list(rest)
        case UInt8(ascii: "m"): try manifest(rest)
        case UInt8(ascii: "a"): try age(rest)
        case UInt8(ascii: "r"): try rsync(rest)
        case UInt8(ascii: "s"): try schedule(rest)
        case UInt8(ascii: "t"): try tar(rest)
        default: break
        }
    }

    private static let key = RecoveryKey(secret: [UInt8](repeating: 7, count: 32))
    private static let pack = String(repeating: "ab", count: 32)

    /// A part of a list whose digest is right, as whoever has the key can make it.
    private static func list(_ input: [UInt8]) throws {
        let digest = ContentHash(DigestAlgorithm.sha256.hash(input))?.description ?? ""
        let lines = input.count { $0 == 0x0A } - 1
        for packs in [nil, [pack]] as [[String]?] {
            for entries in Set([lines, lines - 1]) {
                let part = Manifest.List(
                    sha256: digest, size: Int64(input.count), entries: entries)
                guard
                    let found = try? FileListCodec.decode(
                        [part], packs: packs, part: { _ throws(BackupError) in input })
                else { continue }
                try expect(found.entries.count == entries, "not all lines of \(shown(input))")
                let parts = FileListCodec.encode(found, packs: packs ?? [])
                let again = try? FileListCodec.decode(parts.map(\.list), packs: packs) {
                    list throws(BackupError) in
                    parts.first { $0.list == list }?.bytes ?? []
                }
                try expect(again == found, "a list that is written differs: \(shown(input))")
            }
        }
    }

    /// A manifest whose seal is right.
    private static func manifest(_ input: [UInt8]) throws {
        guard let id = SnapshotID("20261121T030000Z-000017") else { return }
        let sealed = input + Array("\nhmac-sha256 \(key.seal(input))\n".utf8)
        guard let found = try? ManifestFile.decode(sealed, id: id, key: key) else { return }
        guard let written = try? ManifestFile.encode(found, key: key) else {
            throw Violation("what is read cannot be written: \(shown(input))")
        }
        try expect(
            (try? ManifestFile.decode(written, id: id, key: key)) == found,
            "a manifest that is written differs: \(shown(input))")
        for index in [0, written.count / 2, written.count - 2] {
            var other = written
            other[index] ^= 1
            try expect(
                (try? ManifestFile.decode(other, id: id, key: key)) == nil,
                "byte \(index) of \(shown(written)) may be anything")
        }
    }

    /// Nothing comes out of what was not encrypted for the key, in whatever pieces it comes.
    private static func age(_ input: [UInt8]) throws {
        _ = AgeHeader(input)
        for size in [input.count + 1, 7] {
            let output = Told()
            let decryptor = AgeDecryptor(key: key) { output.bytes += $0 }
            do {
                for start in stride(from: 0, to: input.count, by: size) {
                    try decryptor.write(input[start..<min(input.count, start + size)])
                }
                try decryptor.finish()
                throw Violation("this is encrypted for nobody: \(shown(input))")
            } catch is BackupError {
                try expect(output.bytes.isEmpty, "content of \(shown(input))")
            }
        }
    }

    private static func rsync(_ input: [UInt8]) throws {
        var whole: [[UInt8]] = []
        var pieces: [[UInt8]] = []
        var reader = LineReader()
        reader.read(input[...]) { whole.append(Array($0)) }
        reader.finish { whole.append(Array($0)) }
        reader = LineReader()
        for start in stride(from: 0, to: input.count, by: 3) {
            reader.read(input[start..<min(input.count, start + 3)]) { pieces.append(Array($0)) }
        }
        reader.finish { pieces.append(Array($0)) }
        try expect(whole == pieces, "lines of \(shown(input)) depend on how they come")
        var report = TransferReport()
        var complaints = Complaints()
        for line in whole {
            report.readStatistics(line[...])
            complaints.add(line[...])
            if let listing = RsyncListing(line[...]) {
                try expect(listing.name.count <= line.count, "a name of \(shown(line))")
            }
            report.add(report)
        }
        try expect(
            complaints.lines.allSatisfy { $0.utf8.allSatisfy { (0x20..<0x7F).contains($0) } },
            "not printable: \(complaints.lines)")
    }

    private static func schedule(_ input: [UInt8]) throws {
        guard let schedule = try? Schedule(String(decoding: input, as: UTF8.self)) else { return }
        let again = try? Schedule(schedule.text)
        try expect(again == schedule, "\(schedule.text) is not \(shown(input))")
        for time in [0, 1_774_746_000, 1_798_675_200, 7_258_118_399] as [Int64] {
            let next = schedule.next(after: time, in: .utc)
            try expect(next.map { $0 > time } ?? true, "\(schedule.text) after \(time)")
        }
    }

    /// What an archive tells does not depend on how it comes, and no path leads out.
    private static func tar(_ input: [UInt8]) throws {
        var told: [Told] = []
        for size in [input.count + 1, 511] {
            let seen = Told()
            let reader = TarReader(subject: "archive") { event in
                switch event {
                case .entry(let header): seen.entries.append("\(header.path) \(header.size)")
                case .content(let bytes): seen.bytes += bytes
                case .end: seen.entries.append("end")
                }
            }
            do throws(BackupError) {
                for start in stride(from: 0, to: input.count, by: size) {
                    try reader.write(input[start..<min(input.count, start + size)])
                }
                try reader.finish()
                seen.entries.append("whole")
            } catch {
                seen.entries.append("refused")
            }
            told.append(seen)
        }
        try expect(
            told[0].entries == told[1].entries && told[0].bytes == told[1].bytes,
            "an archive depends on how it comes: \(shown(input))")
    }

    private final class Told {
        var entries: [String] = []
        var bytes: [UInt8] = []
    }
}
