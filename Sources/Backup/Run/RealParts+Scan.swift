// What belongs into a snapshot besides the database: uploads, configuration, small files of the data
// directory, secrets, and what the owner added.

internal import Glibc

extension BackupProgram {
    /// Small files of the data directory that are kept as they are.
    private static let dataFiles = ["ca.crt", "server.crt"]
    /// The largest file that is copied into staging.
    private static let largestCopy = 16 << 20

    func scan(_ request: ScanRequest) throws(BackupError) -> ScanFound {
        let staging = request.staging
        var roots: [SourceScan.Root] = []
        var found = ScanFound(entries: [], sources: [])
        func add(
            _ folder: String, _ place: String, keepsLinks: Bool = false, excludes: [String] = []
        ) throws(BackupError) {
            guard let path = SnapshotPath(folder) else {
                throw BackupError(.permanent, subject: folder, "this cannot be in a snapshot")
            }
            roots.append(
                SourceScan.Root(
                    folder: path, place: place, keepsLinks: keepsLinks,
                    excludes: excludes.map { ExcludePattern($0) }))
            found.sources.append((path, place))
        }
        if Files.exists(dataDirectory + "/uploads") {
            try add("uploads", dataDirectory + "/uploads")
        }
        if let configuration {
            try copy(configuration, to: staging + "/config", as: "kinglet.yaml")
            for file in namedFiles where !file.isSecret {
                guard Files.exists(file.path) else {
                    request.context.warn("\(file.path) is not there and is left out")
                    continue
                }
                try copy(file.path, to: staging + "/config", as: file.name)
            }
            try add("config", staging + "/config")
        }
        for file in namedFiles where Files.exists(file.path) {
            found.named["\(file.isSecret ? "secrets" : "config")/\(file.name)"] = file.path
        }
        let small = Self.dataFiles.filter { Files.exists("\(dataDirectory)/\($0)") }
        for name in small { try copy("\(dataDirectory)/\(name)", to: staging + "/data", as: name) }
        if !small.isEmpty { try add("data", staging + "/data") }
        for (index, path) in request.job.extra.enumerated() {
            let place = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
            guard Files.exists(place) else {
                request.context.warn("\(place) is not there and is left out")
                continue
            }
            found.extra["\(index + 1)"] = place
            try add(
                "extra/\(index + 1)", place, keepsLinks: true, excludes: request.job.exclude)
        }
        let scan = SourceScan(
            roots: roots, previous: request.previous, wantsMD5: request.needsMD5,
            cancellation: request.context.cancellation, progress: request.context.progress,
            warn: request.context.warn)
        let result = try scan.run()
        found.entries = result.list.entries
        found.leftOut = result.leftOut
        return found
    }

    /// What the configuration names and the snapshot would not have otherwise, with the names that it
    /// gets there: numbered, for two may have the same.
    private var namedFiles: [(path: String, isSecret: Bool, name: String)] {
        var seen: Set<String> = []
        let own = Set(Self.dataFiles.map { "\(dataDirectory)/\($0)" })
        var files = named()
        for target in settings.targets {
            if let file = target.passwordFile { files.append(NamedFile(file, isSecret: true)) }
        }
        return files.filter { file in
            !file.path.hasPrefix(secrets + "/") && !own.contains(file.path)
                && seen.insert(file.path).inserted
        }.enumerated().map { index, file in
            let base = file.path.split(separator: "/").last.map(String.init) ?? "file"
            return (file.path, file.isSecret, "named-\(index + 1)-\(base)")
        }
    }

    /// The encrypted secrets. As long as they are the same, so is the file: encrypting them again
    /// would make another.
    func archiveSecrets(
        _ request: ScanRequest
    ) throws(BackupError) -> (entry: FileEntry, place: String)? {
        guard Files.exists(secrets), let path = SnapshotPath("secrets.age") else { return nil }
        let file = request.context.memory + "/secrets.age"
        let note = request.context.memory + "/secrets-digest"
        let more = namedFiles.filter { $0.isSecret && Files.exists($0.path) }.map {
            (name: $0.name, place: $0.path)
        }
        // What an earlier restore has left there under such a name gives way to the present one.
        let excluding = Set(["backup.key"] + more.map(\.name))
        let digest = try SecretsArchive.digest(of: secrets, excluding: excluding, more: more)
        let text = "\(digest) \(try request.context.key.recipient)"
        let known = try Files.read(note, limit: 256).map { String(decoding: $0, as: UTF8.self) }
        if known != text || !Files.exists(file) {
            try Files.remove(note)
            let written = try SecretsArchive.write(
                folder: secrets, to: file, key: request.context.key, excluding: excluding,
                more: more, warn: request.context.warn)
            let new = "\(written.digest) \(try request.context.key.recipient)"
            try Files.replace(note, Array(new.utf8), mode: 0o600)
        }
        let scan = SourceScan(
            roots: [SourceScan.Root(folder: path, place: file)], previous: request.previous,
            wantsMD5: request.needsMD5, cancellation: request.context.cancellation,
            progress: { _ in }, warn: request.context.warn)
        guard let entry = try scan.run().list.entries.first else {
            throw BackupError(.temporary, subject: file, "it has vanished")
        }
        return (entry, file)
    }

    /// Copies a small file with its time, so that it is the same file in the next snapshot.
    private func copy(_ file: String, to folder: String, as name: String) throws(BackupError) {
        var status = stat()
        guard stat(file, &status) == 0 else { throw Files.error(file, "read") }
        // Its last component may be a link, as those to the files of another program.
        guard let real = realpath(file, nil) else { throw Files.error(file, "read") }
        defer { free(real) }
        guard let bytes = try Files.read(String(cString: real), limit: Self.largestCopy) else {
            return
        }
        try Files.makeFolder(folder)
        let place = "\(folder)/\(name)"
        try Files.writeNew(place, bytes, mode: 0o600)
        let times = [status.st_mtim, status.st_mtim]
        guard utimensat(AT_FDCWD, place, times, AT_SYMLINK_NOFOLLOW) == 0 else {
            throw Files.error(place, "write")
        }
    }
}

/// Whether a folder can hold snapshots as trees.
enum FolderForm {
    /// What is there says it; where nothing is yet, whether hard links can be made, or that nothing
    /// can be found out.
    static func isTree(_ path: String, isOwn: Bool) -> Bool {
        guard !isOwn, Files.exists(path) else { return true }
        let marker = try? Files.read(
            "\(path)/\(ArchiveNames.marker)", limit: ArchiveMarker.longest)
        if let isArchive = ArchiveMarker.isArchive(marker ?? nil) { return !isArchive }
        return hasHardLinks(path)
    }

    private static func hasHardLinks(_ path: String) -> Bool {
        // The same names each time, so that what a killed command leaves goes with the next.
        let one = "\(path)/.kinglet-link"
        let other = one + "-2"
        unlink(one)
        unlink(other)
        let file = open(one, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { return true }
        close(file)
        defer {
            unlink(one)
            unlink(other)
        }
        if link(one, other) == 0 { return true }
        return ![EPERM, ENOSYS, EOPNOTSUPP, EMLINK].contains(errno)
    }
}
