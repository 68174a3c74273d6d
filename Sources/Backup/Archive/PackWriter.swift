// Filling packs: contents one after the other, encrypted while they come, cut where a pack is full.

internal import TLS

/// Makes packs. One encrypted pack is in memory at a time.
final class PackWriter {
    /// Digests of the packs that are made; the one in the making has the number behind them.
    private(set) var packs: [String] = []
    private let key: RecoveryKey
    private let emit: (String, [UInt8], [ArchiveJournal.Part]) throws(BackupError) -> Void
    private let buffer = Buffer()
    private var encryptor: AgeEncryptor?
    private var length = 0
    private var pieces: [ArchiveRecord.Piece] = []
    private var parts: [ArchiveJournal.Part] = []
    private var begin: Int64 = 0

    /// What the encryptor writes into.
    private final class Buffer {
        var bytes: [UInt8] = []
    }

    /// - Parameter emit: brings a pack to the target: its digest, its bytes, what is in it.
    init(
        key: RecoveryKey,
        emit: @escaping (String, [UInt8], [ArchiveJournal.Part]) throws(BackupError) -> Void
    ) {
        self.key = key
        self.emit = emit
    }

    /// Bytes that the pack in the making has room for.
    var room: Int { ArchivePlan.packSize - length }

    /// Begins a content.
    func beginContent() {
        pieces = []
        begin = 0
    }

    /// Adds bytes of the content. `expected` is what the content is to be: it is noted with each
    /// pack, so that another attempt finds it there.
    func write(
        _ bytes: ArraySlice<UInt8>, of expected: (hash: ContentHash, size: Int64)?
    ) throws(BackupError) {
        var rest = bytes
        while !rest.isEmpty {
            // Not as soon as it is full: what it says of its last content has to be true.
            if room == 0 { try finishPack() }
            let part = rest.prefix(room)
            let encryptor = try currentEncryptor()
            try encryptor.write(part)
            add(part.count, of: expected)
            length += part.count
            rest = rest.dropFirst(part.count)
        }
    }

    private func add(_ count: Int, of expected: (hash: ContentHash, size: Int64)?) {
        let count64 = Int64(count)
        if let last = pieces.indices.last, pieces[last].pack == packs.count {
            pieces[last].length += count64
        } else {
            pieces.append(.init(pack: packs.count, offset: Int64(length), length: count64))
        }
        if let expected {
            if let last = parts.indices.last, parts[last].hash == expected.hash,
                parts[last].begin + parts[last].length == begin
            {
                parts[last].length += count64
            } else {
                parts.append(
                    .init(
                        hash: expected.hash, size: expected.size, begin: begin,
                        offset: Int64(length), length: count64))
            }
        }
        begin += count64
    }

    /// Ends a content and says where it is.
    ///
    /// - Parameter isExpected: false for one that was not what it was to be.
    func endContent(isExpected: Bool = true) -> [ArchiveRecord.Piece] {
        if !isExpected, begin > 0 { _ = parts.popLast() }
        return pieces
    }

    private func currentEncryptor() throws(BackupError) -> AgeEncryptor {
        if let encryptor { return encryptor }
        // With what age adds: 16 bytes for each 64 KiB, and its header.
        buffer.bytes.reserveCapacity(ArchivePlan.packSize + 16_384)
        let buffer = buffer
        let made = try AgeEncryptor(recipient: key) { bytes throws(BackupError) in
            buffer.bytes += bytes
        }
        encryptor = made
        return made
    }

    /// Brings what there is of a pack.
    func finishPack() throws(BackupError) {
        guard let encryptor else { return }
        self.encryptor = nil
        try encryptor.finish()
        let digest = ContentHash(DigestAlgorithm.sha256.hash(buffer.bytes))?.description ?? ""
        try emit(digest, buffer.bytes, parts)
        packs.append(digest)
        buffer.bytes.removeAll(keepingCapacity: true)
        parts = []
        length = 0
    }
}
