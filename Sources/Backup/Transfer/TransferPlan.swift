// Which places of this machine are sent where, in as few calls as the names allow.

internal import Glibc

/// What is sent in one call.
struct TransferStep: Sendable, Equatable {
    /// See `TransferRequest.sources`.
    var sources: [String]
    /// The folder of the snapshot that they go to: empty, or with a slash at its end. Without one it
    /// is the name that the only source, a file, gets.
    var folder: String
    /// See `TransferRequest.excludes`.
    var excludes: [String] = []

    /// The folder that has to be there first, without a slash at its end.
    var parent: String {
        guard let slash = folder.lastIndex(of: "/") else { return "" }
        return String(folder[..<slash])
    }

    /// The steps for a snapshot. Places that are not there are left out.
    ///
    /// - Parameter partial: the folder that the snapshot is made in, if it is on this machine: what
    ///   is in its place there already is left out.
    static func all(
        for snapshot: PreparedSnapshot, partial: String? = nil
    ) throws(BackupError) -> [TransferStep] {
        var steps: [TransferStep] = []
        for (folder, place) in snapshot.sources {
            let isExtra = folder.isBelow("extra")
            if let partial, place == "\(partial)/\(folder)" { continue }
            if snapshot.leftOut.contains(Array(place.utf8)) { continue }
            guard let place = try resolved(place, keepsLink: isExtra) else { continue }
            let name = folder.components.last.map { String(decoding: $0, as: UTF8.self) } ?? ""
            let parent = String(folder.description.dropLast(name.count))
            var step: TransferStep
            if place.path.hasSuffix("/" + name) {
                step = TransferStep(sources: [place.path], folder: parent)
            } else if place.isFolder {
                step = TransferStep(sources: [place.path + "/"], folder: "\(folder)/")
            } else {
                step = TransferStep(sources: [place.path], folder: folder.description)
            }
            if isExtra {
                let top =
                    step.sources[0].hasSuffix("/") ? place.path : Files.parent(of: place.path)
                step.excludes = snapshot.excludes.compactMap {
                    ExcludePattern($0).forRsync(below: top == "/" ? "" : top)
                }
            }
            if let index = steps.firstIndex(where: {
                $0.folder == step.folder && $0.excludes == step.excludes
            }) {
                steps[index].sources += step.sources
            } else {
                steps.append(step)
            }
        }
        return steps
    }

    /// What of our own is behind a link, such as uploads on another disk, is meant.
    private static func resolved(
        _ place: String, keepsLink: Bool
    ) throws(BackupError) -> (path: String, isFolder: Bool)? {
        var status = stat()
        guard lstat(place, &status) == 0 else {
            if errno == ENOENT { return nil }
            throw Files.error(place, "read")
        }
        let kind = status.st_mode & S_IFMT
        guard kind == S_IFLNK, !keepsLink else { return (place, kind == S_IFDIR) }
        guard let found = realpath(place, nil) else { throw Files.error(place, "read") }
        defer { free(found) }
        let path = String(cString: found)
        guard stat(path, &status) == 0 else { throw Files.error(path, "read") }
        return (path, status.st_mode & S_IFMT == S_IFDIR)
    }
}
