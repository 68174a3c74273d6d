import Testing

@testable import Backup

@Suite("Lists of files as they are written")
struct FileListCodecTests {
    static let packs = (0..<40).map { ContentHash([UInt8](repeating: UInt8($0), count: 32)) }
        .map { $0?.description ?? "" }

    static func decode(
        _ parts: [(list: Manifest.List, bytes: [UInt8])], packs: [String]? = nil
    ) throws(BackupError) -> FileList {
        try FileListCodec.decode(parts.map(\.list), packs: packs) { (list) throws(BackupError) in
            parts.first { $0.list == list }?.bytes ?? []
        }
    }

    @Test(
        "What is written is read back, whatever the names, times, modes and pieces",
        arguments: 0..<60)
    func roundTrip(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let list = FileList(
            try (0..<Int.random(in: 0...900, using: &random)).map { _ in
                try Self.entry(&random)
            })
        let parts = FileListCodec.encode(list)
        #expect(try Self.decode(parts) == list)
        #expect(parts.reduce(0) { $0 + $1.list.entries } == list.entries.count)

        var archived = list
        archived.places = list.entries.map { Self.pieces($0.size, &random) }
        let others = FileListCodec.encode(archived, packs: Self.packs)
        #expect(try Self.decode(others, packs: Self.packs) == archived)
    }

