// A data directory, a folder as its target, and what is needed to back up from one to the other.

import Foundation
import Glibc
import Programs
import Testing

@testable import Backup

/// How a test's files get to the target.
enum Mover: CaseIterable, CustomTestStringConvertible {
    case rsync, copy
    var testDescription: String { "\(self)" }
    var transfer: any FileTransfer {
        switch self {
        case .rsync: PlainRsync()
        case .copy: CopyTransfer()
        }
    }
}

/// The real rsync with the few options that matter here.
struct PlainRsync: FileTransfer {
    func send(_ request: TransferRequest) throws(BackupError) -> TransferReport {
        guard let path = Program.find("rsync") else {
            throw BackupError(.permanent, subject: "rsync", "it is not installed")
        }
        let program = Program(
            path,
            ["-rlptgo", "--no-devices", "--no-specials", "--stats", "--no-h"]
                + request.linkDestinations.map { "--link-dest=\($0)" }
                + request.excludes.map { "--exclude=\($0)" } + ["--"] + request.sources
                + [request.destination])
        var output = ""
        var errors = ""
        let end = try? program.run(
            isWanted: { request.context.cancellation.reason == nil },
            output: { output += String(decoding: $0, as: UTF8.self) },
            errors: { errors += String(decoding: $0, as: UTF8.self) })
        guard end == .exited(0) else {
            throw BackupError(.temporary, subject: "rsync", "\(String(describing: end)) \(errors)")
        }
        func number(_ title: String) -> Int {
            let line = output.split(separator: "\n").first { $0.hasPrefix(title) }
            return line.flatMap { Int($0.filter { "0"..."9" ~= $0 }) } ?? -1
        }
        var report = TransferReport()
        report.files = number("Number of regular files transferred")
        report.literalBytes = Int64(number("Literal data"))
        report.exitStatus = 0
        return report
    }
}

/// A test ends a run here.
struct Fault {
    static let reason = "the power failed"
    static func error() -> BackupError { BackupError(.temporary, subject: "test", reason) }
}

final class FolderRig {
    let scratch: ScratchFolder
    let notes = Notes()
    /// Runs that said that they went without rsync.
    let withoutRsync = Notes()
    let key = RecoveryKey(secret: [UInt8](repeating: 9, count: 32))
    var instance = String(repeating: "1f", count: 16)
    var cancellation = Cancellation()
    var target: FolderTarget
    var data: String { scratch.path + "/data" }
    var place: String { scratch.path + "/target" }
    private var mounts: [String] = []

    init(_ mover: Mover = .rsync) throws {
        scratch = try ScratchFolder()
        for folder in ["data/uploads", "target", "memory", "staging"] {
            try Files.makeFolder("\(scratch.path)/\(folder)")
        }
        target = FolderTarget(
            name: "disk", path: scratch.path + "/target", dataFolder: scratch.path + "/data",
            transfer: mover.transfer)
        for number in 0..<30 {
            let text = "upload \(number)"
            let name = try #require(contentHash(Array(text.utf8))).description
            try scratch.write("data/uploads/\(name.prefix(1))/\(name)", text)
        }
        try scratch.write("data/uploads/readable", "for everybody", mode: 0o644)
        try scratch.write("staging/config/kinglet.yaml", "domain: example.test\n")
        try scratch.write("staging/secrets.age", "age")
    }

    deinit { for mount in mounts.reversed() { umount2(mount, Int32(MNT_DETACH)) } }

    var context: TargetContext {
        let notes = notes
        let withoutRsync = withoutRsync
        return TargetContext(
            key: key, instance: instance, memory: scratch.path + "/memory",
            staging: scratch.path + "/staging", bandwidth: nil, lock: -1,
            cancellation: cancellation, progress: { _ in },
            warn: { $0.hasPrefix("rsync is not") ? withoutRsync.add($0) : notes.add($0) })
    }

    /// A small file system of its own in place of the target's folder.
    func mountTarget(_ options: String) throws {
        try #require(mount("none", place, "tmpfs", 0, options) == 0, "run the tests as root")
        mounts.append(place)
    }

    static func id(_ sequence: Int, time: Int64? = nil) throws -> SnapshotID {
        try #require(SnapshotID(time: time ?? 1_700_000_000 + Int64(sequence), sequence: sequence))
    }

    /// Everything up to the transfer.
    func prepare(
        _ id: SnapshotID, kept: Set<SnapshotPath> = [], database: String? = nil,
        extra: [(folder: String, place: String)] = []
    ) throws -> PreparedSnapshot {
        var sources: [(folder: SnapshotPath, place: String)] = []
        func add(_ folder: String, _ place: String) throws {
            sources.append((try #require(SnapshotPath(folder)), place))
        }
        try add("uploads", data + "/uploads")
        try add("config", scratch.path + "/staging/config")
        try add("secrets.age", scratch.path + "/staging/secrets.age")
        if let database { try add("database", database) }
        for (folder, place) in extra { try add(folder, place) }
        var previous: (manifest: Manifest, list: FileList)?
        if let last = try target.snapshots(context).last(where: { $0 != id }) {
            let manifest = try target.manifest(of: last, context)
            previous = (manifest, try target.list(of: manifest, context))
        }
        let notes = notes
        let found = try SourceScan(
            roots: sources.map {
                .init(folder: $0.folder, place: $0.place, keepsLinks: $0.folder.isBelow("extra"))
            }, previous: previous?.list, cancellation: cancellation, progress: { _ in },
            warn: { notes.add($0) }
        ).run()
        let keptEntries = kept.compactMap { previous?.list[$0] }
        return PreparedSnapshot(
            manifest: Manifest(
                id: id, instance: instance, backup: "nightly", domains: ["example.test"],
                software: ["kinglet": "0"], previous: previous?.manifest.id),
            list: FileList(found.list.entries + keptEntries), sources: sources, kept: kept,
            previous: previous)
    }

    /// A whole run.
    @discardableResult
    func back(
        up sequence: Int, time: Int64? = nil, check: (Stored) throws(BackupError) -> Void = { _ in }
    ) throws -> TransferReport {
        try target.open(context, forWriting: true)
        return try target.store(
            try prepare(Self.id(sequence, time: time)), context, check: check)
    }

    func verify(_ sequence: Int, time: Int64? = nil) throws -> VerificationReport {
        let manifest = try target.manifest(of: Self.id(sequence, time: time), context)
        return try target.verify(
            target.list(of: manifest, context).entries, of: manifest, context)
    }

    /// The inode and the number of names of a stored file.
    func file(_ sequence: Int, _ name: String) throws -> (inode: UInt64, links: Int) {
        var status = stat()
        let path = try "\(place)/\(Self.id(sequence))/\(name)"
        try #require(lstat(path, &status) == 0, "\(name)")
        return (UInt64(status.st_ino), Int(status.st_nlink))
    }

    /// What lies in the target's folder.
    var names: Set<String> {
        Set(((try? Files.names(in: place)) ?? []).map { String(decoding: $0, as: UTF8.self) })
    }

    /// Names, modes, times, sizes and contents below a folder.
    static func description(of folder: String) throws -> [String] {
        let root = try #require(SnapshotPath("x"))
        let found = try SourceScan(
            roots: [.init(folder: root, place: folder, keepsLinks: true)],
            cancellation: Cancellation(), progress: { _ in }, warn: { _ in }
        ).run()
        return found.list.entries.map { "\($0)" }
    }
}
