// Making a snapshot in a folder: under another name until everything is there, synced and checked.
// Whatever interrupts it, what has a snapshot's name is whole.

internal import CSync
internal import Glibc

extension FolderTarget {
    /// The folder `database` of the snapshot that is to come, so that a whole copy of the database
    /// is written once.
    func placeForDatabase(
        of id: SnapshotID, _ context: TargetContext
    ) throws(BackupError) -> String? {
        // Whatever ended the attempts before: this one does not add to them without end.
        try removeUseless(before: id, context)
        try makePartial(id, context)
        try FolderWriter(partial(of: id)).makeFolder(Self.database)
        return "\(partial(of: id))/\(Self.database)"
    }

    private static let database = SnapshotPath(valid: Array("database".utf8))

    /// Notes that it is ours, for installations that share a target.
    private func makePartial(_ id: SnapshotID, _ context: TargetContext) throws(BackupError) {
        let note = "\(context.memory)/\(Self.partialPrefix)\(id)"
        if !Files.exists(note) { try Files.replace(note, [], mode: 0o600) }
        try Files.makeFolder(partial(of: id))
        var status = stat()
        guard lstat(partial(of: id), &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            throw BackupError(
                .damaged, subject: partial(of: id), "somebody has put something else there",
                advice: "remove it, and look who else can write there")
        }
    }

    func store(
        _ snapshot: PreparedSnapshot, _ context: TargetContext,
        check: (Stored) throws(BackupError) -> Void
    ) throws(BackupError) -> TransferReport {
        do throws(BackupError) {
            var store = FolderPublication(target: self, snapshot: snapshot, context: context)
            try removeUseless(
                before: snapshot.manifest.id, sharesNothing: snapshot.sharesNothing, context)
            try makePartial(snapshot.manifest.id, context)
            try store.fill()
            try store.describe()
            try store.sync()
            do throws(BackupError) {
                try check(store.stored)
            } catch {
                // Nothing will be shared with it, and the next one needs the space.
                if error.code == .damaged { try? removePartial(snapshot.manifest.id, context) }
                throw error
            }
            try atStep(.checked)
            try store.publish()
            removeAbandoned(upTo: snapshot.manifest.id, context)
            return store.report
        } catch {
            throw stillThere(error)
        }
    }
}

/// A snapshot that is being stored.
private struct FolderPublication {
    let target: FolderTarget
    let context: TargetContext
    var snapshot: PreparedSnapshot
    let id: SnapshotID
    let partial: String
    var report = TransferReport()
    private var list: FileList

    init(target: FolderTarget, snapshot: PreparedSnapshot, context: TargetContext) {
        self.target = target
        self.context = context
        self.snapshot = snapshot
        id = snapshot.manifest.id
        partial = target.partial(of: id)
        list = snapshot.list
    }

    // MARK: Bringing the files

    mutating func fill() throws(BackupError) {
        try target.atStep(.begun)
        let links = try linkDestinations(snapshot.base(of: ""))
        let extraLinks =
            snapshot.base(of: "extra/") == snapshot.base(of: "")
            ? links : try linkDestinations(snapshot.base(of: "extra/"))
        let fresh = new(in: list)
        try removeSpoilt(fresh)
        try checkSpace(for: fresh)
        try linkKept()
        // The parts of the database that are new were written here as they were made.
        for entry in fresh where entry.path.isBelow("database") {
            report.files += 1
            report.literalBytes += entry.size
            report.bytesSent += entry.size
        }
        try target.atStep(.databaseLinked)
        if target.transfer is CopyTransfer {
            context.warn("rsync is not installed; kinglet copies the files itself")
        }
        let isSameSecond = snapshot.hasSameSecond
        let bytes = fresh.reduce(0) { $0 + $1.size }
        for step in try TransferStep.all(for: snapshot, partial: partial) {
            try context.cancellation.check()
            let parent = step.parent
            if !parent.isEmpty, let folder = SnapshotPath(parent) {
                try FolderWriter(partial).makeFolder(folder)
            }
            var request = TransferRequest(
                sources: step.sources, destination: "\(partial)/\(step.folder)",
                linkDestinations: (step.folder.hasPrefix("extra/") ? extraLinks : links).map {
                    parent.isEmpty ? $0 : "\($0)/\(parent)"
                }, context: context)
            request.excludes = step.excludes
            request.leftOut = snapshot.leftOut
            request.comparesNanoseconds = isSameSecond
            request.expectedBytes = bytes
            report.add(try target.transfer.send(request))
            try target.atStep(step.folder.hasPrefix("extra/") ? .extraSent : .sent)
        }
    }

