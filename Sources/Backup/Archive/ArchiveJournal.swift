// What an attempt that did not end has brought to the target, so that the next need not bring it
// again. Lost with no harm.

internal import Glibc

/// A file in the target's memory, one line for each whole content of a pack, written when the pack
/// is there.
///
///     kinglet packs 1
///     pack <sha256 of the encrypted pack>
///     <sha256 of the content> <its size> <begin in it> <begin in the pack> <length>
struct ArchiveJournal {
    static let name = "unfinished"
    static let header = "kinglet packs 1"
    /// Larger ones are forgotten, in bytes.
    static let longest = 64 << 20

    /// A run of a content in a pack.
    struct Part: Sendable, Equatable {
        var hash: ContentHash
        var size: Int64
        /// Where it begins in the content.
        var begin: Int64
        /// Where it begins in the pack.
        var offset: Int64
        var length: Int64
    }

    private let path: String

    init(memory: String) { path = "\(memory)/\(Self.name)" }

    /// Notes a pack that is on the target.
    func append(pack: String, _ parts: [Part]) throws(BackupError) {
        let file = open(
            path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw Files.error(path, "write") }
        defer { close(file) }
        var text = lseek(file, 0, SEEK_END) == 0 ? Self.header + "\n" : ""
        text += "pack \(pack)\n"
        for part in parts {
            text += "\(part.hash) \(part.size) \(part.begin) \(part.offset) \(part.length)\n"
        }
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
            guard count > 0 || errno == EINTR else { throw Files.error(path, "write") }
            bytes = bytes.dropFirst(max(0, count))
        }
    }

    /// The attempt has ended, or its packs are gone.
    func forget() throws(BackupError) { try Files.remove(path) }

    /// What it knows: contents that are there whole. A line that was cut ends it.
    func read() -> ArchivePlan.Source {
        var source = ArchivePlan.Source(packs: [], contents: [])
        guard let bytes = try? Files.read(path, limit: Self.longest) else { return source }
        var lines = String(decoding: bytes, as: UTF8.self)
            .split(separator: "\n", omittingEmptySubsequences: false)
        // Without its line break the last one may have been cut.
        guard lines.first.map(String.init) == Self.header else { return source }
        lines.removeLast()
        var open: [ContentHash: (size: Int64, pieces: [ArchiveRecord.Piece], length: Int64)] = [:]
        for line in lines.dropFirst() {
            let words = line.split(separator: " ")
            if words.count == 2, words[0] == "pack", ContentHash(hexadecimal: words[1]) != nil {
                source.packs.append(String(words[1]))
                continue
            }
            guard let part = Self.part(words), !source.packs.isEmpty else { return source }
            // One that begins anew is another attempt's.
            if part.begin == 0 { open[part.hash] = (part.size, [], 0) }
            guard var content = open[part.hash], content.size == part.size,
                content.length == part.begin
            else {
                open[part.hash] = nil
                continue
            }
            content.pieces.append(
                .init(pack: source.packs.count - 1, offset: part.offset, length: part.length))
            content.length += part.length
            if content.length == content.size {
                source.contents.append((part.hash, content.size, content.pieces))
                open[part.hash] = nil
            } else {
                open[part.hash] = content
            }
        }
        return source
    }

    private static func part(_ words: [Substring]) -> Part? {
        guard words.count == 5, let hash = ContentHash(hexadecimal: words[0]) else { return nil }
        let numbers = words.dropFirst().compactMap { Int64($0) }
        // Files of this size are not made; sums cannot overflow.
        guard numbers.count == 4, numbers.allSatisfy({ (0...1 << 60).contains($0) }),
            numbers[0] > 0, numbers[3] > 0, numbers[1] <= numbers[0],
            numbers[3] <= numbers[0] - numbers[1]
        else { return nil }
        return Part(
            hash: hash, size: numbers[0], begin: numbers[1], offset: numbers[2], length: numbers[3])
    }
}

extension ArchiveJournal {
    /// Forgets packs that are of no use to the attempt that begins, so that they can go.
    func keep(_ source: ArchivePlan.Source, packs: Set<String>) throws(BackupError) {
        guard source.packs.contains(where: { !packs.contains($0) }) else { return }
        var parts: [Int: [Part]] = [:]
        for content in source.contents {
            guard content.pieces.allSatisfy({ packs.contains(source.packs[$0.pack]) }) else {
                continue
            }
            var begin: Int64 = 0
            for piece in content.pieces {
                parts[piece.pack, default: []].append(
                    Part(
                        hash: content.hash, size: content.size, begin: begin,
                        offset: piece.offset, length: piece.length))
                begin += piece.length
            }
        }
        try forget()
        for (index, pack) in source.packs.enumerated() where packs.contains(pack) {
            try append(pack: pack, parts[index] ?? [])
        }
    }
}
