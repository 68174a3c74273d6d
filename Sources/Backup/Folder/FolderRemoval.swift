// Removing snapshots and what unfinished runs have left: first the name, in one go, then the files,
// slowly, so that a disk that also serves has time for that.

internal import Glibc

extension FolderTarget {
    func remove(_ id: SnapshotID, _ context: TargetContext) throws(BackupError) {
        do throws(BackupError) {
            let deleting = path + "/" + Self.deletingPrefix + "\(id)"
            if Files.exists(folder(of: id)) {
                // Of an earlier removal that did not end.
                if Files.exists(deleting) { try removeSlowly(deleting, context) }
                guard rename(folder(of: id), deleting) == 0 else {
                    throw Files.error(folder(of: id), "remove")
                }
                try Files.syncFolder(path)
                try atStep(.removing)
                pointLatest(to: try names(prefix: "").last, context)
            }
            try removeSlowly(deleting, context)
        } catch {
            throw stillThere(error)
        }
    }

    func cleanUp(_ context: TargetContext) throws(BackupError) {
        do throws(BackupError) {
            for id in try names(prefix: Self.deletingPrefix) {
                try removeSlowly(path + "/" + Self.deletingPrefix + "\(id)", context)
            }
            // A later attempt still shares files with those after the last snapshot.
            if let last = try snapshots(context).last {
                for id in try abandoned(upTo: last, context) { try removePartial(id, context) }
            }
            try removeUseless(before: nil, context)
            try forgetPartials(context)
        } catch {
            throw stillThere(error)
        }
    }

    /// After a snapshot that was made: attempts before it are of no more use.
    func removeAbandoned(upTo id: SnapshotID, _ context: TargetContext) {
        do throws(BackupError) {
            for other in try abandoned(upTo: id, context) { try removePartial(other, context) }
        } catch {
            // They stay for the next run to remove.
            if error.code != .cancelled { context.warn("\(error)") }
        }
    }

    /// Of the attempts since the last snapshot, those that another one would not share files with:
    /// all but the newest, and those that ended before they had more than the database.
    ///
    /// - Parameter id: the attempt that begins; nil when none does.
    func removeUseless(
        before id: SnapshotID?, sharesNothing: Bool = false, _ context: TargetContext
    ) throws(BackupError) {
        var useful = 0
        do throws(BackupError) {
            for other in try abandoned(upTo: id, context).reversed() {
                let isUseful =
                    !sharesNothing && useful < Self.mostAttempts
                    && hasMoreThanDatabase(other)
                useful += isUseful ? 1 : 0
                if !isUseful { try removePartial(other, context) }
            }
        } catch {
            // They stay for the next run to remove.
            if error.code == .cancelled { throw error }
            context.warn("\(error)")
        }
    }

    /// Attempts that are kept for their files.
    private static let mostAttempts = 2

    private func hasMoreThanDatabase(_ id: SnapshotID) -> Bool {
        let names = try? Files.names(in: partial(of: id))
        return names?.contains { $0 != Array("database".utf8) } ?? false
    }

    /// Attempts of this installation that are not later than a snapshot, oldest first; all of them
    /// without one.
    func abandoned(
        upTo id: SnapshotID?, _ context: TargetContext
    ) throws(BackupError) -> [SnapshotID] {
        let isOurs = try marker()?.instances == [context.instance]
        return try names(prefix: Self.partialPrefix).filter { other in
            id.map { other.sequence <= $0.sequence && other != $0 } ?? true
                && (isOurs || Files.exists("\(context.memory)/\(Self.partialPrefix)\(other)"))
        }
    }

    func removePartial(_ id: SnapshotID, _ context: TargetContext) throws(BackupError) {
        try removeSlowly(partial(of: id), context)
        unlink("\(context.memory)/\(Self.partialPrefix)\(id)")
    }

    /// Notes of attempts that have become snapshots, or were removed by hand.
    private func forgetPartials(_ context: TargetContext) throws(BackupError) {
        for name in try Files.names(in: context.memory) {
            let text = String(decoding: name, as: UTF8.self)
            guard text.hasPrefix(Self.partialPrefix), !Files.exists("\(path)/\(text)") else {
                continue
            }
            unlink("\(context.memory)/\(text)")
        }
    }

    /// Without following links; where it is called off it goes on the next time.
    private func removeSlowly(_ place: String, _ context: TargetContext) throws(BackupError) {
        var removal = SlowRemoval(cancellation: context.cancellation)
        try removal.remove(AT_FDCWD, Array(place.utf8), place, depth: 0)
    }
}

/// Removes a folder with a rest after every few files.
private struct SlowRemoval {
    let cancellation: Cancellation
    private var sinceRest = 0

    init(cancellation: Cancellation) { self.cancellation = cancellation }

    mutating func remove(
        _ parent: Int32, _ name: [UInt8], _ place: String, depth: Int
    ) throws(BackupError) {
        sinceRest += 1
        if sinceRest >= 256 {
            sinceRest = 0
            try cancellation.check()
            poll(nil, 0, 10)
        }
        let text = (name + [0]).map { CChar(bitPattern: $0) }
        if unlinkat(parent, text, 0) == 0 || errno == ENOENT { return }
        guard errno == EISDIR || errno == EPERM, depth < SnapshotPath.deepest + 8 else {
            throw Files.error(place, "remove")
        }
        let folder = openat(parent, text, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard folder >= 0 else { throw Files.error(place, "remove") }
        defer { close(folder) }
        // It may have been stored without write permission.
        fchmod(folder, 0o700)
        for inner in try names(in: folder, place) {
            try remove(folder, inner, place, depth: depth + 1)
        }
        guard unlinkat(parent, text, AT_REMOVEDIR) == 0 || errno == ENOENT else {
            throw Files.error(place, "remove")
        }
    }

    private func names(in folder: Int32, _ place: String) throws(BackupError) -> [[UInt8]] {
        let copy = fcntl(folder, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0, let stream = fdopendir(copy) else {
            if copy >= 0 { close(copy) }
            throw Files.error(place, "list")
        }
        defer { closedir(stream) }
        var names: [[UInt8]] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if name != [0x2E], name != [0x2E, 0x2E] { names.append(name) }
        }
        return names
    }
}
