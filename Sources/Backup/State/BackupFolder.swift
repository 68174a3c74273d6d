// Where the backup keeps what it knows: below the data directory, private to its owner.

/// Paths below `backup-state`.
public struct BackupFolder: Sendable {
    /// The data directory.
    public let dataDirectory: String

    /// - Parameter dataDirectory: absolute.
    public init(dataDirectory: String) { self.dataDirectory = dataDirectory }

    var root: String { dataDirectory + "/backup-state" }
    var lock: String { root + "/lock" }
    var state: String { root + "/state.json" }
    var schedule: String { root + "/schedule.json" }
    var instance: String { root + "/instance" }
    var staging: String { root + "/staging" }
    /// Where test restores are made.
    var scratch: String { root + "/scratch" }

    /// What is remembered of one target.
    func memory(of target: String) -> String { root + "/targets/" + target }

    /// Makes the folders, private to their owner.
    func prepare() throws(BackupError) {
        for folder in [root, root + "/targets"] { try Files.makeFolder(folder, mode: 0o700) }
    }

    /// An empty staging folder.
    func emptyStaging() throws(BackupError) {
        try Files.remove(staging)
        try Files.makeFolder(staging, mode: 0o700)
    }
}
