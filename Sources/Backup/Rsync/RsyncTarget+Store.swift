// Sending a snapshot: first what stands in for files that are there already, then everything, then
// the check, then the manifest.

internal import Glibc

extension RsyncTarget {
    /// Stores and publishes a snapshot.
    public func store(
        _ snapshot: PreparedSnapshot, _ context: TargetContext,
        check: (Stored) throws(BackupError) -> Void
    ) throws(BackupError) -> TransferReport {
        var snapshot = snapshot
        let id = snapshot.manifest.id
        guard !Self.hasManifest(listed, id) else {
            throw BackupError(.permanent, subject: "\(name): \(id)", "this snapshot exists")
        }
        let memory = try RsyncMemory(context.memory)
        try removeUseless(sharesNothing: snapshot.sharesNothing, context)
        var lists = try stageLists(&snapshot, memory, context)
        try memory.noteBegun(id)
        var report = TransferReport()
        if !snapshot.kept.isEmpty { report.add(try sendKept(snapshot, context)) }
        let size = Self.newEntries(snapshot).reduce(into: Int64(0)) { sum, entry in
            sum = sum.addingReportingOverflow(max(0, entry.size)).partialValue
        }
        let sources = snapshot.sources
        if let folder = SnapshotPath("files") { snapshot.sources.append((folder, lists)) }
        for step in try TransferStep.all(for: snapshot) {
            report.add(try send(step, of: snapshot, expecting: size, context))
        }
        snapshot.sources = sources
        if let list = try listAsStored(snapshot, context) {
            snapshot.list = list
            snapshot.manifest.files = list.entries.count { $0.hash != nil }
            snapshot.manifest.bytes = list.entries.reduce(into: Int64(0)) { sum, entry in
                sum = sum.addingReportingOverflow(max(0, entry.size)).partialValue
            }
            lists = try stageLists(&snapshot, memory, context)
            let step = TransferStep(sources: [lists], folder: "")
            report.add(try send(step, of: snapshot, expecting: nil, context))
        }
        try context.cancellation.check()
        try check(
            Stored(
                new: Self.newEntries(snapshot),
                verify: { entries throws(BackupError) in
                    try self.verify(entries, in: id, context)
                }, folder: nil, list: snapshot.list))
        try context.cancellation.check()
        context.progress(Progress(.publication))
        let manifest = try ManifestFile.encode(snapshot.manifest, key: context.key)
        try writeSmall(manifest, to: "\(id)/\(ManifestFile.name)", context)
        try Files.replace(memory.path(of: id), manifest, mode: 0o600)
        try memory.forgetBegun(id)
        manifests[id] = snapshot.manifest
        try memory.forgetLists(except: manifests.values.map { $0 })
        pointLatest(to: id, context)
        return report
    }

    private static func hasManifest(
        _ listed: (complete: [SnapshotID: RsyncListing], attempts: [SnapshotID])?, _ id: SnapshotID
    ) -> Bool { listed?.complete[id] != nil }

    /// What the previous snapshot has not, or not with this content.
    static func newEntries(_ snapshot: PreparedSnapshot) -> [FileEntry] {
        snapshot.list.entries.filter { entry in
            entry.hash != nil && snapshot.before(entry.path)?.hash != entry.hash
        }
    }

    // MARK: Lists

    /// The lists in a folder named `files`, as links to those that are kept, which keep their time.
    private func stageLists(
        _ snapshot: inout PreparedSnapshot, _ memory: RsyncMemory, _ context: TargetContext
    ) throws(BackupError) -> String {
        let parts = FileListCodec.encode(snapshot.list)
        snapshot.manifest.lists = parts.map(\.list)
        let folder = try scratch("lists", context) + "/files"
        try Files.makeFolder(folder)
        for (list, bytes) in parts {
            try memory.keep(bytes, of: list)
            let kept = memory.path(of: list)
            let staged = folder + "/" + list.sha256.prefix(32)
            if link(kept, staged) == 0 { continue }
            // On another file system; its time follows.
            try Files.replace(staged, bytes, mode: 0o600)
            var status = stat()
            guard lstat(kept, &status) == 0 else { throw Files.error(kept, "read") }
            var times = [status.st_atim, status.st_mtim]
            guard utimensat(AT_FDCWD, staged, &times, 0) == 0 else {
                throw Files.error(staged, "set the time of")
            }
        }
        return folder
    }

    // MARK: Sending

