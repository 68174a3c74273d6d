// Reading files out of packs: every pack that is needed once, from its beginning to its end.

internal import TLS

/// Where a wanted file's bytes are.
struct WantedFile {
    var entry: FileEntry
    var pieces: [ArchiveRecord.Piece]
}

/// What becomes of files that are read.
enum ReadOutcome: Sendable, Equatable {
    /// As they were stored.
    case intact
    /// What is wrong.
    case fault(String)
}

/// Reads files from packs and compares them with their digests.
struct PackReader {
    /// Bytes of content in a pack that we read, at most; we write less.
    static let longestPack: Int64 = 64 << 20

    let store: any ArchiveStore
    let key: RecoveryKey
    /// Digests of the packs.
    let packs: [String]
    /// Hears bytes of content as they come.
    var progress: (Int64) throws(BackupError) -> Void

    /// Reads files.
    ///
    /// - Parameters:
    ///   - bytes: gets a wanted file's number, where in the file they begin, and bytes.
    ///   - done: gets a file's number and what became of it, once for each, in any order.
    func read(
        _ wanted: [WantedFile],
        bytes: (Int, Int64, ArraySlice<UInt8>) throws(BackupError) -> Void,
        done: (Int, ReadOutcome) throws(BackupError) -> Void
    ) throws(BackupError) {
        var files = Files(count: wanted.count)
        var runs: [Int: [Run]] = [:]
        for (index, file) in wanted.enumerated() {
            if let fault = fault(of: file) {
                files.fault(index, fault)
                continue
            }
            var begin: Int64 = 0
            for piece in file.pieces {
                runs[piece.pack, default: []].append(
                    Run(file: index, begin: begin, offset: piece.offset, length: piece.length))
                begin += piece.length
            }
        }
        for pack in order(wanted, files, packs: runs.keys.sorted()) {
            let inPack = (runs.removeValue(forKey: pack) ?? []).sorted {
                ($0.offset, $0.file) < ($1.offset, $1.file)
            }
            try read(pack, inPack, wanted, &files, bytes: bytes)
        }
        for (index, file) in wanted.enumerated() {
            try done(index, files.outcome(of: index, file.entry))
        }
    }

    /// A run of a file's bytes in a pack.
    private struct Run {
        var file: Int
        /// Where it begins in the file.
        var begin: Int64
        /// Where it begins in the pack.
        var offset: Int64
        var length: Int64
    }

    /// How far the files are.
    private struct Files {
        private var faults: [Int: String] = [:]
        private var digests: [Int: StreamingDigest] = [:]
        private var results: [ContentHash?]
        private var lengths: [Int64]

        init(count: Int) {
            results = Array(repeating: nil, count: count)
            lengths = Array(repeating: 0, count: count)
        }

        func isFaulty(_ file: Int) -> Bool { faults[file] != nil }

        mutating func fault(_ file: Int, _ message: String) {
            if faults[file] == nil { faults[file] = message }
            digests[file] = nil
        }

        /// Files' bytes come in their order, or not at all.
        mutating func add(
            _ file: Int, begin: Int64, _ bytes: ArraySlice<UInt8>, size: Int64
        ) {
            guard lengths[file] == begin else {
                fault(file, "its pieces are not in the order in which they were written")
                return
            }
            let digest = digests[file] ?? StreamingDigest(.sha256)
            digest.update(bytes)
            lengths[file] += Int64(bytes.count)
            if lengths[file] == size {
                results[file] = ContentHash(digest.finish())
                digests[file] = nil
            } else {
                digests[file] = digest
            }
        }

        func outcome(of file: Int, _ entry: FileEntry) -> ReadOutcome {
            if let fault = faults[file] { return .fault("\(entry.path): \(fault)") }
            guard let hash = entry.hash else { return .intact }
            let result =
                entry.size == 0 ? ContentHash(DigestAlgorithm.sha256.hash([])) : results[file]
            return result == hash
                ? .intact : .fault("\(entry.path): its content is not what was stored")
        }
    }

    // MARK: What cannot be

    /// What is wrong with a file's pieces; nil when nothing is. Whoever wrote them may have meant
    /// harm.
    private func fault(of file: WantedFile) -> String? {
        for piece in file.pieces {
            guard packs.indices.contains(piece.pack), piece.offset >= 0, piece.length > 0,
                piece.length <= Self.longestPack, piece.offset <= Self.longestPack - piece.length
            else { return "its pieces are where nothing can be" }
        }
        guard ArchivePlan.length(of: file.pieces) == file.entry.size else {
            return "its pieces are longer or shorter than it is"
        }
        return nil
    }

