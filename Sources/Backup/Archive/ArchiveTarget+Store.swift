// Storing a snapshot: packs, then lists, then the consent of whoever checks, then the manifest.

internal import Glibc

extension ArchiveTarget {
    func store(
        _ snapshot: PreparedSnapshot, _ context: TargetContext,
        check: (Stored) throws(BackupError) -> Void
    ) throws(BackupError) -> TransferReport {
        let run = ArchiveRun(store: try opened(context), snapshot, context)
        let id = snapshot.manifest.id
        guard try run.store.size(of: ArchiveNames.snapshot(id)) == nil else {
            throw BackupError(
                .permanent, subject: "snapshot \(id)", "there is one of this name already")
        }
        try run.sendContents()
        try run.sendLists()
        try run.store.flush()
        let list = run.list
        let packs = run.packs
        let stored = Stored(
            new: run.new,
            verify: { entries throws(BackupError) in
                let wanted = ArchiveTarget.wanted(entries, in: list)
                return try Self.verify(wanted, packs: packs, run.store, context)
            }, folder: nil, list: list)
        try check(stored)
        try context.cancellation.check()
        context.progress(Progress(.publication))
        try ArchiveMarker.confirm(run.store, context)
        let bytes = try ManifestFile.encode(run.manifest, key: context.key)
        let sealed = try AgeFile.seal(bytes, key: context.key)
        try run.store.put(ArchiveNames.snapshot(id), sealed)
        try run.store.flush()
        run.report.bytesSent += Int64(sealed.count)
        // From here on it is a snapshot, whatever becomes of the rest.
        let memory = ArchiveMemory(context)
        do throws(BackupError) {
            try memory.keep(manifest: bytes, id)
            try memory.keep(listsOf: run.manifest)
            try ArchiveJournal(memory: context.memory).forget()
        } catch {
            context.warn("\(name): \(error)")
        }
        return run.report
    }
}

/// The storing of one snapshot.
private final class ArchiveRun {
    let store: any ArchiveStore
    let snapshot: PreparedSnapshot
    let context: TargetContext
    var manifest: Manifest
    var report = TransferReport()
    /// Digests of all packs that are used so far.
    private(set) var packs: [String] = []
    /// The snapshot's files as they were read, with their places.
    private(set) var list = FileList([])
    /// Files whose contents were sent, by this attempt or by one that did not end.
    private(set) var new: [FileEntry] = []

    private let journal: ArchiveJournal
    private let sources: ArchiveSources
    private var entries: [FileEntry]
    private var places: [ContentHash: [ArchiveRecord.Piece]] = [:]
    /// Sizes of the packs that are on the target.
    private var stored: [String: Int64] = [:]
    /// Files of the owner's own paths that are gone.
    private var vanished: Set<Int> = []
    private var totalBytes: Int64 = 0

    init(store: any ArchiveStore, _ snapshot: PreparedSnapshot, _ context: TargetContext) {
        self.store = store
        self.snapshot = snapshot
        self.context = context
        manifest = snapshot.manifest
        journal = ArchiveJournal(memory: context.memory)
        sources = ArchiveSources(snapshot.sources)
        entries = snapshot.list.entries
    }

    // MARK: Contents

    func sendContents() throws(BackupError) {
        for file in try store.list(ArchiveNames.packs) {
            if let digest = ArchiveNames.pack(of: file.name) { stored[digest] = file.size }
        }
        if snapshot.sharesNothing { try journal.forget() }
        let unfinished = journal.read()
        var known: [ArchivePlan.Source] = []
        if let previous = snapshot.previous, let archive = previous.manifest.archive {
            known.append(.init(packs: archive.packs, list: previous.list))
        }
        if let own = snapshot.previousOfJob, let archive = own.manifest.archive,
            own.manifest.id != snapshot.previous?.manifest.id
        {
            known.append(.init(packs: archive.packs, list: own.list))
        }
        known.append(unfinished)
        let plan = try ArchivePlan(
            list: snapshot.list, kept: snapshot.kept, sources: known, stored: stored)
        try journal.keep(unfinished, packs: Set(plan.packs))
        packs = plan.packs
        places = plan.known
        totalBytes = plan.bytes
        try checkSpace(plan.bytes)

        let writer = makeWriter(sends: .transfer)
        // What an earlier attempt has brought was never read back.
        var sentHashes = Set(unfinished.contents.map(\.hash))
        var pending = plan.sent
        while !pending.isEmpty {
            for index in pending {
                if let hash = try send(index, writer) { sentHashes.insert(hash) }
            }
            pending = unplaced()
        }
        try writer.finishPack()
        packs += writer.packs
        finishList(sentHashes)
    }

