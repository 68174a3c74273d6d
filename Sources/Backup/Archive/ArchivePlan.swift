// Which contents of a new snapshot are in packs already, and which have to be sent.

/// Contents by their digests, each in pieces. Packs are numbers in `packs`.
struct ArchivePlan: Sendable, Equatable {
    /// Bytes of content in a pack, at most.
    static let packSize = 16 << 20
    /// Bytes that one run sends again to get rid of packs that are mostly not needed, at most.
    static let mostAgain: Int64 = 64 << 20
    /// Packs with less content are small; so many of them become few.
    static let smallPack: Int64 = 1 << 20
    static let mostSmallPacks = 64

    /// Digests of packs that are there, and of which something is needed.
    var packs: [String] = []
    /// Contents that are in them.
    var known: [ContentHash: [ArchiveRecord.Piece]] = [:]
    /// Entries whose contents have to be sent, each content once, in the order of the paths.
    var sent: [Int] = []
    /// Their bytes.
    var bytes: Int64 = 0
    /// Bytes of them that are there already, in packs that are mostly not needed.
    var bytesAgain: Int64 = 0

    /// What is known of packs: of the previous snapshot's, or of those that an attempt has left.
    struct Source {
        var packs: [String]
        var contents: [(hash: ContentHash, size: Int64, pieces: [ArchiveRecord.Piece])]
    }

    /// Nothing is known.
    init() {}

    /// - Parameters:
    ///   - list: the new snapshot's files.
    ///   - kept: paths whose content is not on this machine.
    ///   - sources: what is known of packs; of a content that two know, the first counts.
    ///   - stored: the packs that are there, and the sizes of their encrypted form.
    init(
        list: FileList, kept: Set<SnapshotPath>, sources: [Source], stored: [String: Int64]
    ) throws(BackupError) {
        // The first entry of each content that can be read here, else the first.
        var wanted: [ContentHash: Int] = [:]
        for (index, entry) in list.entries.enumerated() {
            guard case .file(let size, let hash) = entry.kind, size > 0 else { continue }
            guard let first = wanted[hash] else {
                wanted[hash] = index
                continue
            }
            if kept.contains(list.entries[first].path), !kept.contains(entry.path) {
                wanted[hash] = index
            }
        }
        for source in sources { learn(source, wanted: wanted, list, stored: stored) }
        var missing: [Int] = []
        for (hash, index) in wanted where known[hash] == nil {
            let entry = list.entries[index]
            guard !kept.contains(entry.path) else {
                throw BackupError(
                    .damaged, subject: "\(entry.path)",
                    "the pack that holds it is no longer on the target",
                    advice: "the next run makes a whole copy of the database")
            }
            missing.append(index)
            bytes += entry.size
        }
        compact(list, kept: kept, wanted: wanted, stored: stored, sent: &missing)
        sent = missing.sorted()
        forgetUnused()
    }

    private mutating func learn(
        _ source: Source, wanted: [ContentHash: Int], _ list: FileList, stored: [String: Int64]
    ) {
        // A pack that is not there, or was cut, is as if it had never been.
        let sizes = source.packs.map { stored[$0] ?? -1 }
        let numbers = source.packs.indices.map { $0 + packs.count }
        packs += source.packs
        for content in source.contents where known[content.hash] == nil {
            guard let index = wanted[content.hash], list.entries[index].size == content.size,
                content.pieces.allSatisfy({ piece in
                    sizes.indices.contains(piece.pack) && piece.offset >= 0 && piece.length > 0
                        && piece.offset < sizes[piece.pack]
                        && piece.length < sizes[piece.pack] - piece.offset
                }), Self.length(of: content.pieces) == content.size
            else { continue }
            known[content.hash] = content.pieces.map { piece in
                .init(pack: numbers[piece.pack], offset: piece.offset, length: piece.length)
            }
        }
    }

    /// Nil when no file can be so long.
    static func length(of pieces: [ArchiveRecord.Piece]) -> Int64? {
        var sum: Int64 = 0
        for piece in pieces {
            let (next, overflow) = sum.addingReportingOverflow(piece.length)
            guard !overflow, piece.length > 0 else { return nil }
            sum = next
        }
        return sum
    }

    /// Bytes of content in an encrypted pack: age adds a header, and 16 bytes to each 64 KiB.
    static func content(ofStored size: Int64) -> Int64 {
        let payload = max(0, size - 184)
        return max(0, payload - (payload / 65_552 + 1) * 16)
    }

    // MARK: Compaction