    @Test("A part reads the same when the manifest numbers its packs anew")
    func packNumbers() throws {
        var random = SeededRandom(seed: 5)
        var list = FileList(try (0..<50).map { _ in try Self.entry(&random) })
        list.places = list.entries.map { Self.pieces($0.size, &random) }
        let parts = FileListCodec.encode(list, packs: Self.packs)
        let later = try Self.decode(parts, packs: Self.packs.reversed())
        #expect(
            FileListCodec.encode(later, packs: Self.packs.reversed()).map(\.list)
                == parts.map(\.list))
        let place = try #require(list.places.lastIndex { !$0.isEmpty })
        #expect(later.places[place][0].pack == 39 - list.places[place][0].pack)
    }

    @Test("The text is the one that is described")
    func text() throws {
        let digest = String(repeating: "ab", count: 32)
        let hash = try #require(ContentHash(hexadecimal: digest))
        func path(_ text: String) throws -> SnapshotPath { try #require(SnapshotPath(text)) }
        let list = FileList([
            FileEntry(
                path: try path("uploads/\(digest)"), kind: .file(size: 5, hash: hash), mode: 0o600,
                modified: 17, md5: MD5Digest([UInt8](repeating: 1, count: 16))),
            FileEntry(
                path: try path("extra/0/a %\tä/*"), kind: .file(size: 0, hash: hash), mode: 0o4755,
                modified: -1),
            FileEntry(path: try path("uploads/b"), kind: .folder, mode: 0o700, modified: 18),
            FileEntry(
                path: try path("extra/0/l"), kind: .link(to: Array("/etc/a\nb".utf8)), mode: 0o777,
                modified: 19),
        ])
        let text = String(decoding: FileListCodec.encode(list)[0].bytes, as: UTF8.self)
        #expect(
            text == """
                kinglet files 1
                f\t\(digest)\t0\t4755\t-1\t-\textra/0/a %25%09%C3%A4/%2A
                f\t\(digest)\t5\t600\t17\t01010101010101010101010101010101\tuploads/*
                d\t700\t18\tuploads/b
                l\t777\t19\textra/0/l\t/etc/a%0Ab

                """)
    }

    @Test("Two hundred new files among twenty thousand change only the last parts")
    func stability() throws {
        var random = SeededRandom(seed: 1)
        var entries = try (0..<20_000).map { number in
            try Self.upload(at: 1_700_000_000_000_000_000 + Int64(number), &random)
        }
        let before = FileListCodec.encode(FileList(entries))
        #expect((5...80).contains(before.count))
        for number in 20_000..<20_200 {
            entries.append(try Self.upload(at: 1_700_000_000_000_000_000 + Int64(number), &random))
        }
        let old = Set(before.map(\.list.sha256))
        let after = FileListCodec.encode(FileList(entries))
        let changed = after.filter { !old.contains($0.list.sha256) }
        #expect(changed.count <= 3)
        #expect(changed.reduce(0) { $0 + $1.list.entries } < 8192)

        // One that expires in the middle changes the parts around it and no more.
        entries.remove(at: 8_000)
        let known = Set(after.map(\.list.sha256))
        #expect(
            FileListCodec.encode(FileList(entries)).filter { !known.contains($0.list.sha256) }.count
                <= 6)
    }

    @Test(
        "Paths that lead outside and other lines that nobody wrote are refused",
        arguments: [
            "f\tD\t1\t600\t1\t-\t../a", "f\tD\t1\t600\t1\t-\t/etc/passwd",
            "f\tD\t1\t600\t1\t-\ta/../b",
            "f\tD\t1\t600\t1\t-\ta//b", "f\tD\t1\t600\t1\t-\t", "f\tD\t1\t600\t1\t-\t%2E%2E/a",
            "f\tD\t1\t600\t1\t-\ta%00", "f\tD\t1\t600\t1\t-\ta%0", "f\tD\t1\t600\t1\t-\ta%",
            "f\tD\t1\t600\t1\t-\t%61", "f\tD\t1\t600\t1\t-\t%0a", "f\tD\t-1\t600\t1\t-\ta",
            "f\tD\t01\t600\t1\t-\ta", "f\tD\t9223372036854775808\t600\t1\t-\ta",
            "f\tD\t99999999999999999999999\t600\t1\t-\ta", "f\tD\t1\t10000\t1\t-\ta",
            "f\tD\t1\t0600\t1\t-\ta", "f\tD\t1\t8\t1\t-\ta", "f\tD\t1\t600\t-0\t-\ta",
            "f\tD\t1\t600\t\t-\ta", "f\tD\t1\t600\t1\tzz\ta", "f\tD\t1\t600\t1\t-", "f\tD",
            "f\tD\t1\t600\t1\t-\ta\tb", "f\tD\t1\t600\t1\t-\tD", "x\tD\t1\t600\t1\t-\ta", "",
            "\t\t\t\t",
            "d\t700\t1\t*", "d\t700\t1\t..", "l\t777\t1\ta\t", "l\t777\t1\ta", "l\t777\t1\ta\t%00",
            "p\tD", "c\t1\t5", "f\tDD\t1\t600\t1\t-\ta",
            "f\tD\t1\t600\t1\t-\ta\nf\tD\t1\t600\t1\t-\ta",
        ])
    func refused(line: String) throws {
        let digest = String(repeating: "0a", count: 32)
        let part = try Self.part("kinglet files 1\n\(line)\n", entries: line.contains("\n") ? 2 : 1)
        var wanted = part
        wanted.bytes = Array(
            String(decoding: part.bytes, as: UTF8.self)
                .split(separator: "D", omittingEmptySubsequences: false).joined(separator: digest)
                .utf8)
        wanted.list = try Self.part(
            String(decoding: wanted.bytes, as: UTF8.self), entries: part.list.entries
        ).list
        #expect(throws: BackupError.self) { try Self.decode([wanted]) }
    }

    @Test(
        "Pieces that cannot be are refused",
        arguments: [
            "0:0:4", "0:0:6", "1:0:5", "-1:0:5", "0:-1:5", "0:0:5,", "0:0:5,0:5:0", "-", "", "0:0",
            "0:9223372036854775807:5", "0:0:5:0", "0:0:2,0:2:4",
        ])
    func pieces(pieces: String) throws {
        let digest = String(repeating: "0a", count: 32)
        func text(_ pieces: String) -> String {
            "kinglet files 1\np\t\(Self.packs[3])\nf\t\(digest)\t5\t600\t1\t-\ta\t\(pieces)\n"
        }
        let good = try Self.decode([Self.part(text("0:7:5"), entries: 1)], packs: Self.packs)
        #expect(good.places == [[.init(pack: 3, offset: 7, length: 5)]])
        #expect(throws: BackupError.self) {
            try Self.decode([Self.part(text(pieces), entries: 1)], packs: Self.packs)
        }
        // A pack that the manifest does not have.
        #expect(throws: BackupError.self) {
            try Self.decode([Self.part(text("0:7:5"), entries: 1)], packs: [Self.packs[4]])
        }
    }

    @Test("A part with one bit turned, cut off or exchanged is not believed")
    func damaged() throws {
        var random = SeededRandom(seed: 3)
        let list = FileList(try (0..<600).map { _ in try Self.entry(&random) })
        let parts = FileListCodec.encode(list)
        for _ in 0..<200 {
            var changed = parts
            let part = Int.random(in: 0..<parts.count, using: &random)
            let byte = Int.random(in: 0..<parts[part].bytes.count, using: &random)
            changed[part].bytes[byte] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            #expect(throws: BackupError.self) { try Self.decode(changed) }
            changed = parts
            changed[part].bytes.removeLast(byte + 1)
            #expect(throws: BackupError.self) { try Self.decode(changed) }
        }
        #expect(throws: BackupError.self) { try Self.decode(parts + parts) }
    }

    @Test("Any bytes are read or refused, and what is read can be written")
    func anything() throws {
        var random = SeededRandom(seed: 11)
        var list = FileList(try (0..<8).map { _ in try Self.entry(&random) })
        list.places = list.entries.map { Self.pieces($0.size, &random) }
        let good = FileListCodec.encode(list, packs: Self.packs)[0]
        var read = 0
        for _ in 0..<1500 {
            var bytes = good.bytes
            for _ in 0..<Int.random(in: 0...2, using: &random) {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: index)
                default:
                    bytes.insert(
                        Array("0\t\n%*-:,/".utf8).randomElement(using: &random) ?? 0, at: index)
                }
            }
            let part = try Self.part(String(decoding: bytes, as: UTF8.self), entries: 8)
            guard let found = try? Self.decode([part], packs: Self.packs) else { continue }
            read += 1
            let again = FileListCodec.encode(found, packs: Self.packs)
            #expect(try Self.decode(again, packs: Self.packs) == found)
        }
        #expect(read > 50)
    }

    // MARK: Made up

    static func part(
        _ text: String, entries: Int
    ) throws -> (list: Manifest.List, bytes: [UInt8]) {
        let bytes = Array(text.utf8)
        let digest = try #require(contentHash(bytes))
        return (
            .init(sha256: digest.description, size: Int64(bytes.count), entries: entries), bytes
        )
    }

    static func upload(
        at time: Int64, _ random: inout SeededRandom
    ) throws -> FileEntry {
        let hash = try #require(
            ContentHash((0..<4).flatMap { _ in withUnsafeBytes(of: random.next()) { Array($0) } }))
        let text = hash.description
        let path = try #require(SnapshotPath("uploads/\(text.prefix(2))/\(text)"))
        return FileEntry(
            path: path, kind: .file(size: 1000, hash: hash), mode: 0o600, modified: time)
    }

    static func entry(_ random: inout SeededRandom) throws -> FileEntry {
        let hash = try #require(
            ContentHash((0..<32).map { _ in UInt8.random(in: 0...255, using: &random) }))
        func name() -> [UInt8] {
            switch Int.random(in: 0..<4, using: &random) {
            case 0: return Array(hash.description.utf8)
            case 1: return Array("*".utf8)
            default:
                return (0..<Int.random(in: 1...20, using: &random)).map { _ in
                    [UInt8.random(in: 1...255, using: &random), 0x25, 0x61, 0x2A, 0x20]
                        .randomElement(
                            using: &random) ?? 1
                }.map { $0 == 0x2F || $0 == 0x2E ? 0x78 : $0 }
            }
        }
        let components =
            (0..<Int.random(in: 1...4, using: &random)).map { _ in name() }
            + [Array(String(UInt64.random(in: 0..<UInt64.max, using: &random)).utf8)]
        let path = try #require(
            SnapshotPath(components.shuffled(using: &random).joined(separator: [0x2F]).map { $0 }))
        let kinds: [FileEntry.Kind] = [
            .file(size: Int64.random(in: 0...3, using: &random) << 20, hash: hash), .folder,
            .file(size: 0, hash: hash), .link(to: name()),
        ]
        let kind = kinds.randomElement(using: &random) ?? .folder
        var md5: MD5Digest?
        if case .file = kind, Bool.random(using: &random) { md5 = MD5Digest(hash.bytes.prefix(16)) }
        return FileEntry(
            path: path, kind: kind, mode: UInt32.random(in: 0...0o7777, using: &random),
            modified: [Int64.min + 1, -5, 0, 7, .max, .random(in: 0...99, using: &random)]
                .randomElement(using: &random) ?? 0,
            md5: md5)
    }

    static func pieces(
        _ size: Int64, _ random: inout SeededRandom
    ) -> [ArchiveRecord.Piece] {
        guard size > 0 else { return [] }
        let first = Int64.random(in: 1...size, using: &random)
        let lengths = first < size ? [first, size - first] : [size]
        return lengths.map {
            .init(
                pack: Int.random(in: 0..<40, using: &random),
                offset: Int64.random(in: 0...(1 << 40), using: &random), length: $0)
        }
    }
}

/// Random numbers that a test can repeat (SplitMix64).
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }
}
