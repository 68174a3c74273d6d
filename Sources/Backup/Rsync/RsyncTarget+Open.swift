// Finding out that a target behind rsync is there, is what it was, and what we may do there.

internal import Glibc

extension RsyncTarget {
    /// Finds out that it is there, is what it was and can be written.
    public func open(_ context: TargetContext, forWriting: Bool) throws(BackupError) {
        try explore(context, forWriting: forWriting)
        let memory = try RsyncMemory(context.memory)
        let known = findings.target
        let marker = try marker(context)
        if let marker {
            if let known, marker.target != known {
                throw BackupError(
                    .foreign, subject: name, "this is another target than the one that it was",
                    advice: "is another disk mounted there? if it was replaced on purpose, remove"
                        + " \(context.memory)")
            }
            if forWriting { try enter(marker, context) }
            findings.target = marker.target
        } else if known != nil {
            throw BackupError(
                .absent, subject: name,
                "\(place) is there, but without the snapshots that it had",
                advice: "is its disk mounted on the other machine?")
        } else if forWriting {
            let marker = TargetMarker(instance: context.instance)
            try makeFolders("", context)
            try write(marker, context)
            findings.target = marker.target
        } else if !context.readsUnmarked(name, try snapshots(context)) {
            throw BackupError(
                .permanent, subject: name, "there are no backups at \(place)",
                advice: "check the location")
        }
        try memory.remember(findings)
    }

    /// Finds out what the other side is and allows, once a day.
    func explore(_ context: TargetContext, forWriting: Bool) throws(BackupError) {
        let memory = try RsyncMemory(context.memory)
        findings = memory.findings
        connection.refused = findings.refused ?? []
        let now = Int64(time(nil))
        if findings.asked <= now - 86_400 || findings.asked > now {
            if forWriting || !hasExplored { try askSSH(context) }
            hasExplored = true
            if forWriting {
                connection.refused = []
                findings.isAppendOnly = try refusesDeletion(context)
                warnOfRefusal(context)
                findings.asked = now
            }
        }
        setPartialFolder()
        try memory.remember(findings)
    }

    /// Makes the target ours too. Where nothing can be replaced the marker stays as it is: a
    /// snapshot's manifest says whose it is.
    private func enter(_ marker: TargetMarker, _ context: TargetContext) throws(BackupError) {
        guard !marker.instances.contains(context.instance), !findings.isAppendOnly,
            marker.instances.count < TargetMarker.mostInstances
        else { return }
        var marker = marker
        marker.instances.append(context.instance)
        try write(marker, context)
    }

    // MARK: What the other side is

    /// Whether paths are below a folder of rrsync, and which version is there if it may be asked.
    private func askSSH(_ context: TargetContext) throws(BackupError) {
        guard case .ssh = place else { return }
        // rrsync refuses `..`; without it this lists the root folder.
        let outcome = try call(["--list-only", "-d"], [place.prefix + "/../"], context)
        switch outcome {
        case .success, .warning: findings.isRestricted = false
        case .failure(let error):
            guard error.message.contains("do not use ..") else { throw error }
            findings.isRestricted = true
        }
        guard !findings.isRestricted, let access else { return }
        if let version = try access.rsyncVersion(context), version < .recommended {
            context.warn(
                "\(name): rsync \(version) there is older than \(RsyncVersion.recommended)")
        }
    }

    /// Asks in a way that deletes nothing: without doing it, and protecting everything. An older
    /// rsync there does not know all that this one hands on, and goes on without.
    private func refusesDeletion(_ context: TargetContext) throws(BackupError) -> Bool {
        let empty = try scratch("empty", context)
        func ask() throws(BackupError) -> RsyncExit.Outcome {
            try call(
                ["-n", "-r", "--delete", "--max-delete=0", "--filter=P *", "--exclude=*"] + durable,
                [empty + "/", remote("")], context)
        }
        var outcome = try ask()
        while case .failure(let error) = outcome {
            let refused = Self.refused(by: error, of: durable)
            if refused.isEmpty { break }
            connection.refused += refused
            outcome = try ask()
        }
        try Files.remove(empty)
        guard case .failure(let error) = outcome else { return false }
        if error.message.contains("has been disabled on this server")
            || error.message.contains("refuse --delete")
        {
            return true
        }
        // The folder is made by the first run.
        if Self.isMissing(error) || error.exitStatus == 11 { return false }
        throw error
    }

