// What can go wrong with the database, in the terms of whoever has to act on it.

internal import GRDB

/// A failure of the database.
public struct StorageError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of failure it is.
    public enum Code: String, Sendable, CaseIterable {
        case cannotOpen = "cannot_open"
        case diskFull = "disk_full"
        case readOnly = "read_only"
        case inputOutput = "io_error"
        case busy
        case overloaded
        case corrupt
        case constraint
        case newerSchema = "newer_schema"
        case closed
        /// Its time was over.
        case interrupted
        case other
    }

    /// What kind of failure it is.
    public let code: Code
    /// What was being done.
    public let operation: String
    /// The database's file.
    public let subject: String
    /// SQLite's own words.
    public let message: String

    /// Creates an error.
    public init(code: Code, operation: String, subject: String, message: String) {
        self.code = code
        self.operation = operation
        self.subject = subject
        self.message = message
    }

    init(_ error: any Error, operation: String, subject: String) {
        if let known = error as? StorageError {
            self = known
            return
        }
        guard let error = error as? DatabaseError else {
            self.init(
                code: .other, operation: operation, subject: subject, message: "\(error)")
            return
        }
        let code: Code =
            switch error.resultCode {
            case .SQLITE_CANTOPEN, .SQLITE_PERM, .SQLITE_AUTH: .cannotOpen
            case .SQLITE_FULL: .diskFull
            case .SQLITE_READONLY: .readOnly
            case .SQLITE_IOERR: .inputOutput
            case .SQLITE_BUSY, .SQLITE_LOCKED: .busy
            case .SQLITE_CORRUPT, .SQLITE_NOTADB: .corrupt
            case .SQLITE_CONSTRAINT: .constraint
            // What GRDB says of a connection that was closed.
            case .SQLITE_MISUSE: .closed
            case .SQLITE_INTERRUPT: .interrupted
            default: .other
            }
        self.init(
            code: code, operation: operation, subject: subject,
            message: error.message ?? "SQLite error \(error.resultCode.rawValue)")
    }

    /// What an administrator can do about it.
    public var advice: String {
        switch code {
        case .cannotOpen: "check that the directory exists and belongs to the user of kinglet"
        case .diskFull: "free some space on that disk; kinglet goes on by itself then"
        case .readOnly: "check that the file system is not mounted read-only"
        case .inputOutput: "check the disk (kernel log); an SD card may be dying: back up now"
        case .overloaded: "the disk is slow; see firmware-notes/server.md"
        case .busy: "close the other program that has the database open"
        case .corrupt: "restore the last backup: kinglet backup restore"
        case .newerSchema: "install the newer kinglet again; data cannot go back"
        case .constraint, .closed, .interrupted, .other: "see the log; if it repeats, report it"
        }
    }

    /// One line for a person.
    public var description: String { "\(operation) (\(subject)): \(message); \(advice)" }
}
