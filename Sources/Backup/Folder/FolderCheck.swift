// Reading a snapshot's files back: to compare them, and to restore them.

internal import CSync
internal import Glibc

extension FolderTarget {
    func verify(
        _ entries: [FileEntry], of manifest: Manifest, _ context: TargetContext
    ) throws(BackupError) -> VerificationReport {
        do throws(BackupError) {
            return try FolderCheck(target: self, folder: "\(manifest.id)").verify(entries, context)
        } catch {
            throw stillThere(error)
        }
    }

    func fetch(
        _ entries: [FileEntry], of manifest: Manifest, into folder: String,
        _ context: TargetContext
    ) throws(BackupError) {
        do throws(BackupError) {
            try FolderCheck(target: self, folder: "\(manifest.id)")
                .fetch(entries, into: folder, context)
        } catch {
            throw stillThere(error)
        }
    }
}

/// Reads files of a folder of the target.
struct FolderCheck {
    let target: FolderTarget
    /// A snapshot's folder, or that of one in the making.
    let folder: String

    /// Pieces read between two words on the progress.
    private static let step: Int64 = 8 << 20

    func verify(
        _ entries: [FileEntry], _ context: TargetContext
    ) throws(BackupError) -> VerificationReport {
        let reader = try FolderReader(target.path, folder)
        let total = entries.reduce(0) { $0 + $1.size }
        let checksModes = FileModes.areKept(context)
        var content = FileContent()
        var report = VerificationReport()
        var toldAt: Int64 = 0
        for entry in entries {
            try context.cancellation.check()
            do throws(BackupError) {
                try check(entry, reader, &content, context, checksModes: checksModes)
            } catch {
                // Damage and files that cannot be read are what is looked for.
                guard [.damaged, .permanent, .temporary].contains(error.code),
                    Files.exists("\(target.path)/\(TargetMarker.name)")
                else { throw error }
                report.add("\(error.subject): \(error.message)")
            }
            if entry.hash != nil { report.files += 1 }
            report.bytes += entry.size
            if report.bytes - toldAt >= Self.step {
                toldAt = report.bytes
                context.progress(
                    Progress(.verification, bytes: report.bytes, totalBytes: total))
            }
        }
        context.progress(Progress(.verification, bytes: report.bytes, totalBytes: total))
        return report
    }

    private func check(
        _ entry: FileEntry, _ reader: FolderReader, _ content: inout FileContent,
        _ context: TargetContext, checksModes: Bool
    ) throws(BackupError) {
        func damaged(_ message: String) -> BackupError {
            BackupError(.damaged, subject: reader.text(entry.path), message)
        }
        switch entry.kind {
        case .folder:
            guard try reader.status(entry.path)?.st_mode ?? 0 & S_IFMT == S_IFDIR else {
                throw damaged("the folder is missing")
            }
        case .link(let wanted):
            guard let status = try reader.status(entry.path),
                status.st_mode & S_IFMT == S_IFLNK,
                try reader.target(ofLink: entry.path) == wanted
            else { throw damaged("it is not the link that was stored") }
        case .file(let size, let hash):
            let (file, status) = try reader.open(entry.path)
            defer { close(file) }
            guard status.st_size == size else {
                throw damaged("it has \(status.st_size) bytes instead of \(size)")
            }
            let cancellation = context.cancellation
            let found = try content.digest(file, isFresh: true) { (_) throws(BackupError) in
                try cancellation.check()
            }
            guard let found else { throw Files.error(reader.text(entry.path), "read") }
            guard found.hash == hash, found.size == size else {
                throw damaged("its content is not what was stored")
            }
            guard !checksModes || status.st_mode & 0o7777 == entry.mode else {
                throw damaged(
                    "its mode is \(String(status.st_mode & 0o7777, radix: 8)) instead of"
                        + " \(String(entry.mode, radix: 8))")
            }
        }
    }

    /// Links are left to the caller, who knows where they may lead.
    func fetch(
        _ entries: [FileEntry], into folder: String, _ context: TargetContext
    ) throws(BackupError) {
        let reader = try FolderReader(target.path, self.folder)
        let writer = try FolderWriter(folder)
        let total = entries.reduce(0) { $0 + $1.size }
        var content = FileContent()
        var done: Int64 = 0
        var toldAt: Int64 = 0
        for entry in entries {
            try context.cancellation.check()
            switch entry.kind {
            case .link: continue
            case .folder: try writer.makeFolder(entry.path)
            case .file(_, let hash):
                do throws(BackupError) {
                    try copy(entry, hash, reader, writer, &content, context)
                } catch {
                    // Of a medium that is not there any more everything is missed.
                    guard [.damaged, .permanent, .temporary].contains(error.code),
                        Files.exists("\(target.path)/\(self.folder)"),
                        context.mayMiss(entry, error.message)
                    else { throw error }
                    try writer.remove(entry.path)
                }
            }
            done += entry.size
            if done - toldAt >= Self.step {
                toldAt = done
                context.progress(Progress(.download, bytes: done, totalBytes: total))
            }
        }
        context.progress(Progress(.download, bytes: done, totalBytes: total))
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Files.error(folder, "open") }
        defer { close(descriptor) }
        guard syncfs(descriptor) == 0 else { throw Files.error(folder, "sync") }
    }

    private func copy(
        _ entry: FileEntry, _ hash: ContentHash, _ reader: FolderReader, _ writer: FolderWriter,
        _ content: inout FileContent, _ context: TargetContext
    ) throws(BackupError) {
        let (source, status) = try reader.open(entry.path)
        defer { close(source) }
        // Not one byte more than was stored goes to this machine's disk.
        guard status.st_size == entry.size else {
            throw BackupError(
                .damaged, subject: reader.text(entry.path),
                "it has \(status.st_size) bytes instead of \(entry.size)")
        }
        let file = try writer.create(entry.path)
        defer { close(file) }
        let place = "\(writer.place)/\(entry.path)"
        let cancellation = context.cancellation
        let found = try content.digest(source, isFresh: false) { (piece) throws(BackupError) in
            try cancellation.check()
            try Files.append(piece, to: file, place)
        }
        guard let found else { throw Files.error(reader.text(entry.path), "read") }
        guard found.hash == hash else {
            try writer.remove(entry.path)
            throw BackupError(
                .damaged, subject: reader.text(entry.path), "its content is not what was stored",
                advice: "restore from another snapshot")
        }
        // Nothing runs as its owner because of a backup.
        let times = [
            timespec(
                tv_sec: Int(entry.modified / 1_000_000_000),
                tv_nsec: Int(entry.modified % 1_000_000_000))
        ]
        guard fchmod(file, entry.mode & 0o777) == 0 else { throw Files.error(place, "write") }
        if entry.modified >= 0 { futimens(file, times + times) }
    }
}

extension Files {
    /// Writes all of a piece to a descriptor.
    static func append(
        _ piece: ArraySlice<UInt8>, to file: Int32, _ path: String
    ) throws(BackupError) {
        var done = 0
        while done < piece.count {
            let more = piece.withUnsafeBytes { buffer in
                Glibc.write(file, buffer.baseAddress.map { $0 + done }, buffer.count - done)
            }
            if more < 0 {
                if errno == EINTR { continue }
                throw error(path, "write")
            }
            done += more
        }
    }
}
