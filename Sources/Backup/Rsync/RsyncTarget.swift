// Snapshots on another machine that only rsync reaches: over SSH, also with a key that is restricted
// to adding (rrsync), or at an rsync daemon. Nothing can be renamed there, so a snapshot is sent
// under its name, and its manifest last: a folder without one is no snapshot.
//
// What was found about paths (rsync 3.5.0, rrsync of the same): rrsync takes a leading slash, in
// arguments and in --link-dest, for its own folder, and a daemon for the module, with and without
// chroot. So every path that we give is absolute there, and only its beginning differs.

internal import Foundation
internal import Glibc
internal import Programs
internal import TLS

/// A target that only rsync reaches. Belongs to one thread.
public final class RsyncTarget: BackupTarget {
    /// Its name in the configuration.
    public let name: String
    /// rsync is asked for digests, and knows this one.
    public var needsMD5: Bool { true }
    /// Another machine.
    public var isOnSameMedium: Bool { false }
    /// Not with a key that may only add; known after `open`.
    public var canRemove: Bool { !findings.isAppendOnly }
    /// Ours; theirs does not tell.
    public var software: [String: String] { ["rsync": "\(program.version)"] }

    let place: RsyncPlace
    let program: RsyncProgram
    var connection: RsyncConnection
    /// Nil for daemons.
    let access: SSHAccess?
    var findings = RsyncMemory.Findings()
    /// Whether what a reader has to know was asked already by this command.
    var hasExplored = false
    /// Snapshots, and this installation's attempts, as they were last listed.
    var listed: (complete: [SnapshotID: RsyncListing], attempts: [SnapshotID])?
    /// Whether parts of files that a broken connection has left were there then.
    var hasParts = false
    var manifests: [SnapshotID: Manifest] = [:]

    /// - Parameters:
    ///   - secrets: the folder of secrets; the key for SSH is below `backup-ssh/<name>` there.
    ///   - passwordFile: for a daemon; nobody else may read it.
    ///   - rsync: of `backup.rsync`; nil to search for it.
    public init(
        name: String, place: RsyncPlace, secrets: String, passwordFile: String? = nil,
        rsync: String? = nil
    ) throws(BackupError) {
        try place.check()
        self.name = name
        self.place = place
        program = try RsyncProgram.find(rsync)
        connection = RsyncConnection(subject: name)
        if case .ssh = place {
            let access = try SSHAccess(target: name, place: place, secrets: secrets)
            guard access.isComplete else {
                throw BackupError(
                    .permanent, subject: name, "this machine has no key for it yet",
                    advice: "type `kinglet backup target add \(name)`")
            }
            connection.shell = try access.command()
            self.access = access
        } else {
            access = nil
            connection.isDaemon = true
            connection.password = try passwordFile.map(Self.password)
        }
    }

    /// A place that is only read, as whoever calls this program reaches it.
    ///
    /// - Parameters:
    ///   - callersShell: see `SSHAccess.callersCommand`; nil for a daemon.
    ///   - password: of a daemon's user.
    init(
        name: String, place: RsyncPlace, callersShell: [String]? = nil, password: String? = nil
    ) throws(BackupError) {
        try place.check()
        self.name = name
        self.place = place
        program = try RsyncProgram.find()
        connection = RsyncConnection(subject: name)
        access = nil
        if let callersShell {
            connection.shell = callersShell
            connection.callersEnvironment = SSHAccess.callersEnvironment
        } else {
            connection.isDaemon = true
            connection.password = password
        }
    }

    /// The first line of a file that only its owner can read.
    static func password(_ path: String) throws(BackupError) -> String {
        var status = stat()
        guard stat(path, &status) == 0 else { throw Files.error(path, "read") }
        guard status.st_mode & 0o077 == 0 else {
            throw BackupError(
                .permanent, subject: path, "others can read this password", advice: "chmod 600 it")
        }
        let bytes = try Files.read(path, limit: 4096) ?? []
        let line = bytes.prefix { $0 != 10 && $0 != 13 && $0 != 0 }
        guard !line.isEmpty else {
            throw BackupError(.permanent, subject: path, "there is no password in it")
        }
        return String(decoding: line, as: UTF8.self)
    }