    /// The packs in an order in which all files' bytes come from their beginning to their end: the
    /// one in which they were written, which the files that lie in several packs tell.
    private func order(_ wanted: [WantedFile], _ files: Files, packs: [Int]) -> [Int] {
        var next: [Int: Set<Int>] = [:]
        var before: [Int: Int] = [:]
        for (index, file) in wanted.enumerated() where !files.isFaulty(index) {
            for (piece, later) in zip(file.pieces, file.pieces.dropFirst())
            where piece.pack != later.pack {
                if next[piece.pack, default: []].insert(later.pack).inserted {
                    before[later.pack, default: 0] += 1
                }
            }
        }
        var ready = Array(packs.filter { before[$0] == nil }.reversed())
        var order: [Int] = []
        while let pack = ready.popLast() {
            order.append(pack)
            for later in (next.removeValue(forKey: pack) ?? []).sorted(by: >) {
                before[later, default: 0] -= 1
                if before[later] == 0 { ready.append(later) }
            }
        }
        // Where they go in circles, files turn out to be faulty.
        let placed = Set(order)
        return order + packs.filter { !placed.contains($0) }
    }

    // MARK: One pack

    private func read(
        _ pack: Int, _ runs: [Run], _ wanted: [WantedFile], _ files: inout Files,
        bytes: (Int, Int64, ArraySlice<UInt8>) throws(BackupError) -> Void
    ) throws(BackupError) {
        let cursor = Cursor(runs: runs)
        let digest = StreamingDigest(.sha256)
        let name = packs[pack]
        var fault: String?
        var outside: BackupError?
        var state = files
        do throws(BackupError) {
            // The decryptor keeps what it is given, so it cannot have `bytes` itself.
            let plain = Plain()
            let decryptor = AgeDecryptor(key: key, subject: "pack \(name)") {
                piece throws(BackupError) in plain.bytes += piece
            }
            func drain() throws(BackupError) {
                let content = plain.bytes
                plain.bytes = []
                guard !content.isEmpty else { return }
                do throws(BackupError) {
                    try progress(Int64(content.count))
                    try cursor.take(content) { run, begin, part throws(BackupError) in
                        guard !state.isFaulty(run) else { return }
                        state.add(run, begin: begin, part, size: wanted[run].entry.size)
                        if !state.isFaulty(run) { try bytes(run, begin, part) }
                    }
                } catch {
                    outside = error
                    throw error
                }
            }
            var stored: Int64 = 0
            let isThere = try store.get(ArchiveNames.pack(name)) { piece throws(BackupError) in
                digest.update(piece)
                stored += Int64(piece.count)
                guard stored <= Self.longestPack + 65_536 else {
                    throw BackupError(.damaged, subject: name, "is longer than any that we write")
                }
                guard fault == nil else { return }
                do throws(BackupError) {
                    try decryptor.write(piece)
                } catch {
                    // Its digest will tell whether it is damaged or another's.
                    fault = error.message
                    return
                }
                try drain()
            }
            if !isThere {
                fault = "is missing"
            } else if ContentHash(digest.finish())?.description != name {
                fault = "is damaged: its digest is not its name"
            } else if fault == nil {
                try decryptor.finish()
                try drain()
            }
        } catch {
            // A place that cannot be read now is no damage.
            if outside != nil || (error.code != .damaged && error.code != .key) { throw error }
            fault = error.message
        }
        files = state
        if let fault {
            for run in runs { files.fault(run.file, "the pack \(name) \(fault)") }
        } else if !cursor.isAtEnd {
            for run in cursor.rest { files.fault(run.file, "it lies behind the end of a pack") }
        }
    }

    private final class Plain {
        var bytes: [UInt8] = []
    }

    /// Hands a pack's content to the runs that it is for. Runs may share bytes.
    private final class Cursor {
        private let runs: [Run]
        private var position: Int64 = 0
        /// The first run that has not begun.
        private var next = 0
        private var open: [Run] = []

        init(runs: [Run]) { self.runs = runs }

        var isAtEnd: Bool { open.isEmpty && next == runs.count }
        var rest: [Run] { open + runs[next...] }

        func take(
            _ content: [UInt8],
            _ body: (Int, Int64, ArraySlice<UInt8>) throws(BackupError) -> Void
        ) throws(BackupError) {
            let end = position + Int64(content.count)
            while next < runs.count, runs[next].offset < end {
                open.append(runs[next])
                next += 1
            }
            var still: [Run] = []
            for run in open {
                let from = max(run.offset, position)
                let to = min(run.offset + run.length, end)
                if from < to {
                    let part = content[Int(from - position)..<Int(to - position)]
                    try body(run.file, run.begin + from - run.offset, part)
                }
                if run.offset + run.length > end { still.append(run) }
            }
            open = still
            position = end
        }
    }
}
