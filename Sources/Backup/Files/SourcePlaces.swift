// Where a snapshot's files are on this machine, to look at them again while it is being stored.

internal import Glibc

/// Finds the source of a file.
struct SourcePlaces {
    /// The longest folder first, for that one counts.
    private let places: [(folder: [UInt8], place: [UInt8])]

    init(_ sources: [(folder: SnapshotPath, place: String)]) {
        places = sources.map { ($0.folder.bytes, Array($0.place.utf8)) }
            .sorted { $0.folder.count > $1.folder.count }
    }

    /// For the calls of the system; nil when nothing says where it is.
    func place(of path: SnapshotPath) -> [CChar]? {
        let bytes = path.bytes
        for (folder, place) in places where bytes.starts(with: folder) {
            guard bytes.count == folder.count || bytes[folder.count] == UInt8(ascii: "/") else {
                continue
            }
            return (place + bytes[folder.count...] + [0]).map { CChar(bitPattern: $0) }
        }
        return nil
    }

    /// What is there now; nil when nothing is.
    func status(_ path: SnapshotPath) -> stat? {
        var status = stat()
        guard let place = place(of: path), lstat(place, &status) == 0 else { return nil }
        return status
    }

    /// Whether a file is as it was when the sources were walked, as far as size and time tell.
    func isUnchanged(_ entry: FileEntry) -> Bool {
        guard let status = status(entry.path) else { return false }
        return status.st_mode & S_IFMT == S_IFREG && status.st_size == entry.size
            && nanoseconds(status) == entry.modified
    }
}
