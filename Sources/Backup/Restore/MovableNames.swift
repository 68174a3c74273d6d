// A restore moves what is there aside. Names that the kernel does not move are found before anything
// is: a mount point cannot be renamed, nor can anything into another file system, nor somebody else's
// folder. What is mounted deeper down moves with the folder above it.

internal import Glibc

/// Names of a folder that are to be moved within it.
struct MovableNames {
    let folder: String
    /// Where the kernel lists mounts; a test has its own.
    var mounts = "/proc/self/mountinfo"

    /// Throws when one of them cannot be moved.
    func check(_ names: some Sequence<String>) throws(BackupError) {
        var own = stat()
        guard stat(folder, &own) == 0 else { throw Files.error(folder, "look at") }
        let points = mountPoints
        for name in names {
            let path = "\(folder)/\(name)"
            var status = stat()
            guard lstat(path, &status) == 0 else { continue }
            // Files of an overlay may have the number of the file system below.
            let isFolder = status.st_mode & S_IFMT == S_IFDIR
            guard isFolder && status.st_dev != own.st_dev || points.contains(name) else {
                // A folder that gets another parent is written to.
                guard isFolder, access(path, W_OK) != 0 else { continue }
                throw BackupError(
                    .permanent, subject: path,
                    "this folder is somebody else's, so it cannot be moved aside",
                    advice: "nothing was changed; sudo chown -R --reference=\(folder) \(path)")
            }
            throw BackupError(
                .permanent, subject: path,
                "another disk or folder is mounted here, so it cannot be moved aside",
                advice: "nothing was changed; unmount it (umount \(path)), restore, and move what "
                    + "was restored there onto it; or restore to another folder with --to")
        }
    }

    /// The names in the folder that are mount points; those of bind mounts have no other number.
    private var mountPoints: Set<String> {
        guard let resolved = realpath(folder, nil) else { return [] }
        defer { free(resolved) }
        let path = String(cString: resolved)
        let prefix = Self.escaped(path == "/" ? "" : path) + [UInt8(ascii: "/")]
        var names: Set<String> = []
        for line in Self.text(mounts).split(separator: 0x0A) {
            let words = line.split(separator: UInt8(ascii: " "))
            guard words.count > 4, words[4].starts(with: prefix) else { continue }
            names.insert(String(decoding: words[4].dropFirst(prefix.count), as: UTF8.self))
        }
        return names
    }

    /// As the kernel writes paths in that list.
    private static func escaped(_ path: String) -> [UInt8] {
        path.utf8.flatMap { byte -> [UInt8] in
            switch byte {
            case 0x20: Array("\\040".utf8)
            case 0x09: Array("\\011".utf8)
            case 0x0A: Array("\\012".utf8)
            case 0x5C: Array("\\134".utf8)
            default: [byte]
            }
        }
    }

    /// Files of /proc have no size. One that cannot be read says nothing.
    private static func text(_ path: String) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return [] }
        defer { close(file) }
        var text: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while text.count < 4_194_304 {
            let count = read(file, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            text += piece[..<count]
        }
        return text
    }
}