    /// Entries whose content the last snapshot does not have at that path.
    private func new(in list: FileList) -> [FileEntry] {
        list.entries.filter { entry in
            guard let hash = entry.hash else { return false }
            return snapshot.before(entry.path)?.hash != hash
        }
    }

    /// The last snapshot, then what earlier attempts have left, newest first. One with a link in its
    /// top folder was tampered with.
    private func linkDestinations(_ last: SnapshotID?) throws(BackupError) -> [String] {
        guard !snapshot.sharesNothing else { return [] }
        let abandoned = try target.names(prefix: FolderTarget.partialPrefix)
            .filter { $0 != id }.reversed().map { target.partial(of: $0) }
        let all = (last.map { [target.folder(of: $0)] } ?? []) + abandoned
        var found: [String] = []
        for folder in all where found.count < 20 {
            var status = stat()
            guard lstat(folder, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { continue }
            let hasLink = try Files.names(in: folder).contains { name in
                let place = "\(folder)/\(String(decoding: name, as: UTF8.self))"
                return lstat(place, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
            }
            if hasLink {
                context.warn("\(folder) was changed by somebody; its files are not shared")
            } else {
                found.append(folder)
            }
        }
        return found
    }

    /// A power cut may have left a file of an earlier attempt with its size and time but without its
    /// content, which looks unchanged: what would be shared from there is read first.
    private func removeSpoilt(_ fresh: [FileEntry]) throws(BackupError) {
        guard !snapshot.sharesNothing else { return }
        var quiet = context
        quiet.progress = { _ in }
        for attempt in try target.abandoned(upTo: id, context) where attempt != id {
            let name = FolderTarget.partialPrefix + "\(attempt)"
            let check = FolderCheck(target: target, folder: name)
            var there: [FileEntry] = []
            for entry in fresh where Files.exists("\(target.path)/\(name)/\(entry.path)") {
                there.append(entry)
            }
            // Mostly all are good, and one look at all of them tells.
            guard try check.verify(there, quiet).faultCount > 0 else { continue }
            for entry in there {
                guard try check.verify([entry], quiet).faultCount > 0 else { continue }
                try FolderWriter("\(target.path)/\(name)").remove(entry.path)
            }
        }
    }

    private func checkSpace(for fresh: [FileEntry]) throws(BackupError) {
        var status = statvfs()
        guard statvfs(target.path, &status) == 0,
            let space = try target.space(context)
        else { throw Files.error(target.path, "measure") }
        guard Int(status.f_flag) & Int(ST_RDONLY) == 0 else {
            throw Files.error(target.path, "write there", code: EROFS)
        }
        let there = try FolderReader(target.path, FolderTarget.partialPrefix + "\(id)")
        var needed: Int64 = 0
        for entry in fresh {
            let present = try there.status(entry.path).map { Int64($0.st_size) } ?? 0
            needed = needed.addingReportingOverflow(max(0, entry.size - present)).partialValue
        }
        // Blocks that are not full, folders and the lists come on top.
        let wanted = needed + needed / 5 + (1 << 20)
        guard wanted <= space.free else {
            throw BackupError(
                .full, subject: target.path,
                "the snapshot needs about \(Self.megabytes(wanted)) MB and"
                    + " \(Self.megabytes(space.free)) MB are free",
                advice: "free some space there, or keep fewer snapshots")
        }
        guard status.f_files == 0 || UInt(fresh.count) < UInt(status.f_favail) else {
            throw BackupError(
                .full, subject: target.path,
                "the snapshot has \(fresh.count) new files and the file system takes"
                    + " \(status.f_favail) more",
                advice: "keep fewer snapshots, or use another disk")
        }
    }

    private static func megabytes(_ bytes: Int64) -> Int64 { (bytes + 999_999) / 1_000_000 }

    /// Parts of the database that only the last snapshot has.
    private mutating func linkKept() throws(BackupError) {
        guard !snapshot.kept.isEmpty else { return }
        guard let previous = snapshot.previous else {
            throw BackupError(
                .permanent, subject: "\(id)", "it goes on from a snapshot that is not there")
        }
        let reader = try FolderReader(target.path, "\(previous.manifest.id)")
        let writer = try FolderWriter(partial)
        for path in snapshot.kept.sorted() {
            let (file, status) = try reader.open(path)
            defer { close(file) }
            guard let entry = list[path], entry.size == status.st_size else {
                throw BackupError(
                    .damaged, subject: reader.text(path), "it is not as long as it was",
                    advice: "the next backup has to copy the whole database")
            }
            let (from, name) = try reader.folder(of: path)
            let (to, newName) = try writer.folder(of: path)
            unlinkat(to, newName, 0)
            guard linkat(from, name, to, newName, 0) == 0 else {
                guard errno == EMLINK else { throw Files.error(writer.place, "link to") }
                try copy(file, status, to: path, writer)
                continue
            }
            report.matchedBytes += entry.size
        }
    }

    private func copy(
        _ file: Int32, _ status: stat, to path: SnapshotPath, _ writer: FolderWriter
    ) throws(BackupError) {
        let copy = try writer.create(path)
        defer { close(copy) }
        var content = FileContent()
        let cancellation = context.cancellation
        let place = writer.place
        let digest = try content.digest(file, isFresh: false) { (piece) throws(BackupError) in
            try cancellation.check()
            try Files.append(piece, to: copy, place)
        }
        let times = [status.st_mtim, status.st_mtim]
        guard digest != nil, fchmod(copy, status.st_mode & 0o7777) == 0, futimens(copy, times) == 0
        else { throw Files.error(place, "copy") }
    }

    // MARK: Describing what is there

    /// Makes the lists say what is stored, which may not be what was seen when the sources were
    /// walked, and writes them.
    mutating func describe() throws(BackupError) {
        try context.cancellation.check()
        var comparison = FolderComparison(
            target: target, snapshot: snapshot, context: context,
            reader: try FolderReader(target.path, FolderTarget.partialPrefix + "\(id)"))
        list = try comparison.list()
        comparison.warn()
        let writer = try FolderWriter(partial)
        var before: FolderReader?
        if let previous = snapshot.previous?.manifest.id {
            before = try? FolderReader(target.path, "\(previous)")
        }
        var lists: [Manifest.List] = []
        try FileListCodec.encode(list) { (description, bytes) throws(BackupError) in
            lists.append(description)
            guard let path = SnapshotPath(description.path) else { return }
            // The name is the digest of the content.
            if let before, try before.status(path)?.st_size == off_t(bytes.count) {
                let (from, name) = try before.folder(of: path)
                let (to, newName) = try writer.folder(of: path)
                unlinkat(to, newName, 0)
                if linkat(from, name, to, newName, 0) == 0 { return }
            }
            try writer.write(path, bytes)
        }
        snapshot.manifest.lists = lists
        let files = list.entries.filter { $0.hash != nil }
        snapshot.manifest.files = files.count
        snapshot.manifest.bytes = files.reduce(0) { $0 + $1.size }
        try target.atStep(.listed)
    }

    /// Everything so far, in one go: a sync of each of many small files would take minutes.
    func sync() throws(BackupError) {
        context.progress(Progress(.publication))
        let folder = open(partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw Files.error(partial, "open") }
        defer { close(folder) }
        guard syncfs(folder) == 0 else { throw Files.error(target.path, "sync") }
        try target.atStep(.synced)
    }

    var stored: Stored {
        let check = FolderCheck(target: target, folder: FolderTarget.partialPrefix + "\(id)")
        let context = context
        return Stored(
            new: new(in: list),
            verify: { (entries) throws(BackupError) in try check.verify(entries, context) },
            folder: partial, list: list)
    }

    // MARK: Publishing

    func publish() throws(BackupError) {
        try context.cancellation.check()
        let bytes = try ManifestFile.encode(snapshot.manifest, key: context.key)
        try Files.replace("\(partial)/\(ManifestFile.name)", bytes, mode: 0o600)
        try target.atStep(.manifestWritten)
        guard rename(partial, target.folder(of: id)) == 0 else {
            throw Files.error(target.folder(of: id), "give the snapshot its name")
        }
        try Files.syncFolder(target.path)
        try target.atStep(.published)
        target.pointLatest(to: id, context)
        unlink("\(context.memory)/\(FolderTarget.partialPrefix)\(id)")
        try target.atStep(.renamed)
    }
}

extension FolderTarget {
    /// Moves the link to the newest snapshot. It is there for people: nothing depends on it.
    func pointLatest(to id: SnapshotID?, _ context: TargetContext) {
        let place = "\(path)/\(Self.latest)"
        guard let id else {
            unlink(place)
            return
        }
        let temporary = "\(path)/.\(Self.latest).new"
        unlink(temporary)
        guard symlink("\(id)", temporary) == 0, rename(temporary, place) == 0,
            (try? Files.syncFolder(path)) != nil
        else {
            let words = String(cString: strerror(errno))
            unlink(temporary)
            context.warn("\(place) does not lead to the newest snapshot: \(words)")
            return
        }
    }
}