    private func send(
        _ step: TransferStep, of snapshot: PreparedSnapshot, expecting size: Int64?,
        _ context: TargetContext
    ) throws(BackupError) -> TransferReport {
        let id = snapshot.manifest.id
        var bases: [SnapshotID] = []
        if !snapshot.sharesNothing {
            if let previous = snapshot.base(of: step.folder) { bases.append(previous) }
            // What earlier attempts have brought there, the latest first.
            bases += (listed?.attempts ?? []).reversed().filter { $0 != id }
        }
        let parent = step.parent.isEmpty ? "" : "/\(step.parent)"
        var request = TransferRequest(
            sources: step.sources, destination: remote("\(id)/\(step.folder)"),
            linkDestinations: bases.prefix(RsyncTransfer.mostLinkDestinations).map {
                remotePath("\($0)\(parent)")
            }, context: context)
        request.excludes = step.excludes
        request.leftOut = snapshot.leftOut
        request.comparesNanoseconds = snapshot.hasSameSecond
        request.expectedBytes = size
        if !parent.isEmpty { try makeFolders("\(id)\(parent)", context) }
        let transfer = RsyncTransfer(program: program, connection: connection)
        for attempt in 1..<Self.mostCalls {
            do throws(BackupError) {
                return try transfer.send(request)
            } catch {
                guard error.code == .busy else { throw error }
                Self.waitForOther(attempt)
            }
        }
        return try transfer.send(request)
    }

    /// Files whose bytes are at the target only: an empty file of the same size and time is sent,
    /// and rsync, which compares these two, links the one of the previous snapshot. First it is
    /// asked whether it would, so that no emptiness is ever written there.
    private func sendKept(
        _ snapshot: PreparedSnapshot, _ context: TargetContext
    ) throws(BackupError) -> TransferReport {
        guard let previous = snapshot.previous?.manifest.id else {
            throw BackupError(
                .damaged, subject: name, "there is no snapshot that has the database's parts",
                advice: "the next run copies the database anew")
        }
        let folder = try scratch("kept", context)
        var tops: Set<String> = []
        for path in snapshot.kept.sorted() {
            guard let entry = snapshot.list[path], case .file(let size, _) = entry.kind else {
                throw BackupError(.damaged, subject: name, "\(path) is in no list")
            }
            try Self.makeStandIn(folder, entry, size: size)
            if let top = path.components.first { tops.insert(String(decoding: top, as: UTF8.self)) }
        }
        var transferred: [String] = []
        for isTrial in [true, false] {
            let outcome = try call(
                [
                    "-rlptgo", "--numeric-ids", "--out-format=%i %n",
                    "--link-dest=\(remotePath("\(previous)"))",
                ] + durable + (isTrial ? ["-n"] : []),
                tops.sorted().map { "\(folder)/\($0)" } + [remote("\(snapshot.manifest.id)/")],
                context
            ) { line in
                // `<f` is a file that is sent.
                if line.starts(with: "<f".utf8), transferred.count < 100 {
                    transferred.append(String(decoding: line.dropFirst(12), as: UTF8.self))
                }
            }
            try accept(outcome, context)
            guard transferred.isEmpty else {
                throw BackupError(
                    .damaged, subject: "\(name): \(previous)",
                    "\(transferred[0]) is missing there, or is not what was stored",
                    advice: "verify it; a run that copies the database anew does not need it")
            }
        }
        try Files.remove(folder)
        return TransferReport()
    }

    private static func makeStandIn(
        _ folder: String, _ entry: FileEntry, size: Int64
    ) throws(BackupError) {
        let path = folder + "/" + entry.path.description
        try Files.makeFolder(Files.parent(of: path))
        let file = Glibc.open(
            path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode_t(entry.mode & 0o7777))
        guard file >= 0 else { throw Files.error(path, "write") }
        defer { close(file) }
        let (seconds, rest) = entry.modified.quotientAndRemainder(dividingBy: 1_000_000_000)
        let time =
            rest < 0
            ? timespec(tv_sec: Int(seconds) - 1, tv_nsec: Int(rest) + 1_000_000_000)
            : timespec(tv_sec: Int(seconds), tv_nsec: Int(rest))
        var times = [time, time]
        guard ftruncate(file, off_t(size)) == 0, fchmod(file, mode_t(entry.mode & 0o7777)) == 0,
            futimens(file, &times) == 0
        else { throw Files.error(path, "write") }
    }

    // MARK: Latest

    /// For people; a target that can only be added to would keep the first one for ever.
    private func pointLatest(to id: SnapshotID, _ context: TargetContext) {
        guard !findings.isAppendOnly else { return }
        do throws(BackupError) {
            let folder = try scratch("latest", context)
            guard symlink("\(id)", folder + "/latest") == 0 else {
                throw Files.error(folder, "make a link in")
            }
            try accept(try call(["-l"], [folder + "/latest", remote("")], context), context)
            try Files.remove(folder)
        } catch {
            context.warn("\(name): the link `latest` could not be moved: \(error.message)")
        }
    }
}
