// All files of a snapshot, in memory.

/// The files of a snapshot, by path.
public struct FileList: Sendable, Equatable {
    /// Ordered by path, each once.
    public private(set) var entries: [FileEntry]
    /// In the archive form, where each of `entries` is, in pieces; empty otherwise.
    public var places: [[ArchiveRecord.Piece]] = []

    /// Orders the entries; of two with the same path the later one stays.
    public init(_ entries: consuming [FileEntry]) {
        // In place, for there may be millions. The order of equals stays.
        entries.sort { $0.path < $1.path }
        var kept = entries.startIndex
        for index in entries.indices.dropFirst() {
            if entries[index].path != entries[kept].path { kept += 1 }
            if kept != index { entries[kept] = entries[index] }
        }
        if !entries.isEmpty { entries.removeSubrange((kept + 1)...) }
        self.entries = entries
    }

    /// The index of a path; nil when it is not there.
    public func index(of path: SnapshotPath) -> Int? { index(ofBytes: path.bytes) }

    /// The same for a path that was not made yet.
    func index(ofBytes path: [UInt8]) -> Int? {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if SnapshotPath.precedes(entries[middle].path.bytes, path) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        return low < entries.count && entries[low].path.bytes == path ? low : nil
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
