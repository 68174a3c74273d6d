// The copy of a database for a snapshot: nothing when it did not change, else the pages that differ
// from the last snapshot on that target, or all of them.

internal import Foundation
internal import Glibc
internal import Storage

/// A copy that is complete and durable, though in no snapshot yet.
struct DatabaseCopy {
    /// For the manifest.
    var record: Manifest.Database
    /// Parts that were written.
    var new: [FileEntry] = []
    /// Parts that the previous snapshot has.
    var kept: [SnapshotPath] = []
    /// It is as it was in the previous snapshot.
    var unchanged = false
    /// What SQLite's check found wrong.
    var faults: [String] = []
    /// What SQLite did not count or check in its time, a sentence; nil when nothing is missing.
    var unfinished: String?
    /// `integrity_check` found nothing wrong with it.
    var wasCheckedWhole = false
    var duration = Duration.zero
    /// Its pages were read, for nothing said that they are what they were.
    var wasRead = false
    /// Bytes of the log when it began.
    var walBytesAtStart: Int64 = 0
    /// Remembers it; once the snapshot is published. Without it the next run finds out by itself.
    var commit: () throws(BackupError) -> Void = { () throws(BackupError) in }
}

/// Copies one database for one target.
struct DatabaseCopier {
    /// Where the parts are in a snapshot.
    static func folder(of name: String) -> String { "database/\(name)" }
    /// A new base is made when the logs are more than this, or as large as half of the base: an
    /// image is read through all of its logs.
    static let mostLogs = 64
    /// Bytes that one turn of the writer copies.
    static let bytesPerStep = 262_144

    let database: Storage.Database
    let name: String
    /// So long the rows may take to be counted, and the check of what was copied again, besides
    /// what the size of the database makes it.
    var checkTime = Duration.seconds(60)
    /// It is time for `integrity_check`, and there is no stored copy to look at: an unchanged
    /// database is read, too, and what was read is checked, unless it is a new base.
    var wantsWholeCheck = false
    /// The check ends when the log has grown to this: it cannot be emptied while somebody reads.
    var mostLogBytes: Int64 = 67_108_864
    /// Asked before and while a part is written; a test has its own.
    var space: (String) -> FileSystemSpace? = { FileSystemSpace(of: $0) }

    init(database: Storage.Database, name: String = "kinglet.db") {
        self.database = database
        self.name = name
    }

    /// What is remembered to skip an unchanged database without reading it.
    private struct Seen: Codable, Equatable {
        var image: String
        var state: DatabaseState
    }

    private func seenPath(_ memory: String) -> String { "\(memory)/seen-\(name).json" }
    private func pagesPath(_ memory: String) -> String { "\(memory)/pages-\(name)" }

    /// Makes the copy.
    ///
    /// - Parameters:
    ///   - previous: the record in the target's last snapshot.
    ///   - memory: the target's private folder.
    ///   - folder: where the new parts are written, under their paths in the snapshot.
    ///   - md5: whether the entries of new parts get MD5 digests.
    func copy(
        previous: Manifest.Database?, memory: String, into folder: String, md5: Bool = false,
        cancellation: Cancellation, progress: (Progress) -> Void = { _ in }
    ) throws(BackupError) -> DatabaseCopy {
        let began = ContinuousClock.now
        let image = previous.map { PageDigests.identity(of: $0) }
        let seen = readSeen(memory)
        if !wantsWholeCheck, let previous, let seen, seen.image == image, let now = try state(),
            now.isSame(as: seen.state)
        {
            progress(Progress(.database, bytes: 0, totalBytes: 0))
            return DatabaseCopy(
                record: previous, kept: Self.paths(of: previous), unchanged: true,
                duration: ContinuousClock.now - began)
        }
        var run = CopyRun(
            copier: self, previous: previous,
            before: remembered(previous, memory).map(RememberedPages.init),
            cancellation: cancellation, needsMD5: md5)
        var (copy, digests, state) = try run.make(
            into: folder, next: pagesPath(memory) + ".next", progress: progress)
        copy.duration = ContinuousClock.now - began
        let pages = pagesPath(memory)
        let newSeen = state.map { state in
            Seen(image: PageDigests.identity(of: copy.record), state: state)
        }
        let seenPath = seenPath(memory)
        copy.commit = { () throws(BackupError) in
            if digests {
                guard rename(pages + ".next", pages) == 0 else { throw Files.error(pages, "write") }
                try Files.syncFolder(memory)
            }
            guard let newSeen, newSeen != seen, let bytes = try? JSONEncoder().encode(newSeen)
            else { return }
            try Files.replace(seenPath, Array(bytes), mode: 0o600)
        }
        return copy
    }

    private func readSeen(_ memory: String) -> Seen? {
        guard let bytes = try? Files.read(seenPath(memory), limit: 65_536) else { return nil }
        return try? JSONDecoder().decode(Seen.self, from: Data(bytes))
    }

    private func state() throws(BackupError) -> DatabaseState? {
        do { return try database.state() } catch { throw BackupError(storage: error) }
    }

    private func pageSize() -> Int? {
        try? database.readNow { connection in
            try connection.first("PRAGMA page_size") { Int($0.integer(0)) } ?? 0
        }
    }

    /// The digests of the previous snapshot's pages; nil when a new base is due.
    private func remembered(_ previous: Manifest.Database?, _ memory: String) -> PageDigests? {
        guard let previous, previous.changes.count < Self.mostLogs else { return nil }
        var bytes: Int64 = 0
        for part in previous.changes {
            bytes = bytes.addingReportingOverflow(part.size).partialValue
        }
        guard bytes >= 0, bytes <= previous.base.size / 2, pageSize() == previous.pageSize else {
            return nil
        }
        let image = PageDigests.identity(of: previous)
        let path = pagesPath(memory)
        if let found = PageDigests.load(path, image: image) { return found }
        // The snapshot was published and the run ended before it could say so.
        guard let found = PageDigests.load(path + ".next", image: image) else { return nil }
        rename(path + ".next", path)
        return found
    }

    static func paths(of record: Manifest.Database) -> [SnapshotPath] {
        ([record.base] + record.changes).compactMap { SnapshotPath($0.path) }
    }
}

extension BackupError {
    /// What a failure of the database means for a run.
    init(storage error: StorageError) {
        let code: Code =
            switch error.code {
            case .diskFull: .full
            case .corrupt: .damaged
            case .interrupted, .closed: .cancelled
            case .busy, .overloaded, .inputOutput: .temporary
            case .cannotOpen, .readOnly, .constraint, .newerSchema, .other: .permanent
            }
        self.init(
            code, subject: error.subject, "\(error.operation): \(error.message)",
            advice: error.advice)
    }
}
