// Bringing files back from an archive, and comparing what is there with what was stored.

internal import Glibc

extension ArchiveTarget {
    /// Where files are; those that the list does not have get a place where nothing can be.
    static func wanted(_ entries: [FileEntry], in list: FileList) -> [WantedFile] {
        entries.map { entry in
            guard let index = list.index(of: entry.path), list.places.indices.contains(index)
            else {
                return WantedFile(entry: entry, pieces: [.init(pack: -1, offset: 0, length: 0)])
            }
            return WantedFile(entry: entry, pieces: list.places[index])
        }
    }

    func verify(
        _ entries: [FileEntry], of manifest: Manifest, _ context: TargetContext
    ) throws(BackupError) -> VerificationReport {
        let store = try opened(context)
        var faults: [String] = []
        // What is remembered here could hide what was done to the target.
        do throws(BackupError) {
            if try storedManifest(of: manifest.id, context).manifest != manifest {
                faults.append("the manifest of \(manifest.id) is not the one that was stored")
            }
        } catch {
            guard error.code == .damaged || error.code == .key else { throw error }
            faults.append("\(error)")
        }
        let packs = manifest.archive?.packs ?? []
        var wanted: [WantedFile] = []
        do throws(BackupError) {
            wanted = Self.wanted(entries, in: try list(of: manifest, context))
        } catch {
            guard error.code == .damaged else { throw error }
            faults.append("\(error)")
        }
        for (list, place) in zip(manifest.lists, manifest.archive?.lists ?? []) {
            if let file = WantedFile(list, at: place) { wanted.append(file) }
        }
        var report = try Self.verify(wanted, packs: packs, store, context)
        for fault in faults { report.add(fault) }
        return report
    }

    static func verify(
        _ wanted: [WantedFile], packs: [String], _ store: any ArchiveStore,
        _ context: TargetContext
    ) throws(BackupError) -> VerificationReport {
        var report = VerificationReport()
        let reader = Self.reader(wanted, packs: packs, .verification, store, context)
        try reader.read(wanted) { _, _, bytes throws(BackupError) in
            report.bytes += Int64(bytes.count)
        } done: { index, outcome throws(BackupError) in
            if wanted[index].entry.hash != nil { report.files += 1 }
            if case .fault(let message) = outcome { report.add(message) }
        }
        return report
    }

    private static func reader(
        _ wanted: [WantedFile], packs: [String], _ phase: Progress.Phase,
        _ store: any ArchiveStore, _ context: TargetContext
    ) -> PackReader {
        var isNeeded: Set<Int> = []
        for file in wanted { for piece in file.pieces { isNeeded.insert(piece.pack) } }
        // Packs are full but for the last ones; the end comes earlier rather than later.
        let (total, overflow) = Int64(isNeeded.count).multipliedReportingOverflow(
            by: Int64(ArchivePlan.packSize))
        var done: Int64 = 0
        return PackReader(store: store, key: context.key, packs: packs) {
            count throws(BackupError) in
            try context.cancellation.check()
            done += count
            context.progress(
                Progress(phase, bytes: done, totalBytes: overflow ? nil : max(done, total)))
        }
    }

    func fetch(
        _ entries: [FileEntry], of manifest: Manifest, into folder: String,
        _ context: TargetContext
    ) throws(BackupError) {
        let wanted = Self.wanted(entries, in: try list(of: manifest, context))
        let output = try FetchedFiles(folder)
        for entry in entries where entry.kind == .folder { try output.makeFolder(entry.path) }
        for file in wanted where file.entry.hash != nil { try output.create(file.entry.path) }
        let reader = Self.reader(
            wanted, packs: manifest.archive?.packs ?? [], .download, try opened(context), context)
        var faults: [String] = []
        var count = 0
        try reader.read(
            wanted.map { $0.entry.hash == nil ? .init(entry: $0.entry, pieces: []) : $0 }
        ) { index, begin, bytes throws(BackupError) in
            try output.write(bytes, at: begin, wanted[index].entry.path)
        } done: { index, outcome throws(BackupError) in
            guard case .fault(let message) = outcome else { return }
            let isMissed = context.mayMiss(wanted[index].entry, message)
            if !isMissed { count += 1 }
            if !isMissed, faults.count < 10 { faults.append(message) }
            try output.remove(wanted[index].entry.path)
        }
        guard count > 0 else { return }
        throw BackupError(
            .damaged, subject: "snapshot \(manifest.id)",
            "\(count) of its files cannot be brought back: " + faults.joined(separator: "; "),
            advice: "another snapshot may have them")
    }
}

