// The moment in which restored data takes the place of what was there. Everything that is new lies
// ready and synced in a folder of the data directory; from the journal on, the switch is only
// finished, never undone: whoever opens the data next goes on where it stopped. What was there is
// moved into a folder beside the new data, so that it is all there in case of regret.

internal import Foundation
internal import Glibc

/// Puts restored data in place.
public enum DataSwitch {
    /// What is to be moved: written before the first move, removed after the last.
    struct Journal: Codable, Equatable {
        /// The folder of the data directory that keeps what was there.
        var kept: String
        /// Names that go there, in this order.
        var old: [String]
        /// Names that come from the work folder, in this order.
        var new: [String]
    }

    private static let largestJournal = 1_048_576
    private static func journal(_ folder: String) -> String {
        "\(folder)/\(Restore.workName)/switch"
    }
    private static func new(_ folder: String) -> String { "\(folder)/\(Restore.workName)/new" }

    /// Whether a switch was begun and has to be finished.
    public static func isUnfinished(in folder: String) -> Bool {
        Files.exists(journal(folder))
    }

    /// Finishes a switch that was begun, or removes what a restore that never came so far has
    /// left. Called by everybody who is about to open the data and has its lock.
    ///
    /// - Returns: where what was replaced is kept, when a switch was finished.
    @discardableResult
    public static func finish(in folder: String) throws(BackupError) -> String? {
        try finish(in: folder) { _ throws(BackupError) in }
    }

    /// The same; `step` is called before each of the steps.
    static func finish(
        in folder: String, step: (String) throws(BackupError) -> Void
    ) throws(BackupError) -> String? {
        let work = "\(folder)/\(Restore.workName)"
        guard Files.exists(work) else { return nil }
        guard let bytes = try Files.read(journal(folder), limit: largestJournal) else {
            try Files.remove(work)
            return nil
        }
        guard let journal = try? JSONDecoder().decode(Journal.self, from: Data(bytes)),
            (journal.old + journal.new + [journal.kept]).allSatisfy(isName)
        else {
            throw BackupError(
                .damaged, subject: Self.journal(folder),
                "this does not say what a restore was about to move",
                advice: "the restored data is in \(new(folder)); move it by hand, then remove "
                    + "\(work)")
        }
        let kept = "\(folder)/\(journal.kept)"
        for name in journal.old {
            // Once the new one is in place, what has the name is no longer old.
            guard Files.exists("\(new(folder))/\(name)") || !journal.new.contains(name),
                Files.exists("\(folder)/\(name)"), !Files.exists("\(kept)/\(name)")
            else { continue }
            try step("keep \(name)")
            try Files.makeFolder(kept)
            try move("\(folder)/\(name)", to: "\(kept)/\(name)")
        }
        let hasKept = Files.exists(kept)
        if hasKept { try Files.syncFolder(kept) }
        for name in journal.new where Files.exists("\(new(folder))/\(name)") {
            try step("place \(name)")
            try move("\(new(folder))/\(name)", to: "\(folder)/\(name)")
        }
        try Files.syncFolder(folder)
        try step("end")
        guard unlink(Self.journal(folder)) == 0 else {
            throw Files.error(Self.journal(folder), "remove")
        }
        try Files.syncFolder(work)
        try step("clean up")
        try Files.remove(work)
        return hasKept ? kept : nil
    }

    /// Begins a switch; `finish` does the rest. Everything new is synced. After an error it has not
    /// begun: the next start must not do what was reported as failed.
    ///
    /// - Parameter sync: a test has its own.
    static func begin(
        _ journal: Journal, in folder: String,
        sync: (String) throws(BackupError) -> Void = Files.syncFolder
    ) throws(BackupError) {
        guard let bytes = try? JSONEncoder().encode(journal) else {
            throw BackupError(
                .permanent, subject: folder, "cannot write down what is to be moved")
        }
        do throws(BackupError) {
            try Files.replace(Self.journal(folder), Array(bytes), mode: 0o600)
            try sync(folder)
        } catch {
            guard unlink(Self.journal(folder)) == 0 || errno == ENOENT else {
                throw BackupError(
                    error.code, subject: error.subject, error.message,
                    advice: "the next start will put the restored data in place, for "
                        + "\(Self.journal(folder)) cannot be removed")
            }
            throw error
        }
    }

    private static func move(_ from: String, to: String) throws(BackupError) {
        guard rename(from, to) == 0 else { throw Files.error(from, "move to \(to)") }
    }

    private static func isName(_ name: String) -> Bool {
        SnapshotPath(name).map { $0.components.count == 1 } ?? false
    }
}
