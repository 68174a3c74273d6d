// What a snapshot holds. Written last, so that a snapshot that has one is whole.

/// The description of one snapshot. The files themselves are in its lists (`FileList`).
public struct Manifest: Codable, Sendable, Equatable {
    /// The one that this program writes.
    public static let currentFormat = 1

    /// One list of files, itself a file of the snapshot: `files/<first 32 digits of sha256>`.
    /// Lists that did not change since the last snapshot are the same files.
    public struct List: Codable, Sendable, Equatable {
        /// Hexadecimal.
        public var sha256: String
        /// Bytes of the list.
        public var size: Int64
        /// Entries in it.
        public var entries: Int
        /// Creates a record.
        public init(sha256: String, size: Int64, entries: Int) {
            self.sha256 = sha256
            self.size = size
            self.entries = entries
        }
        /// Where it is in the snapshot.
        public var path: String { "files/" + sha256.prefix(32) }
    }

    /// A part of a database's image.
    public struct Part: Codable, Sendable, Equatable {
        /// In the snapshot, such as `database/kinglet.db/base-6b0f…`.
        public var path: String
        /// Hexadecimal.
        public var sha256: String
        /// Bytes.
        public var size: Int64
        /// Creates a record.
        public init(path: String, sha256: String, size: Int64) {
            self.path = path
            self.sha256 = sha256
            self.size = size
        }
    }

    /// A database: a whole copy (`base`) and what changed since, in the order of `changes`, each in
    /// the format of SQLite's write-ahead log and going on where the one before it ended. By hand:
    /// `cp base kinglet.db; cat changes… > kinglet.db-wal`, and SQLite opens it.
    public struct Database: Codable, Sendable, Equatable {
        /// `kinglet.db`.
        public var name: String
        /// The whole copy.
        public var base: Part
        /// What changed since; empty for a new base.
        public var changes: [Part]
        /// Bytes of a page.
        public var pageSize: Int
        /// Pages of the image.
        public var pageCount: Int64
        /// Rows of every table.
        public var rows: [String: Int64]
        /// The highest number of a message; 0 for none.
        public var lastMessage: Int64
        /// SQLite's `quick_check` found no fault in what was copied; nil when it did not finish.
        public var isChecked: Bool?
        /// The schema that the rows are in: the last step of each feature's tables; nil when it
        /// could not be read.
        public var schema: [String: Int]?
        /// Creates a record.
        public init(
            name: String, base: Part, changes: [Part], pageSize: Int, pageCount: Int64,
            rows: [String: Int64], lastMessage: Int64, isChecked: Bool?
        ) {
            self.name = name
            self.base = base
            self.changes = changes
            self.pageSize = pageSize
            self.pageCount = pageCount
            self.rows = rows
            self.lastMessage = lastMessage
            self.isChecked = isChecked
        }
    }

    /// How it is written.
    public var format = Self.currentFormat
    /// The snapshot's name.
    public var id: SnapshotID
    /// The installation that it is of: 32 hexadecimal digits.
    public var instance: String
    /// The job that made it.
    public var backup: String
    /// The domains that it serves.
    public var domains: [String]
    /// Versions of the programs that made it: kinglet, sqlite, rsync.
    public var software: [String: String]
    /// The snapshot before it on the same target.
    public var previous: SnapshotID?
    /// When the copy of the database was complete, in seconds since 1970.
    public var copied: Int64
    /// The databases.
    public var databases: [Database]
    /// The lists of all its files but the manifest and the lists.
    public var lists: [List]
    /// Files in those lists.
    public var files: Int
    /// Their bytes.
    public var bytes: Int64
    /// Where the paths that the owner added came from, by their folder below `extra/`.
    public var extra: [String: String]
    /// Where files that the configuration names came from, by their place in the data directory of
    /// a restore, such as `secrets/named-1-privkey.pem`; nil when there are none.
    public var named: [String: String]?
    /// In the archive form, where the lists are and which packs hold the snapshot.
    public var archive: ArchiveRecord?

    /// Creates a manifest without lists; the parts are described at the properties.
    public init(
        id: SnapshotID, instance: String, backup: String, domains: [String],
        software: [String: String], previous: SnapshotID?
    ) {
        self.id = id
        self.instance = instance
        self.backup = backup
        self.domains = domains
        self.software = software
        self.previous = previous
        copied = 0
        databases = []
        lists = []
        files = 0
        bytes = 0
        extra = [:]
        archive = nil
    }
}

/// What only the archive form knows.
public struct ArchiveRecord: Codable, Sendable, Equatable {
    /// Where a run of bytes is in a pack.
    public struct Place: Codable, Sendable, Equatable {
        /// The pack's number in `packs`.
        public var pack: Int
        /// Where it begins in the pack's content, in bytes.
        public var offset: Int64
        /// Creates a place.
        public init(pack: Int, offset: Int64) {
            self.pack = pack
            self.offset = offset
        }
    }
    /// The packs that the snapshot needs: SHA-256 digests of their encrypted form, hexadecimal.
    public var packs: [String]
    /// Where each of the manifest's lists begins.
    public var lists: [Place]
    /// Creates a record.
    public init(packs: [String], lists: [Place]) {
        self.packs = packs
        self.lists = lists
    }
}
