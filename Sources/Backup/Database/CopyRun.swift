// One copy from its first step to the check of what it holds.

internal import Glibc
internal import Storage

/// The work of `DatabaseCopier.copy` once something has to be read.
struct CopyRun {
    let copier: DatabaseCopier
    let previous: Manifest.Database?
    /// The pages of the previous snapshot; nil for a new base.
    let before: RememberedPages?
    let cancellation: Cancellation
    let needsMD5: Bool

    /// Also says whether digests were written to `next`, and the state that was copied.
    mutating func make(
        into folder: String, next: String, progress: (Progress) -> Void
    ) throws(BackupError) -> (DatabaseCopy, digests: Bool, DatabaseState?) {
        let place = "\(folder)/\(DatabaseCopier.folder(of: copier.name))"
        try Files.makeFolder(place)
        let temporary = place + "/.new"
        let copy: OnlineCopy
        do { copy = try copier.database.beginCopy() } catch { throw BackupError(storage: error) }
        defer { copy.end() }
        var isDone = false
        // What a killed run has left is no reason to find the disk full.
        unlink(temporary)
        defer { if !isDone { unlink(temporary) } }

        let (writer, end) = try copyPages(copy, to: temporary, progress)
        // A new base is checked as a whole where it lies.
        let facts = try FactsReader(
            copier: copier, copy: copy, bytes: Int64(end.pageCount) * Int64(end.pageSize),
            cancellation: cancellation
        ).read(whole: copier.wantsWholeCheck && before != nil)
        copy.endReading()
        var record = Manifest.Database(
            name: copier.name, base: Manifest.Part(path: "", sha256: "", size: 0), changes: [],
            pageSize: end.pageSize, pageCount: Int64(end.pageCount), rows: facts.rows,
            lastMessage: facts.lastMessage, isChecked: facts.isChecked)
        record.schema = facts.schema
        var result = DatabaseCopy(record: record)
        result.wasRead = true
        result.faults = facts.faults
        result.unfinished = facts.unfinished
        result.wasCheckedWhole = facts.isCheckedWhole
        result.walBytesAtStart = copy.logBytes
        if before != nil, let previous {
            record.base = previous.base
            record.changes = previous.changes
            result.kept = DatabaseCopier.paths(of: previous)
        }
        let isSame =
            before != nil && writer.frames == 0
            && previous?.pageCount == Int64(end.pageCount)
        if isSame {
            result.unchanged = true
        } else {
            let entry = try complete(writer, end, temporary, place, &record)
            result.new = [entry]
            var digests = PageDigests(
                head: PageDigests.Head(
                    image: PageDigests.identity(of: record), pageSize: end.pageSize, pageCount: 0,
                    chain: writer.chain, sha256: ""),
                digests: writer.digests)
            try digests.write(to: next)
            isDone = true
        }
        result.record = record
        return (result, digests: !isSame, end.state.map { copy.settled($0) })
    }

    // MARK: Pages

    private func copyPages(
        _ copy: OnlineCopy, to path: String, _ progress: (Progress) -> Void
    ) throws(BackupError) -> (ImageWriter, OnlineCopy.End) {
        var buffer = PageBuffer()
        var writer: ImageWriter?
        var room = Room(copier: copier, folder: Files.parent(of: path))
        func drain(_ copy: OnlineCopy, _ total: Int, all: Bool) throws(BackupError) {
            while copy.takePages(&buffer, all: all) {
                let size = buffer.bytes.count / max(1, buffer.numbers.count)
                if writer == nil {
                    if before == nil { try room.check(pages: total, of: size) }
                    writer = try makeWriter(path, pageSize: size)
                }
                try room.check(before: buffer.bytes.count)
                try writer?.add(buffer)
            }
        }
        let pageSize = previous?.pageSize ?? 4096
        let pages = min(256, max(4, DatabaseCopier.bytesPerStep / max(512, pageSize)))
        let began = ContinuousClock.now
        while true {
            try cancellation.check()
            let step: OnlineCopy.Step
            do { step = try copy.step(pages: pages) } catch { throw BackupError(storage: error) }
            cancellation.pace?.add(step.duration)
            try drain(copy, step.total, all: step.end != nil)
            if let end = step.end {
                let complete: ImageWriter
                if let writer {
                    complete = writer
                } else {
                    complete = try makeWriter(path, pageSize: end.pageSize)
                }
                try complete.add([1], end.firstPage)
                return (complete, end)
            }
            report(step, pageSize, ContinuousClock.now - began, progress)
            leaveWriter(step.duration)
        }
    }