    /// Those of some options that the other side does not take; all where it does not say which.
    private static func refused(by error: BackupError, of options: [String]) -> [String] {
        let isUnknown = [
            "unknown option", "invalid rsync-command syntax or options", "configured to refuse --",
        ].contains { error.message.contains($0) }
        guard isUnknown else { return [] }
        let named = options.filter { error.message.contains($0) }
        return named.isEmpty && !error.message.contains("refuse --") ? options : named
    }

    private func warnOfRefusal(_ context: TargetContext) {
        let known = findings.refused ?? []
        findings.refused = connection.refused.isEmpty ? nil : connection.refused
        guard connection.refused.contains("--fsync"), !known.contains("--fsync") else { return }
        context.warn(
            "\(name): the rsync there does not sync what it writes; a power cut there soon after a"
                + " backup may damage it; install rsync 3.2.4 or newer there")
    }

    private func setPartialFolder() {
        // rrsync with -no-overwrite forbids it.
        connection.partialFolder =
            findings.isAppendOnly || findings.isRestricted ? nil : partialPath
    }

    /// Where rsync puts what it has of a file when the connection breaks.
    static let partsFolder = ".rsync-partial"
    private var partialPath: String { remotePath(Self.partsFolder) }

    // MARK: Small files

    /// A small file of the target; nil when it is not there.
    func small(
        _ file: String, limit: Int, _ context: TargetContext
    ) throws(BackupError) -> [UInt8]? {
        let folder = try scratch("small", context)
        let outcome = try call(
            ["-t", "--no-links", "--no-devices", "--no-specials", "--max-size=\(limit)"],
            [remote(file), folder + "/file"], context)
        if case .failure(let error) = outcome {
            if Self.isMissing(error) { return nil }
            throw error
        }
        let bytes = try Files.read(folder + "/file", limit: limit)
        try Files.remove(folder)
        return bytes
    }

    /// Sends a small file; the path is made.
    func writeSmall(
        _ bytes: [UInt8], to file: String, _ context: TargetContext
    ) throws(BackupError) {
        let folder = try scratch("small", context)
        let local = folder + "/file"
        try Files.replace(local, bytes, mode: 0o600)
        try accept(
            try call(["-t", "-p"] + durable, [local, remote(file)], context), context)
        try Files.remove(folder)
    }

    /// What both sides know of: sync each file, make the path.
    var durable: [String] { connection.delivery(program.version) }

    /// Makes a path there where rsync does not do that on the way.
    func makeFolders(_ path: String, _ context: TargetContext) throws(BackupError) {
        guard !durable.contains("--mkpath") else { return }
        let folder = try scratch("path", context)
        try Files.makeFolder(path.isEmpty ? folder : "\(folder)/\(path)")
        try accept(try call(["-r"], [folder + "/", remote("")], context), context)
        try Files.remove(folder)
    }

    private func marker(_ context: TargetContext) throws(BackupError) -> TargetMarker? {
        guard let bytes = try small(TargetMarker.name, limit: TargetMarker.longest, context) else {
            return nil
        }
        return try TargetMarker(bytes, place: "\(name): \(TargetMarker.name)")
    }

    private func write(_ marker: TargetMarker, _ context: TargetContext) throws(BackupError) {
        try writeSmall(marker.bytes, to: TargetMarker.name, context)
    }

    // MARK: Pins

    private static var pinsName: String { "pins" }
    private static var mostPins: Int { 10_000 }

    /// Snapshots that are never pruned: a name on each line.
    public func pins(_ context: TargetContext) throws(BackupError) -> Set<SnapshotID> {
        let bytes = try small(Self.pinsName, limit: Self.mostPins * 24, context) ?? []
        return Set(
            bytes.split(separator: UInt8(ascii: "\n")).compactMap {
                SnapshotID(String(decoding: $0, as: UTF8.self))
            })
    }

    /// Replaces them.
    public func setPins(
        _ pins: Set<SnapshotID>, _ context: TargetContext
    ) throws(BackupError) {
        guard !findings.isAppendOnly else {
            throw BackupError(
                .permanent, subject: name, "this machine's key may only add snapshots",
                advice: "nothing is pruned from here; pin them where the pruning is done")
        }
        guard pins.count <= Self.mostPins else {
            throw BackupError(.permanent, subject: name, "there are too many pins")
        }
        let text = pins.sorted().map { "\($0)\n" }.joined()
        try writeSmall(Array(text.utf8), to: Self.pinsName, context)
    }
}
