// What is to be restored, and where to.

/// The part of a snapshot that is wanted.
public enum RestoreScope: Sendable, Equatable {
    /// Everything that is in it.
    case everything
    /// One account: what it has lost comes back, what is newer stays.
    case user(String)
    /// The files that users have uploaded.
    case uploads
    /// The configuration.
    case configuration
}

/// Where it goes.
public enum RestoreDestination: Sendable, Equatable {
    /// A folder that is empty or does not exist. With everything, it is a data directory afterwards,
    /// and its configuration is in it.
    case folder(String)
    /// Into the data directory, in place of what is there. Nobody else has it open.
    ///
    /// - Parameter configuration: the configuration file that is in force; nil for none.
    case replace(dataDirectory: String, configuration: String?)

    /// The folder that files are made in.
    var folder: String {
        switch self {
        case .folder(let path): path
        case .replace(let path, _): path
        }
    }
}

/// What a restore has others do: the parts of this program that put together what the snapshot has
/// in another form.
public protocol RestoreParts {
    /// Puts a database together from its base and its changes, which are in a folder under their
    /// paths in the snapshot.
    func assemble(
        _ record: Manifest.Database, in folder: String, to file: String
    ) throws(BackupError)
    /// Looks at all of a database (`integrity_check`), and gives the rows of every table.
    func check(_ file: String) throws(BackupError) -> [String: Int64]
    /// Opens `secrets.age` into an empty private folder.
    func extractSecrets(
        _ file: String, key: RecoveryKey, into folder: String
    ) throws(BackupError)
    /// Gives an account of the running data what it has lost, from a database of the snapshot.
    /// Gives sentences that say what came back.
    func mergeAccount(_ address: String, from file: String) throws(BackupError) -> [String]
}