    /// Sends again what little is needed of packs that are mostly not: so they are not needed at
    /// all, and go with the last snapshot that needs them. So do many small ones.
    private mutating func compact(
        _ list: FileList, kept: Set<SnapshotPath>, wanted: [ContentHash: Int],
        stored: [String: Int64], sent: inout [Int]
    ) {
        var used = [Int64](repeating: 0, count: packs.count)
        var contents = [[ContentHash]](repeating: [], count: packs.count)
        for (hash, pieces) in known {
            for piece in pieces {
                used[piece.pack] += piece.length
                if contents[piece.pack].last != hash { contents[piece.pack].append(hash) }
            }
        }
        let sizes = packs.map { Self.content(ofStored: stored[$0] ?? 0) }
        let inUse = packs.indices.filter { used[$0] > 0 }
        let wasted = inUse.reduce(Int64(0)) { $0 + max(0, sizes[$1] - used[$1]) }
        let needed = inUse.reduce(Int64(0)) { $0 + used[$1] }
        // Not more than a fifth of what is new, lest a small change become a large one. Where
        // files change at random, that holds waste near the size of what is needed; where it is
        // twice as much, files were deleted, and nothing new would ever pay for it.
        var budget =
            wasted / 2 > needed ? Self.mostAgain : min(Self.mostAgain, bytes / 5)

        func isMovable(_ pack: Int) -> Bool {
            contents[pack].allSatisfy { hash in
                wanted[hash].map { !kept.contains(list.entries[$0].path) } ?? false
            }
        }
        let sparse = inUse.filter { used[$0] < sizes[$0] / 2 && isMovable($0) }
            .sorted { (used[$0], packs[$0]) < (used[$1], packs[$1]) }
        let small = inUse.filter { sizes[$0] < Self.smallPack && isMovable($0) }
            .sorted { (sizes[$0], packs[$0]) < (sizes[$1], packs[$1]) }
        move(sparse, contents, list, wanted, &budget, &sent)
        if small.count >= Self.mostSmallPacks {
            budget = Self.mostAgain
            move(small, contents, list, wanted, &budget, &sent)
        }
    }

    private mutating func move(
        _ candidates: [Int], _ contents: [[ContentHash]], _ list: FileList,
        _ wanted: [ContentHash: Int], _ budget: inout Int64, _ sent: inout [Int]
    ) {
        for pack in candidates {
            let moving = contents[pack].filter { known[$0] != nil }
            let indices = moving.compactMap { wanted[$0] }
            let cost = indices.reduce(Int64(0)) { $0 + list.entries[$1].size }
            guard cost <= budget else { continue }
            budget -= cost
            for hash in moving { known[hash] = nil }
            sent += indices
            bytes += cost
            bytesAgain += cost
        }
    }

    // MARK: Packs

    /// Leaves only the packs that something is in.
    private mutating func forgetUnused() {
        let (packs, contents) = Self.packed(packs, known)
        self.packs = packs
        known = contents
    }

    /// The same contents with the packs alone that they are in, in the same order.
    private static func packed(
        _ packs: [String], _ contents: [ContentHash: [ArchiveRecord.Piece]]
    ) -> (packs: [String], contents: [ContentHash: [ArchiveRecord.Piece]]) {
        var isUsed = [Bool](repeating: false, count: packs.count)
        for pieces in contents.values {
            for piece in pieces { isUsed[piece.pack] = true }
        }
        var numbers: [Int] = []
        var names: [String] = []
        for index in packs.indices {
            numbers.append(names.count)
            if isUsed[index] { names.append(packs[index]) }
        }
        let renumbered = contents.mapValues { pieces in
            pieces.map { piece in
                ArchiveRecord.Piece(
                    pack: numbers[piece.pack], offset: piece.offset, length: piece.length)
            }
        }
        return (names, renumbered)
    }
}

extension ArchivePlan.Source {
    /// What a snapshot says of its packs.
    init(packs: [String], list: FileList) {
        self.packs = packs
        contents = []
        guard list.places.count == list.entries.count else { return }
        for (entry, pieces) in zip(list.entries, list.places) {
            guard case .file(let size, let hash) = entry.kind, size > 0 else { continue }
            contents.append((hash, size, pieces))
        }
    }
}

/// Which packs may go.
enum ArchiveSweep {
    /// The packs that no snapshot needs.
    ///
    /// - Parameters:
    ///   - stored: all that are there.
    ///   - manifests: of every snapshot that is there; all of them, or something needed would go.
    ///   - unfinished: packs that the next attempt can use.
    static func packsToRemove(
        _ stored: [String], manifests: [Manifest], unfinished: Set<String>
    ) -> [String] {
        var needed = unfinished
        for manifest in manifests { needed.formUnion(manifest.archive?.packs ?? []) }
        return stored.filter { !needed.contains($0) }
    }
}
