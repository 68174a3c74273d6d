// Where everything is: what a command and the service in the server have in common.

public import Storage

/// The parts of the program that a backup is made of and runs on.
public struct BackupProgram: Sendable {
    /// Its options.
    public let options: BackupOptions
    /// The data directory, absolute.
    public let dataDirectory: String
    /// The configuration file; nil when there is none.
    public let configuration: String?
    /// Files that the configuration names, asked for at each run.
    public var named: @Sendable () -> [NamedFile] = { [] }
    /// The domains that are served.
    public let domains: [String]
    /// The program's version.
    public let version: String
    /// What test restores need; nil where none can be made.
    public let tester: Tester?
    /// The server's open database; nil where none is open, and the run opens it.
    public let database: Database?

    /// Describes the program; the parts are described at the properties.
    public init(
        options: BackupOptions, dataDirectory: String, configuration: String?, domains: [String],
        version: String, tester: Tester?, database: Database?
    ) {
        self.options = options
        self.dataDirectory = dataDirectory
        self.configuration = configuration
        self.domains = domains
        self.version = version
        self.tester = tester
        self.database = database
    }

    /// A file that the configuration names.
    public struct NamedFile: Sendable, Equatable {
        /// Absolute.
        public let path: String
        /// Whether it leaves this machine only encrypted.
        public let isSecret: Bool
        /// Creates it.
        public init(_ path: String, isSecret: Bool) {
            self.path = path
            self.isSecret = isSecret
        }
    }

    /// What test restores need of the rest of the program.
    public struct Tester: Sendable {
        /// Puts together what was restored.
        public let parts: any RestoreParts & Sendable
        /// Starts a second server.
        public let server: any TestRestoreServer & Sendable
        /// Creates it.
        public init(
            parts: any RestoreParts & Sendable, server: any TestRestoreServer & Sendable
        ) {
            self.parts = parts
            self.server = server
        }
    }

    /// What the configuration says now.
    public var settings: BackupSettings { options.settings(dataDirectory: dataDirectory) }

    /// The targets that commands look at.
    var targets: [TargetSettings] {
        let marker = "\(dataDirectory)/backups/\(TargetMarker.name)"
        return settings.visibleTargets(isLocalUsed: Files.exists(marker))
    }

    var folder: BackupFolder { BackupFolder(dataDirectory: dataDirectory) }
}
