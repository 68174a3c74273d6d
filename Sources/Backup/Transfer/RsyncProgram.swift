// The system's rsync: where it is, which version, and one call of it.

internal import Programs

/// A version of rsync.
struct RsyncVersion: Sendable, Comparable, CustomStringConvertible {
    /// Since this one, what is known to be wrong with rsync's links and paths is mended.
    static let recommended = RsyncVersion(3, 4, 4)

    let major: Int, minor: Int, patch: Int

    init(_ major: Int, _ minor: Int, _ patch: Int) {
        (self.major, self.minor, self.patch) = (major, minor, patch)
    }

    /// From the first line of `rsync --version`: `rsync  version 3.2.7  protocol version 31`, or
    /// `v3.4.1` in some.
    init?(banner: String) {
        let words = banner.split(whereSeparator: { $0 == " " || $0 == "\n" })
        guard words.first == "rsync", let place = words.firstIndex(of: "version"),
            words.index(after: place) < words.endIndex
        else { return nil }
        var text = words[words.index(after: place)]
        if text.first == "v" { text = text.dropFirst() }
        let numbers = text.split(separator: ".").map { Int($0.prefix { "0"..."9" ~= $0 }) }
        guard numbers.count >= 2, let major = numbers[0], let minor = numbers[1],
            (0...999).contains(major), (0...999).contains(minor)
        else { return nil }
        let patch = numbers.count > 2 ? numbers[2] ?? 0 : 0
        self.init(major, minor, min(patch, 999))
    }

    var description: String { "\(major).\(minor).\(patch)" }

    static func < (left: RsyncVersion, right: RsyncVersion) -> Bool {
        (left.major, left.minor, left.patch) < (right.major, right.minor, right.patch)
    }
}

/// The rsync of this machine.
final class RsyncProgram: Sendable {
    let path: String
    let version: RsyncVersion
    /// What it is started by.
    private let launcher: [String]

    private init(path: String, version: RsyncVersion) {
        self.path = path
        self.version = version
        // With its parent it ends, and the lock that it has inherited is free again.
        let bound = Program.find("setpriv").map { [$0, "--pdeathsig", "TERM"] } ?? []
        // -t: where a service may not ask for less of the disk, rsync runs all the same.
        let idle = Program.find("ionice").map { [$0, "-t", "-c3"] } ?? []
        launcher = bound + idle
    }

    /// - Parameter path: of `backup.rsync`; nil to search for it.
    static func find(_ path: String? = nil) throws(BackupError) -> RsyncProgram {
        guard let found = Program.find(path ?? "rsync"), found.hasPrefix("/") else {
            throw BackupError(
                .permanent, subject: path ?? "rsync", "rsync is not installed on this machine",
                advice: path == nil ? "apt install rsync" : "correct backup.rsync")
        }
        var program = Program(found, ["--version"])
        program.timeLimit = .seconds(20)
        program.grace = .seconds(1)
        var banner: [UInt8] = []
        do {
            _ = try program.run(output: { if banner.count < 4096 { banner += $0 } })
        } catch {
            throw BackupError(.permanent, subject: found, error.description)
        }
        guard let version = RsyncVersion(banner: String(decoding: banner, as: UTF8.self)) else {
            throw BackupError(
                .permanent, subject: found, "this does not say which version of rsync it is",
                advice: "install rsync 3.2.7 or newer")
        }
        guard version >= RsyncVersion(3, 1, 0) else {
            throw BackupError(
                .permanent, subject: found, "rsync \(version) is too old",
                advice: "install rsync 3.4.4 or newer")
        }
        return RsyncProgram(path: found, version: version)
    }

    /// What is to be said of an old version; nil for a new one. No matter for a run: it is the same
    /// in each, and would hide what is not.
    var remark: String? {
        guard version < .recommended else { return nil }
        return "rsync \(version) works, but \(RsyncVersion.recommended) or newer closes known holes"
    }

    /// One call of it.
    ///
    /// - Parameters:
    ///   - arguments: everybody can read them (`ps`).
    ///   - environment: added to the plain one; for the password of a daemon.
    ///   - input: gives what it reads, piece by piece, nil at the end.
    ///   - line: gets each line of its output.
    /// - Returns: how it ended, and the last lines of its complaints.
    func run(
        _ arguments: [String], environment: [String: String] = [:],
        input: (() -> [UInt8]?)? = nil, _ context: TargetContext,
        line: (ArraySlice<UInt8>) -> Void
    ) throws(BackupError) -> (end: Program.End, errors: [String]) {
        try context.cancellation.check()
        let words = launcher + [path] + arguments
        var program = Program(words[0], Array(words.dropFirst()))
        program.niceness = 10
        // The server that it belongs to may have to stop.
        program.grace = .seconds(5)
        program.inherited = context.lock >= 0 ? context.lock : nil
        program.environment.merge(environment) { $1 }
        var output = LineReader()
        var errors = LineReader()
        var complaints = Complaints()
        let end: Program.End
        defer { context.cancellation.pace?.endProgram() }
        do {
            end = try program.run(
                input: input, isWanted: { context.cancellation.reason == nil },
                pause: context.cancellation.pace.map { pace in { pace.pause(program: $0) } },
                output: { output.read($0, line) },
                errors: { errors.read($0) { complaints.add($0) } })
        } catch {
            throw BackupError(.permanent, subject: path, error.description)
        }
        output.finish(line)
        errors.finish { complaints.add($0) }
        if end == .stopped { try context.cancellation.check() }
        return (end, complaints.lines)
    }
}