    /// The first entry of each content that has no place: two had the same, and the one that was
    /// read has changed.
    private func unplaced() -> [Int] {
        var seen: Set<ContentHash> = []
        return entries.indices.filter { index in
            guard let hash = entries[index].hash, entries[index].size > 0, places[hash] == nil,
                !vanished.contains(index)
            else { return false }
            return seen.insert(hash).inserted
        }
    }

    /// Ample space for everything, before half of it is there.
    private func checkSpace(_ bytes: Int64) throws(BackupError) {
        guard let space = try store.space() else { return }
        let needed = bytes + bytes / 5
        guard space.free < needed else { return }
        throw BackupError(
            .full, subject: store.place,
            "\(bytes) bytes have to go there, and \(space.free) are free",
            advice: "free some space there, or keep less")
    }

    private func makeWriter(sends phase: Progress.Phase) -> PackWriter {
        PackWriter(key: context.key) { [self] digest, bytes, parts throws(BackupError) in
            try context.cancellation.check()
            try store.put(ArchiveNames.pack(digest), bytes) { count in
                report.bytesSent += Int64(count)
            }
            stored[digest] = Int64(bytes.count)
            try journal.append(pack: digest, parts)
            context.progress(
                Progress(phase, bytes: report.literalBytes, totalBytes: totalBytes))
        }
    }

    /// Sends a file's content; nil when there was none to send.
    ///
    /// What is ours is described a moment before and must still be so. The owner's own files
    /// change as they like: what is read is what the snapshot has.
    private func send(_ index: Int, _ writer: PackWriter) throws(BackupError) -> ContentHash? {
        let entry = entries[index]
        guard case .file(let size, let hash) = entry.kind else { return nil }
        let isOwners = entry.path.isBelow("extra")
        guard let file = try sources.open(entry.path) else {
            guard isOwners else { throw changed(entry, "is gone") }
            context.warn("\(entry.path): is gone since it was found, and left out")
            vanished.insert(index)
            return nil
        }
        defer { close(file) }
        writer.beginContent()
        let reading = try ArchiveReading(file: file, path: entry.path) {
            piece throws(BackupError) in
            try context.cancellation.check()
            report.literalBytes += Int64(piece.count)
            try writer.write(piece, of: (hash, size))
        }
        let isSame = reading.size == size && reading.hash == hash
        let pieces = writer.endContent(isExpected: isSame).map { piece in
            ArchiveRecord.Piece(
                pack: piece.pack + packs.count, offset: piece.offset, length: piece.length)
        }
        report.files += 1
        if isSame {
            places[hash] = pieces
            return hash
        }
        guard isOwners, let found = reading.hash else { throw changed(entry, "has changed") }
        entries[index] = FileEntry(
            path: entry.path, kind: .file(size: reading.size, hash: found), mode: reading.mode,
            modified: reading.modified)
        if reading.size > 0 { places[found] = places[found] ?? pieces }
        return found
    }

    private func changed(_ entry: FileEntry, _ what: String) -> BackupError {
        BackupError(
            .temporary, subject: "\(entry.path)", "it \(what) since the snapshot was prepared")
    }

