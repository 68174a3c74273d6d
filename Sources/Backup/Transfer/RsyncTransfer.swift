// Sending files with rsync, to a folder of this machine or to another machine.

/// How rsync reaches the other side; everything empty for a folder of this machine.
struct RsyncConnection: Sendable {
    /// For messages; without a password.
    var subject: String
    /// The remote shell's command and its arguments; empty when there is none.
    var shell: [String] = []
    /// Only for daemons.
    var password: String?
    /// What ssh needs of the caller's environment.
    var callersEnvironment: [String: String] = [:]
    /// Whether it is a daemon.
    var isDaemon = false
    /// Where parts of files are kept for a later attempt, absolute on the other side; nil when that
    /// is not allowed there.
    var partialFolder: String?
    /// Options of `delivery` that the other side does not know.
    var refused: [String] = []

    /// Whether there is another side.
    var isRemote: Bool { !shell.isEmpty || isDaemon }

    /// Seconds without any data after which the other side is given up.
    static let timeout = 600

    /// What this machine's version has of: sync each file, make the path. rsync hands both on, so
    /// the other side's has to know them.
    func delivery(_ version: RsyncVersion) -> [String] {
        let all =
            (version >= RsyncVersion(3, 2, 4) ? ["--fsync"] : [])
            + (version >= RsyncVersion(3, 2, 3) ? ["--mkpath"] : [])
        return all.filter { !refused.contains($0) }
    }

    /// The options that every call needs.
    ///
    /// - Parameter timeout: in seconds; reading checksums of large files takes long.
    func options(timeout: Int = Self.timeout) -> [String] {
        var options: [String] = []
        if !shell.isEmpty { options += ["-e", shell.map(Self.quoted).joined(separator: " ")] }
        if isRemote { options.append("--timeout=\(timeout)") }
        if isDaemon { options.append("--contimeout=30") }
        return options
    }

    var environment: [String: String] {
        password.map { ["RSYNC_PASSWORD": $0] } ?? callersEnvironment
    }

    /// rsync cuts the command at spaces and knows quotes, doubled within.
    private static func quoted(_ word: String) -> String {
        let isPlain = word.utf8.allSatisfy { byte in
            byte != 0x20 && byte != 0x27 && byte != 0x22
        }
        return isPlain
            ? word
            : "'"
                + word.split(separator: "'", omittingEmptySubsequences: false)
                .joined(separator: "''") + "'"
    }
}

/// Sends with rsync.
struct RsyncTransfer: FileTransfer {
    /// Folders that rsync takes for `--link-dest`.
    static let mostLinkDestinations = 20

    let program: RsyncProgram
    var connection = RsyncConnection(subject: "rsync")

    /// - Parameter path: of `backup.rsync`; nil to search for it.
    init(path: String? = nil) throws(BackupError) {
        program = try RsyncProgram.find(path)
    }

    init(program: RsyncProgram, connection: RsyncConnection) {
        self.program = program
        self.connection = connection
    }

    func send(_ request: TransferRequest) throws(BackupError) -> TransferReport {
        let arguments = try arguments(request)
        var report = TransferReport()
        let (end, errors) = try program.run(
            arguments, environment: connection.environment, request.context
        ) { line in
            if let progress = RsyncProgress(line) {
                request.context.progress(progress.progress(expected: request.expectedBytes))
            } else {
                report.readStatistics(line)
            }
        }
        let outcome = RsyncExit.outcome(of: end, errors: errors, subject: connection.subject)
        switch outcome {
        case .success: report.exitStatus = 0
        case .warning(let text):
            report.exitStatus = 24
            request.context.warn(text)
        case .failure(let error): throw error
        }
        return report
    }

    /// A file with what is left out, for there may be thousands; nil when everything is sent.
    private func listLeftOut(of request: TransferRequest) throws(BackupError) -> String? {
        var bytes: [UInt8] = []
        for source in request.sources {
            // rsync's paths begin with the source's name, and below one that has a slash at its end.
            let top = source.hasSuffix("/") ? String(source.dropLast()) : Files.parent(of: source)
            let start = top == "/" ? [] : Array(top.utf8)
            let below = Array((source.hasSuffix("/") ? source : source + "/").utf8)
            for place in request.leftOut where place.starts(with: below) {
                bytes += ExcludePattern.literal(place[start.count...]) + [0]
            }
        }
        guard !bytes.isEmpty else { return nil }
        let path = request.context.staging + "/.rsync-left-out"
        try Files.replace(path, bytes, mode: 0o600)
        return path
    }

    /// Never among them: `--inplace` writes through hard links, `--delete` and `--ignore-errors`
    /// lose history, and rrsync refuses `--protect-args`.
    func arguments(_ request: TransferRequest) throws(BackupError) -> [String] {
        for path in request.sources + request.linkDestinations where !path.hasPrefix("/") {
            throw BackupError(
                .permanent, subject: path, "a path for rsync that is not absolute")
        }
        var arguments = [
            "-rlptgo", "--numeric-ids", "--one-file-system", "--no-devices", "--no-specials",
            "--max-delete=0", "--info=progress2,stats2", "--outbuf=L", "--no-h",
        ]
        if request.keepsExtendedAttributes { arguments.append("-AX") }
        if request.comparesNanoseconds, program.version >= RsyncVersion(3, 1, 3) {
            arguments.append("--modify-window=-1")
        }
        // A folder of this machine is synced in one go afterwards, which takes seconds, not minutes.
        // And it is there. When it is not, the disk has gone, and what rsync made would be in its
        // empty mount point: it is not to make any, which the point sees to.
        if connection.isRemote { arguments += connection.delivery(program.version) }
        if let folder = connection.partialFolder {
            arguments.append("--partial-dir=\(folder)")
        }
        if let bandwidth = request.context.bandwidth, bandwidth > 0 {
            // In KiB; 0 would be no limit.
            arguments.append("--bwlimit=\(max(1, bandwidth / 1024))")
        }
        for folder in request.linkDestinations.prefix(Self.mostLinkDestinations) {
            arguments.append("--link-dest=\(folder)")
        }
        if let list = try listLeftOut(of: request) {
            arguments += ["--from0", "--exclude-from=\(list)"]
        }
        for pattern in request.excludes {
            arguments.append("--exclude=\(ExcludePattern(pattern).rsyncArgument)")
        }
        let point = !connection.isRemote && request.destination.hasSuffix("/") ? "." : ""
        return arguments + connection.options() + ["--"] + request.sources
            + [request.destination + point]
    }
}
