// The proof that a snapshot restores: it is restored into a scratch folder, a second server starts
// on it, a client logs in and reads history, and everything is thrown away.

internal import Glibc
public import Programs

/// What a test has the rest of this program do.
public protocol TestRestoreServer {
    /// Makes an account in a scratch copy, with the history of whoever has the longest.
    func makeProbe(configuration: String) throws(BackupError) -> ProbeAccount
    /// A server on the copy that reaches nobody and that only this machine reaches
    /// (`serve --isolated`).
    func program(configuration: String) -> Program
}

/// Restores a snapshot for a test. Owner: the one thread that has the backup lock.
public struct TestRestore {
    /// What a test found.
    public struct Report: Sendable, Equatable, Codable {
        /// The snapshot.
        public var snapshot: SnapshotID
        /// Seconds that it took in all.
        public var duration = 0.0
        /// Seconds until everything was restored.
        public var restoreDuration = 0.0
        /// Seconds that the server took until it was ready.
        public var startDuration = 0.0
        /// Files that were restored.
        public var files = 0
        /// Their bytes.
        public var bytes: Int64 = 0
        /// Rows in all tables, each of which has as many as the manifest says.
        public var rows: Int64 = 0
        /// Messages in the probe's archive by the database.
        public var messages = 0
        /// The same as the server counts them.
        public var countedMessages = 0
        /// Messages that the probe has read.
        public var readMessages = 0
        /// Whether the server ended within its time when it was asked to.
        public var endedCleanly = false

        /// Creates a report of nothing.
        public init(snapshot: SnapshotID) { self.snapshot = snapshot }

        /// One line for a person.
        public var description: String {
            "snapshot \(snapshot) restores: \(files) files, \(RestorePlan.size(bytes)), \(rows) "
                + "rows; a client read \(readMessages) of \(messages) messages; "
                + "\((duration * 10).rounded() / 10) s"
        }
    }

    /// The newest messages that a probe reads at most; all are counted.
    static let mostRead = 2000
    private static let folderName = "restore-test"

    private let parts: any RestoreParts
    private let server: any TestRestoreServer
    private let folder: String
    /// For the server's start, and for all that the probe does.
    private let patience: Duration

    /// - Parameter scratch: a private folder; the test has one of its own in it.
    public init(
        parts: any RestoreParts, server: any TestRestoreServer, scratch: String,
        patience: Duration = .seconds(120)
    ) {
        self.parts = parts
        self.server = server
        folder = "\(scratch)/\(Self.folderName)"
        self.patience = patience
    }

    /// Removes what a test that did not end has left. Called at every start.
    public static func cleanUp(scratch: String) throws(BackupError) {
        try Files.remove("\(scratch)/\(folderName)")
    }

    /// Does it. Throws `absent` when there is not enough space, which is no fault of the snapshot.
    public func run(
        _ manifest: Manifest, _ list: FileList, from target: any BackupTarget,
        _ context: TargetContext
    ) throws(BackupError) -> Report {
        let start = ContinuousClock.now
        try Files.remove(folder)
        try Files.makeFolder(folder)
        var result: Report?
        var failure: BackupError?
        do {
            result = try test(manifest, list, from: target, context, start)
        } catch {
            failure = error
        }
        do {
            try Files.remove(folder)
        } catch {
            context.warn("what the test restore has made cannot be removed: \(error)")
        }
        if let failure { throw failure }
        guard var report = result else {
            throw BackupError(.permanent, subject: folder, "the test gave no result")
        }
        report.duration = (ContinuousClock.now - start).inSeconds
        return report
    }

    private func test(
        _ manifest: Manifest, _ list: FileList, from target: any BackupTarget,
        _ context: TargetContext, _ start: ContinuousClock.Instant
    ) throws(BackupError) -> Report {
        context.progress(Progress(.test))
        let data = "\(folder)/data"
        // What the owner added is not the server's, and is verified like everything else.
        let plan = try RestorePlan(
            manifest, FileList(list.entries.filter { $0.path.top != "extra" }),
            scope: .everything, to: .folder(data))
        do {
            let restored = try Restore(plan, parts: parts, keyFile: nil, now: 0)
                .run(from: target, context)
            context.progress(Progress(.test))
            var report = Report(snapshot: manifest.id)
            report.files = restored.files
            report.bytes = restored.bytes
            report.rows = manifest.databases.flatMap(\.rows.values).reduce(0, &+)
            report.restoreDuration = (ContinuousClock.now - start).inSeconds
            try probe("\(data)/kinglet.yaml", manifest, context, &report)
            return report
        } catch {
            // The data's own disk is smaller than the data twice; the target may be sound.
            guard error.code == .full else { throw error }
            throw BackupError(
                .absent, subject: "the test restore", "has no room: \(error.message)",
                advice: error.advice)
        }
    }

    private func probe(
        _ configuration: String, _ manifest: Manifest, _ context: TargetContext,
        _ report: inout Report
    ) throws(BackupError) {
        let account = try server.makeProbe(configuration: configuration)
        try compare(account, manifest)
        report.messages = account.messages
        try context.cancellation.check()
        let start = ContinuousClock.now
        var program = server.program(configuration: configuration)
        program.inherited = context.lock >= 0 ? context.lock : nil
        // The priority of its reads and writes follows.
        program.niceness = max(program.niceness, 10)
        program.grace = .seconds(5)
        let scratch = ScratchServer(program)
        defer { scratch.stop() }
        let ready = try scratch.awaitReady(patience, context.cancellation)
        report.startDuration = (ContinuousClock.now - start).inSeconds
        let client = try ProbeClient(
            port: ready.port, fingerprints: ready.fingerprints, timeLimit: patience,
            cancellation: context.cancellation)
        try client.login(account)
        report.countedMessages = try client.countHistory()
        report.readMessages = try client.readHistory(limit: Self.mostRead)
        client.close()
        report.endedCleanly = scratch.stop()
        try compare(report)
    }

    /// What was opened is what was restored, and not a new and empty server's. A start may store
    /// more: what sessions had not got yet.
    private func compare(_ account: ProbeAccount, _ manifest: Manifest) throws(BackupError) {
        let rows = manifest.databases.first { $0.name == RestorePlan.databaseName }?.rows ?? [:]
        let (accounts, messages) = (rows["accounts"] ?? 0, rows["messages"] ?? 0)
        guard account.storedAccounts == accounts, account.storedMessages >= messages else {
            throw RestorePlan.damaged(
                "snapshot \(manifest.id)",
                "the restored server has \(account.storedAccounts) accounts and "
                    + "\(account.storedMessages) messages in place of \(accounts) and \(messages)")
        }
    }

    private func compare(_ report: Report) throws(BackupError) {
        func check(_ found: Int, _ expected: Int, _ what: String) throws(BackupError) {
            guard found != expected else { return }
            throw RestorePlan.damaged(
                "snapshot \(report.snapshot)",
                "the restored server \(what) \(found) messages in place of \(expected)")
        }
        try check(report.countedMessages, report.messages, "counts")
        try check(report.readMessages, min(report.messages, Self.mostRead), "gives")
    }
}