    // MARK: Paths

    /// Absolute on the other side.
    func remotePath(_ path: String) -> String {
        place.root(isRestricted: findings.isRestricted) + "/" + path
    }

    /// As an argument of rsync.
    func remote(_ path: String) -> String { place.prefix + remotePath(path) }

    /// An empty folder of ours for the length of a run, made anew.
    func scratch(_ name: String, _ context: TargetContext) throws(BackupError) -> String {
        let path = context.staging + "/.rsync-" + name
        try Files.remove(path)
        try Files.makeFolder(path)
        return path
    }

    // MARK: Calls

    /// Calls while another rsync is at work there: rrsync lets one in at a time, and the one before
    /// may be about to end.
    static let mostCalls = 5

    static func waitForOther(_ attempt: Int) { poll(nil, 0, Int32(attempt) * 500) }

    /// Calls rsync; how it ends is for the caller.
    func call(
        _ options: [String], _ paths: [String], timeout: Int = RsyncConnection.timeout,
        input: @autoclosure () -> (() -> [UInt8]?)? = nil, _ context: TargetContext,
        line: (ArraySlice<UInt8>) -> Void = { _ in }
    ) throws(BackupError) -> RsyncExit.Outcome {
        var options = options + ["--outbuf=L", "--no-h"]
        if let bandwidth = context.bandwidth, bandwidth > 0 {
            options.append("--bwlimit=\(max(1, bandwidth / 1024))")
        }
        let arguments = options + connection.options(timeout: timeout) + ["--"] + paths
        for attempt in 1...Self.mostCalls {
            let (end, errors) = try program.run(
                arguments, environment: connection.environment, input: input(), context, line: line)
            let outcome = advised(
                RsyncExit.outcome(of: end, errors: errors, subject: name))
            guard case .failure(let error) = outcome, error.code == .busy, attempt < Self.mostCalls
            else { return outcome }
            Self.waitForOther(attempt)
        }
        throw BackupError(.busy, subject: name, "another rsync is still at work there")
    }

    /// Over the caller's own way by SSH there is none of our keys to be mended.
    private func advised(_ outcome: RsyncExit.Outcome) -> RsyncExit.Outcome {
        guard case .failure(let error) = outcome, access == nil, !connection.shell.isEmpty,
            ["target add", "authorized_keys"].contains(where: { error.advice.contains($0) })
        else { return outcome }
        return .failure(
            BackupError(
                error.code, subject: error.subject, error.message,
                advice: "your own keys and configuration of ssh are used, and no question is "
                    + "asked: connect once by hand first", exitStatus: error.exitStatus))
    }

    /// Throws when it failed, and warns when that is called for.
    func accept(_ outcome: RsyncExit.Outcome, _ context: TargetContext) throws(BackupError) {
        switch outcome {
        case .success: return
        case .warning(let text): context.warn(text)
        case .failure(let error): throw error
        }
    }

    /// Whether rsync says that a path is not there. Its status is 23 or 3 for that; rrsync ends
    /// before there is a protocol.
    static func isMissing(_ error: BackupError) -> Bool {
        [3, 12, 23].contains(error.exitStatus)
            && error.message.contains("No such file or directory")
    }

    // MARK: Reading

    /// Complete snapshots, oldest first.
    public func snapshots(_ context: TargetContext) throws(BackupError) -> [SnapshotID] {
        try list(context)
        guard let listed else { return [] }
        // Before a restore on an empty machine it is not known which installation this is.
        let isAnybody = context.instance.isEmpty
        try fetchManifests(of: Array(listed.complete.keys), context)
        let memory = try RsyncMemory(context.memory)
        var ids: [SnapshotID] = []
        for id in listed.complete.keys {
            guard let bytes = try Files.read(memory.path(of: id), limit: ManifestFile.longest)
            else {
                continue
            }
            // One that cannot be read at all is ours until it is known to be another's, so that
            // somebody learns that it is damaged.
            let line = bytes.prefix { $0 != 10 }
            let written = try? JSONDecoder().decode(Manifest.self, from: Data(line))
            if isAnybody || written == nil || written?.instance == context.instance {
                ids.append(id)
            }
        }
        return ids.sorted()
    }

