// All files of a snapshot, in memory.

/// The files of a snapshot, by path.
public struct FileList: Sendable, Equatable {
    /// Ordered by path, each once.
    public private(set) var entries: [FileEntry]
    /// In the archive form, where each of `entries` is, in pieces; empty otherwise.
    public var places: [[ArchiveRecord.Piece]] = []

    /// Orders the entries; of two with the same path the later one stays.
    public init(_ entries: [FileEntry]) {
        var sorted = entries.enumerated().sorted {
            $0.element.path == $1.element.path
                ? $0.offset < $1.offset : $0.element.path < $1.element.path
        }.map(\.element)
        if sorted.count > 1 {
            var kept: [FileEntry] = []
            kept.reserveCapacity(sorted.count)
            for entry in sorted {
                if kept.last?.path == entry.path { kept.removeLast() }
                kept.append(entry)
            }
            sorted = kept
        }
        self.entries = sorted
    }

    /// The index of a path; nil when it is not there.
    public func index(of path: SnapshotPath) -> Int? {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].path < path { low = middle + 1 } else { high = middle }
        }
        return low < entries.count && entries[low].path == path ? low : nil
    }

    /// The entry at a path.
    public subscript(path: SnapshotPath) -> FileEntry? { index(of: path).map { entries[$0] } }
}

extension ArchiveRecord {
    /// A run of a file's bytes in a pack.
    public struct Piece: Sendable, Equatable {
        /// The pack's number in `packs`.
        public var pack: Int
        /// Where it begins in the pack's content.
        public var offset: Int64
        /// Bytes.
        public var length: Int64
        /// Creates a piece.
        public init(pack: Int, offset: Int64, length: Int64) {
            self.pack = pack
            self.offset = offset
            self.length = length
        }
    }
}