/// Files that are written below a folder, and nowhere else.
private final class FetchedFiles {
    private static let mostOpen = 16
    private let root: Int32
    private let place: String
    private var open: [SnapshotPath: Int32] = [:]

    init(_ folder: String) throws(BackupError) {
        place = folder
        root = Glibc.open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard root >= 0 else { throw Files.error(folder, "open") }
    }

    deinit {
        closeAll()
        close(root)
    }

    private func closeAll() {
        for file in open.values { close(file) }
        open = [:]
    }

    private func error(_ path: SnapshotPath, _ verb: String) -> BackupError {
        // What is in the way can only come from a list that has a file where it has a folder.
        if [EEXIST, ENOTDIR, ELOOP, EISDIR].contains(errno) {
            return BackupError(
                .damaged, subject: "\(path)", "something else is in its place",
                advice: "fetch into an empty folder")
        }
        return Files.error("\(place)/\(path)", verb)
    }

    /// The folder that a path is in, made if it must be, and the last component.
    private func folder(of path: SnapshotPath) throws(BackupError) -> (Int32, [CChar]) {
        var components = path.components.map { $0.map { CChar(bitPattern: $0) } + [0] }
        let last = components.removeLast()
        var folder = dup(root)
        for component in components where folder >= 0 {
            if mkdirat(folder, component, 0o700) != 0, errno != EEXIST {
                defer { close(folder) }
                throw error(path, "make the folder of")
            }
            let next = openat(
                folder, component, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            let code = errno
            close(folder)
            errno = code
            folder = next
        }
        guard folder >= 0 else { throw error(path, "open the folder of") }
        return (folder, last)
    }

    func makeFolder(_ path: SnapshotPath) throws(BackupError) {
        let (folder, last) = try folder(of: path)
        defer { close(folder) }
        guard mkdirat(folder, last, 0o700) == 0 || errno == EEXIST else {
            throw error(path, "make")
        }
    }

    func create(_ path: SnapshotPath) throws(BackupError) {
        let (folder, last) = try folder(of: path)
        defer { close(folder) }
        let file = openat(
            folder, last, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw error(path, "make") }
        close(file)
    }

    func write(
        _ bytes: ArraySlice<UInt8>, at begin: Int64, _ path: SnapshotPath
    ) throws(BackupError) {
        let file = try descriptor(of: path)
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                pwrite(
                    file, buffer.baseAddress.map { $0 + written }, buffer.count - written,
                    off_t(begin) + off_t(written))
            }
            if count < 0, errno != EINTR { throw Files.error("\(place)/\(path)", "write") }
            written += max(0, count)
        }
    }

    private func descriptor(of path: SnapshotPath) throws(BackupError) -> Int32 {
        if let file = open[path] { return file }
        if open.count >= Self.mostOpen { closeAll() }
        let (folder, last) = try folder(of: path)
        defer { close(folder) }
        let file = openat(folder, last, O_WRONLY | O_NOFOLLOW | O_CLOEXEC)
        guard file >= 0 else { throw error(path, "write") }
        open[path] = file
        return file
    }

    func remove(_ path: SnapshotPath) throws(BackupError) {
        if let file = open.removeValue(forKey: path) { close(file) }
        let (folder, last) = try folder(of: path)
        defer { close(folder) }
        unlinkat(folder, last, 0)
    }
}