    private static let mostSnapshots = 10_000

    /// Asks what is there.
    private func list(_ context: TargetContext) throws(BackupError) {
        var complete: [SnapshotID: RsyncListing] = [:]
        var folders: Set<SnapshotID> = []
        var hasParts = false
        let outcome = try call(
            [
                "--list-only", "-r", "--include=/*/", "--include=/*/\(ManifestFile.name)",
                "--exclude=*",
            ], [remote("")], context
        ) { line in
            // Whoever lists more than this means harm.
            guard let listing = RsyncListing(line), folders.count <= Self.mostSnapshots else {
                return
            }
            let parts = listing.name.split(separator: UInt8(ascii: "/"))
            if listing.name == Array(Self.partsFolder.utf8) { hasParts = true }
            guard let first = parts.first,
                let id = SnapshotID(String(decoding: first, as: UTF8.self))
            else { return }
            if parts.count == 1, listing.kind == UInt8(ascii: "d") {
                folders.insert(id)
            } else if parts.count == 2, listing.kind == UInt8(ascii: "-"),
                parts[1].elementsEqual(ManifestFile.name.utf8)
            {
                complete[id] = listing
            }
        }
        try accept(outcome, context)
        guard folders.count <= Self.mostSnapshots else {
            throw BackupError(
                .damaged, subject: name, "it lists more than \(Self.mostSnapshots) snapshots",
                advice: "look what is there")
        }
        let memory = try RsyncMemory(context.memory)
        var attempts: [SnapshotID] = []
        for id in try memory.begun() {
            if complete[id] == nil, folders.contains(id) {
                attempts.append(id)
            } else {
                try memory.forgetBegun(id)
            }
        }
        listed = (complete, attempts.sorted())
        self.hasParts = hasParts
    }

    /// Brings manifests that are not here, or are not as they were.
    func fetchManifests(
        of ids: [SnapshotID], anew: Bool = false, _ context: TargetContext
    ) throws(BackupError) {
        let memory = try RsyncMemory(context.memory)
        let wanted = ids.filter { id in
            var status = stat()
            guard !anew, lstat(memory.path(of: id), &status) == 0 else { return true }
            return listed?.complete[id].map { $0.size != status.st_size } ?? false
        }.sorted()
        if let listed, !anew {
            for name in try Files.names(in: memory.manifests) {
                let name = String(decoding: name, as: UTF8.self)
                guard let id = SnapshotID(name), listed.complete[id] != nil else {
                    try Files.remove(memory.manifests + "/" + name)
                    continue
                }
            }
        }
        guard !wanted.isEmpty else { return }
        let folder = try scratch("manifests", context)
        try download(
            wanted.map { "\($0)/\(ManifestFile.name)" }.map { Array($0.utf8) }, from: "",
            into: folder, largest: ManifestFile.longest, context)
        for id in wanted {
            let path = folder + "/\(id)/\(ManifestFile.name)"
            guard let bytes = try Files.read(path, limit: ManifestFile.longest) else { continue }
            try Files.replace(memory.path(of: id), bytes, mode: 0o600)
            manifests[id] = nil
        }
        try Files.remove(folder)
    }

    /// Brings files below a folder of the target into an empty one of ours: files and nothing else.
    /// What is missing is for the caller to notice.
    func download(
        _ paths: [[UInt8]], from remoteFolder: String, into folder: String, largest: Int? = nil,
        _ context: TargetContext, line: (ArraySlice<UInt8>) -> Void = { _ in }
    ) throws(BackupError) {
        let outcome = try call(
            [
                "-t", "--no-links", "--no-devices", "--no-specials", "--safe-links",
                "--files-from=-", "--from0", "--info=progress2",
            ] + (largest.map { ["--max-size=\($0)"] } ?? []),
            [readingRoot, folder + "/"], timeout: 3600,
            input: names(paths, in: remoteFolder), context, line: line)
        if case .failure(let error) = outcome, error.exitStatus == 23, error.code == .temporary {
            return
        }
        try accept(outcome, context)
    }

