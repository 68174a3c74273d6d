// Where everything is: what a command and the service in the server have in common.

public import Options
public import Storage

/// The parts of the program that a backup is made of and runs on.
public struct BackupProgram: Sendable {
    /// Its options.
    public let options: BackupOptions
    /// The data directory, absolute.
    public let dataDirectory: String
    /// The configuration file; nil when there is none.
    public let configuration: String?
    /// The domains that are served.
    public let domains: [String]
    /// The program's version.
    public let version: String
    /// This program's own file, for test restores.
    public let executable: String
    /// The server's open database; nil where none is open, and the run opens it.
    public let database: Database?

    /// Describes the program; the parts are described at the properties.
    public init(
        options: BackupOptions, dataDirectory: String, configuration: String?, domains: [String],
        version: String, executable: String, database: Database?
    ) {
        self.options = options
        self.dataDirectory = dataDirectory
        self.configuration = configuration
        self.domains = domains
        self.version = version
        self.executable = executable
        self.database = database
    }

    /// What the configuration says now.
    public var settings: BackupSettings { options.settings(dataDirectory: dataDirectory) }

    var folder: BackupFolder { BackupFolder(dataDirectory: dataDirectory) }
}