    private func makeWriter(_ path: String, pageSize: Int) throws(BackupError) -> ImageWriter {
        if let before, before.head.pageSize != pageSize {
            throw BackupError(
                .temporary, subject: copier.name, "its pages have another size than before",
                advice: "the next run makes a whole copy")
        }
        return try ImageWriter(path, pageSize: pageSize, before: before)
    }

    /// Sees to it that the part fits in.
    private struct Room {
        let copier: DatabaseCopier
        let folder: String
        /// Bytes that may be written before space is looked at again.
        private var left: Int64 = 0

        init(copier: DatabaseCopier, folder: String) {
            self.copier = copier
            self.folder = folder
        }

        /// Before a whole copy begins.
        func check(pages: Int, of size: Int) throws(BackupError) {
            let (bytes, isOver) = Int64(pages).multipliedReportingOverflow(by: Int64(size))
            let (more, isMore) = bytes.addingReportingOverflow(bytes / 5)
            try copier.space(folder)?.check(
                for: isOver || isMore ? .max : more, what: "the copy of \(copier.name)")
        }

        /// Before pages are written, now and then: others write meanwhile, and how much a log will
        /// take is not known beforehand.
        mutating func check(before bytes: Int) throws(BackupError) {
            left -= Int64(bytes)
            guard left < 0, let space = copier.space(folder) else { return }
            try space.check(for: Int64(bytes), what: "the copy of \(copier.name)")
            left = space.reserve / 8
        }
    }

    /// Leaves the writer to others for as long as a step took, if there are others.
    private func leaveWriter(_ duration: Duration) {
        guard cancellation.pace != nil else { return }
        // A step that waited for a slow disk is no reason to wait as long again.
        usleep(UInt32(min(duration.inSeconds, 0.05) * 1_000_000))
    }

    private func report(
        _ step: OnlineCopy.Step, _ pageSize: Int, _ time: Duration, _ progress: (Progress) -> Void
    ) {
        let bytes = Int64(step.done) * Int64(pageSize)
        let total = Int64(step.total) * Int64(pageSize)
        let seconds = time.inSeconds
        let rate = seconds > 0 ? Double(bytes) / seconds : nil
        progress(
            Progress(
                .database, bytes: bytes, totalBytes: total, rate: rate,
                secondsLeft: rate.flatMap { $0 > 0 ? Double(total - bytes) / $0 : nil }))
    }

    /// Gives the part its checksums and its name.
    private func complete(
        _ writer: ImageWriter, _ end: OnlineCopy.End, _ temporary: String, _ place: String,
        _ record: inout Manifest.Database
    ) throws(BackupError) -> FileEntry {
        let written = try writer.finish(pageCount: end.pageCount, md5: needsMD5) {
            () throws(BackupError) in
            try cancellation.check()
        }
        let digits = String(written.hash.description.prefix(16))
        let name: String
        if before == nil {
            name = "base-\(digits)"
        } else {
            let number = String(record.changes.count + 1)
            let zeros = String(repeating: "0", count: max(0, 6 - number.count))
            name = "\(zeros)\(number)-\(digits).wal"
        }
        let part = Manifest.Part(
            path: "\(DatabaseCopier.folder(of: copier.name))/\(name)",
            sha256: written.hash.description, size: written.size)
        guard rename(temporary, "\(place)/\(name)") == 0 else { throw Files.error(place, "write") }
        try Files.syncFolder(place)
        try Files.syncFolder(Files.parent(of: place))
        guard let path = SnapshotPath(part.path) else {
            throw BackupError(.permanent, subject: part.path, "this is no path of a snapshot")
        }
        if before == nil { record.base = part } else { record.changes.append(part) }
        return FileEntry(
            path: path, kind: .file(size: written.size, hash: written.hash), mode: 0o600,
            modified: written.modified, md5: written.md5)
    }
}
