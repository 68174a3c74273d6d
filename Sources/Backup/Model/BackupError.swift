// Why a backup, a check or a restore failed, and what its owner can do.

/// A failure.
public struct BackupError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of failure it is, which decides what happens next.
    public enum Code: String, Sendable, CaseIterable, Codable {
        /// The target is not there now (disk not plugged in, host asleep): skip softly.
        case absent
        /// Something that may be gone in a few minutes: retry.
        case temporary
        /// Somebody has to do something first; a retry is of no use.
        case permanent
        /// No space left at the target, or where a command was to write.
        case full
        /// No space left on this machine for what is on its way: fewer snapshots at the target
        /// would not help.
        case fullSource
        /// The target is not what it was: another disk, another installation's, edited.
        case foreign
        /// What is stored is not what was stored.
        case damaged
        /// Far more has vanished or changed than could be right.
        case suspicious
        /// Somebody wanted it to end, or its time was over.
        case cancelled
        /// Another run is at work.
        case busy
        /// Wrong or missing recovery key.
        case key
    }

    /// What kind of failure it is.
    public let code: Code
    /// What it is about: a path, a target, a snapshot.
    public let subject: String
    /// What is wrong.
    public let message: String
    /// What to do; empty when there is nothing.
    public let advice: String
    /// The exit status of the program that failed, for the metrics.
    public var exitStatus: Int?

    /// Creates an error.
    public init(
        _ code: Code, subject: String, _ message: String, advice: String = "",
        exitStatus: Int? = nil
    ) {
        self.code = code
        // Names of files and words of other programs are among them.
        self.subject = Excerpt.line(subject)
        self.message = Excerpt.line(message)
        self.advice = Excerpt.line(advice)
        self.exitStatus = exitStatus
    }

    /// The same where only this machine was written to: what is full is then its own disk.
    var ofSource: BackupError {
        guard code == .full else { return self }
        return BackupError(
            .fullSource, subject: subject, message, advice: advice, exitStatus: exitStatus)
    }

    /// One line for a person.
    public var description: String {
        "\(subject): \(message)" + (advice.isEmpty ? "" : "; \(advice)")
    }
}
