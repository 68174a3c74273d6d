// What an archive needs of a machine that takes files only in batches, and how rsync does it.

/// Copies whole files to and from a folder on another machine. Names are relative to that folder.
protocol RemoteCopy {
    /// For messages.
    var place: String { get }
    /// Whether files can be removed there.
    var canRemove: Bool { get }
    /// Sends everything below a local folder, in place of what has the same name. A file is there
    /// whole, durable and under its name, or it is not there.
    func upload(_ folder: String) throws(BackupError)
    /// Brings a file to a local path; false when there is none.
    ///
    /// - Parameter limit: a larger one is not brought, in bytes.
    func download(_ name: String, to path: String, limit: Int) throws(BackupError) -> Bool
    /// All files below a folder.
    func list(_ folder: String) throws(BackupError) -> [ArchiveFile]
    /// Removes files; what is gone already is no failure.
    ///
    /// - Parameter folder: an empty local one.
    func delete(_ names: [String], with folder: String) throws(BackupError)
}

/// Copies with rsync, over SSH or to a daemon.
struct RsyncRemoteCopy: RemoteCopy {
    private let target: RsyncTarget
    private let context: TargetContext

    /// Asks the other side what it allows, once a day.
    ///
    /// - Parameters:
    ///   - target: names the place; nothing but its calls of rsync is used.
    ///   - forWriting: false leaves out what only a writer has to know.
    init(
        _ target: RsyncTarget, _ context: TargetContext, forWriting: Bool = true
    ) throws(BackupError) {
        self.target = target
        self.context = context
        try target.explore(context, forWriting: forWriting)
    }

    var place: String { "\(target.place)" }
    var canRemove: Bool { target.canRemove }

    func upload(_ folder: String) throws(BackupError) {
        // Neither modes nor times of folders: theirs are none of our business.
        try target.accept(
            try target.call(
                ["-rtO"] + target.durable, [folder + "/", target.remote("")], timeout: 3600,
                context), context)
    }

    func download(
        _ name: String, to path: String, limit: Int
    ) throws(BackupError) -> Bool {
        let outcome = try target.call(
            ["-t", "--no-links", "--no-devices", "--no-specials", "--max-size=\(limit)"],
            [target.remote(name), path], timeout: 3600, context)
        if case .failure(let error) = outcome, RsyncTarget.isMissing(error) { return false }
        try target.accept(outcome, context)
        guard Files.exists(path) else {
            throw BackupError(
                .damaged, subject: "\(place)/\(name)",
                "this is no file of at most \(limit) bytes")
        }
        return true
    }

    func list(_ folder: String) throws(BackupError) -> [ArchiveFile] {
        var files: [ArchiveFile] = []
        let outcome = try target.call(
            ["--list-only", "-r"], [target.remote(folder + "/")], timeout: 3600, context
        ) { line in
            guard let listing = RsyncListing(line), listing.kind == UInt8(ascii: "-"),
                SnapshotPath(listing.name) != nil, files.count <= ArchiveNames.mostFiles
            else { return }
            let name = String(decoding: listing.name, as: UTF8.self)
            files.append(ArchiveFile(name: "\(folder)/\(name)", size: listing.size))
        }
        if case .failure(let error) = outcome, RsyncTarget.isMissing(error) { return [] }
        try target.accept(outcome, context)
        try ArchiveNames.checkCount(files, place)
        return files
    }

    func delete(_ names: [String], with folder: String) throws(BackupError) {
        guard !names.isEmpty else { return }
        // Folders that are on both sides stay; what no pattern includes is protected.
        var patterns: [String] = []
        for name in names {
            var path = ""
            for component in name.split(separator: "/").dropLast() {
                path += "/\(component)"
                if !patterns.contains(path + "/") { patterns.append(path + "/") }
            }
            try Files.makeFolder(folder + path)
            patterns.append("/" + name)
        }
        try target.accept(
            try target.call(
                ["-rO", "--delete"] + patterns.map { "--include=\($0)" } + ["--exclude=*"],
                [folder + "/", target.remote("")], timeout: 3600, context), context)
    }
}