    /// What `--files-from` begins at: a daemon of rsync 3.5.0 without chroot takes files that are
    /// read from below a folder of its module for vanished.
    var readingRoot: String {
        if case .daemon = place { place.prefix + "/" } else { remote("") }
    }

    /// Names for `--files-from` with `--from0`, a piece at a time. What stands before `/./` is not
    /// part of the name here.
    ///
    /// - Parameter folder: of the target; empty for its top.
    func names(_ paths: [[UInt8]], in folder: String) -> () -> [UInt8]? {
        var before = ""
        if case .daemon(_, _, _, _, let path) = place { before = path }
        if !folder.isEmpty { before += (before.isEmpty ? "" : "/") + folder }
        let start = before.isEmpty ? [] : Array("\(before)/./".utf8)
        var rest = paths[...]
        return {
            guard !rest.isEmpty else { return nil }
            var piece: [UInt8] = []
            while let next = rest.popFirst() {
                piece += start + next + [0]
                if piece.count > 32_768 { break }
            }
            return piece
        }
    }

    /// A snapshot's manifest, its seal checked.
    public func manifest(
        of id: SnapshotID, _ context: TargetContext
    ) throws(BackupError) -> Manifest {
        if let manifest = manifests[id] { return manifest }
        let path = try RsyncMemory(context.memory).path(of: id)
        if try Files.read(path, limit: ManifestFile.longest) == nil {
            try fetchManifests(of: [id], context)
        }
        guard let bytes = try Files.read(path, limit: ManifestFile.longest) else {
            throw BackupError(
                .permanent, subject: "\(name): \(id)", "there is no such snapshot",
                advice: "see `kinglet backup list`")
        }
        let manifest = try ManifestFile.decode(bytes, id: id, key: context.key)
        manifests[id] = manifest
        return manifest
    }

    /// All files of a snapshot; each list's digest is checked.
    public func list(
        of manifest: Manifest, _ context: TargetContext
    ) throws(BackupError) -> FileList {
        let memory = try RsyncMemory(context.memory)
        var missing: [Manifest.List] = []
        for list in manifest.lists where !Self.isWhole(memory.path(of: list), list) {
            missing.append(list)
        }
        if !missing.isEmpty {
            let folder = try scratch("lists", context)
            try download(
                missing.map { Array($0.path.utf8) }, from: "\(manifest.id)", into: folder,
                largest: FileListCodec.longestPart, context)
            for list in missing {
                let bytes = try Files.read(
                    folder + "/" + list.path, limit: FileListCodec.longestPart)
                guard let bytes, Self.hash(bytes) == list.sha256 else {
                    throw BackupError(
                        .damaged, subject: "\(name): \(manifest.id)",
                        "the list \(list.path) is missing or is not what was stored",
                        advice: "use another snapshot")
                }
                try memory.keep(bytes, of: list)
            }
            try Files.remove(folder)
        }
        return try FileListCodec.decode(manifest.lists) { list throws(BackupError) in
            try Files.read(memory.path(of: list), limit: FileListCodec.longestPart) ?? []
        }
    }

    private static func isWhole(_ path: String, _ list: Manifest.List) -> Bool {
        guard let bytes = try? Files.read(path, limit: FileListCodec.longestPart) else {
            return false
        }
        return hash(bytes) == list.sha256
    }

    static func hash(_ bytes: [UInt8]) -> String {
        ContentHash(DigestAlgorithm.sha256.hash(bytes))?.description ?? ""
    }

    /// New parts of the database are staged here.
    public func placeForDatabase(
        of id: SnapshotID, _ context: TargetContext
    ) throws(BackupError) -> String? { nil }

    /// rsync does not tell.
    public func space(_ context: TargetContext) throws(BackupError) -> TargetSpace? { nil }
}