    private func finishList(_ sent: Set<ContentHash>) {
        let isChanged = entries != snapshot.list.entries || !vanished.isEmpty
        entries = entries.indices.filter { !vanished.contains($0) }.map { entries[$0] }
        list = FileList(entries)
        // Loops, for Swift 6.3.1's optimiser fails on closures here.
        var found: [[ArchiveRecord.Piece]] = []
        new = []
        for entry in list.entries {
            guard case .file(let size, let hash) = entry.kind else {
                found.append([])
                continue
            }
            found.append(size > 0 ? places[hash] ?? [] : [])
            if sent.contains(hash) { new.append(entry) }
        }
        list.places = found
        // Of a large instance this is megabytes.
        places = [:]
        if isChanged {
            manifest.files = entries.count { $0.hash != nil }
            manifest.bytes = entries.reduce(0) { $0 + $1.size }
        }
        report.matchedBytes = max(0, manifest.bytes - report.literalBytes)
    }

    // MARK: Lists

    func sendLists() throws(BackupError) {
        let parts = FileListCodec.encode(list, packs: packs)
        let known = knownLists(Set(parts.map(\.list.sha256)))
        let writer = makeWriter(sends: .transfer)
        let base = packs.count
        var later: [Int: ArchiveRecord.Place] = [:]
        let memory = ArchiveMemory(context)
        for (index, part) in parts.enumerated() {
            let entry = WantedFile(part.list, at: .init(pack: 0, offset: 0))?.entry
            if let entry, !memory.has(list: part.list) {
                try memory.keep(list: part.bytes, entry)
            }
            if known[part.list.sha256] != nil { continue }
            if writer.room < part.bytes.count { try writer.finishPack() }
            writer.beginContent()
            try writer.write(part.bytes[...], of: nil)
            guard let piece = writer.endContent().first, piece.length == part.list.size else {
                throw BackupError(
                    .permanent, subject: part.list.path, "it is longer than a pack")
            }
            later[index] = .init(pack: base + piece.pack, offset: piece.offset)
        }
        try writer.finishPack()
        packs += writer.packs
        var numbers = Dictionary(
            packs.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        let lists = parts.indices.compactMap { index -> ArchiveRecord.Place? in
            if let place = later[index] { return place }
            guard let place = known[parts[index].list.sha256] else { return nil }
            if numbers[place.pack] == nil {
                numbers[place.pack] = packs.count
                packs.append(place.pack)
            }
            return numbers[place.pack].map { .init(pack: $0, offset: place.offset) }
        }
        manifest.lists = parts.map(\.list)
        manifest.archive = record(lists)
    }

    /// Lists that are on the target, and where, unless they are strewn over packs that hold little
    /// else that is needed.
    private func knownLists(_ wanted: Set<String>) -> [String: (pack: String, offset: Int64)] {
        guard let previous = snapshot.previous?.manifest, let archive = previous.archive else {
            return [:]
        }
        var known: [String: (pack: String, offset: Int64)] = [:]
        var used: [String: Int64] = [:]
        for (list, place) in zip(previous.lists, archive.lists) where wanted.contains(list.sha256) {
            guard archive.packs.indices.contains(place.pack) else { continue }
            let pack = archive.packs[place.pack]
            guard let size = stored[pack], place.offset < size, list.size < size - place.offset
            else { continue }
            if known[list.sha256] == nil { used[pack, default: 0] += list.size }
            known[list.sha256] = (pack, place.offset)
        }
        let small = used.keys.filter { (stored[$0] ?? 0) < ArchivePlan.smallPack }
        let isStrewn = small.count >= ArchivePlan.mostSmallPacks
        return known.filter { _, place in
            let size = stored[place.pack] ?? 0
            if isStrewn, size < ArchivePlan.smallPack { return false }
            return (used[place.pack] ?? 0) >= ArchivePlan.content(ofStored: size) / 2
        }
    }

    /// The packs that are needed, and the lists' places in those.
    private func record(_ lists: [ArchiveRecord.Place]) -> ArchiveRecord {
        var isUsed = [Bool](repeating: false, count: packs.count)
        for pieces in list.places { for piece in pieces { isUsed[piece.pack] = true } }
        for place in lists { isUsed[place.pack] = true }
        var numbers: [Int] = []
        var names: [String] = []
        for index in packs.indices {
            numbers.append(names.count)
            if isUsed[index] { names.append(packs[index]) }
        }
        return ArchiveRecord(
            packs: names,
            lists: lists.map { .init(pack: numbers[$0.pack], offset: $0.offset) })
    }
}
