// Bringing files to another place and sharing what is there already: by rsync, or by copying.

/// What is to be sent where.
struct TransferRequest: Sendable {
    /// Local paths, absolute. Each becomes `destination` + its last component; of one with a slash at
    /// its end, what is in it goes there. Links in them are sent as links.
    var sources: [String]
    /// A local folder, or what rsync calls a remote one, with a slash at the end. It exists where it
    /// is local; it may hold what an earlier attempt has left. Without a slash it is the name that
    /// the only source, a file, gets.
    var destination: String
    /// Folders of the other side, absolute, in which the same paths are looked for: an unchanged
    /// file becomes a hard link to the one there. The first that has it counts; at most 20.
    var linkDestinations: [String]
    /// Keeps owners, access lists and extended attributes too, where the system lets us.
    var keepsExtendedAttributes = false
    /// What is left out, by `ExcludePattern`; absolute ones begin where rsync's do.
    var excludes: [String] = []
    /// Files and folders that are left out, absolute.
    var leftOut: Set<[UInt8]> = []
    /// Whether times have to differ by less than a second to be the same. Not always: some file
    /// systems know whole seconds only, and everything would be sent again.
    var comparesNanoseconds = false
    /// Bytes that are to be sent, for the progress; nil while unknown.
    var expectedBytes: Int64?
    /// Bandwidth, cancellation, progress, warnings and the lock that the program inherits.
    var context: TargetContext

    init(
        sources: [String], destination: String, linkDestinations: [String], context: TargetContext
    ) {
        self.sources = sources
        self.destination = destination
        self.linkDestinations = linkDestinations
        self.context = context
    }
}

/// Sends files and folders. Permission bits and times are kept (to the nanosecond where the other
/// side knows them), links are kept as links, devices are left out, nothing is deleted on the other
/// side, and a file that is there is replaced, never written to: it may be a hard link.
protocol FileTransfer: Sendable {
    /// Returns when everything is there. Throws `full`, `temporary`, `cancelled` and so on, by what
    /// went wrong; files that were there already stay.
    func send(_ request: TransferRequest) throws(BackupError) -> TransferReport
}
