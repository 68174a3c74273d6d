// How much a file system still takes, and how much of that is left to others: on the card that the
// data is on, the server goes on writing while a copy of it grows.

internal import Glibc

/// Space on the file system of a path, in bytes.
struct FileSystemSpace: Sendable, Equatable {
    /// What we may use.
    var free: Int64
    /// In all.
    var total: Int64
    /// Where it is mounted, for messages.
    var place: String

    init(free: Int64, total: Int64, place: String) {
        self.free = free
        self.total = total
        self.place = place
    }

    /// Nil when the path is not there, or its file system does not tell.
    init?(of path: String) {
        var status = statvfs()
        guard statvfs(path, &status) == 0, status.f_blocks > 0 else { return nil }
        func bytes(_ blocks: UInt) -> Int64 {
            let (product, overflow) = Int64(clamping: blocks).multipliedReportingOverflow(
                by: Int64(clamping: status.f_frsize))
            return overflow ? .max : product
        }
        free = bytes(status.f_bavail)
        total = bytes(status.f_blocks)
        place = Self.mountPoint(of: path)
    }

    /// What no copy takes of it: 64 MiB are some minutes of a busy server, and a small file system
    /// is not to be out of reach because of them.
    var reserve: Int64 { min(64 << 20, total / 100) }

    /// Throws unless so many bytes fit in beside the reserve.
    func check(for bytes: Int64, what: String) throws(BackupError) {
        guard bytes > free - reserve else { return }
        throw BackupError(
            .full, subject: what,
            "it needs about \(Self.megabytes(bytes)) MB on the file system mounted at \(place),"
                + " where \(Self.megabytes(free)) MB are free"
                + " and \(Self.megabytes(reserve)) MB have to stay free",
            advice: "free some space there")
    }

    private static func megabytes(_ bytes: Int64) -> Int64 { bytes / 1_000_000 }

    /// The last folder above the path that is on the same device.
    private static func mountPoint(of path: String) -> String {
        guard let real = realpath(path, nil) else { return path }
        var place = String(cString: real)
        Glibc.free(real)
        var status = stat()
        guard stat(place, &status) == 0 else { return path }
        let device = status.st_dev
        while place != "/" {
            let parent = Files.parent(of: place)
            guard stat(parent, &status) == 0, status.st_dev == device else { break }
            place = parent
        }
        return place
    }
}
