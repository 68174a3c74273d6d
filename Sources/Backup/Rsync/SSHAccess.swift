// The way to another machine over SSH: a key of our own, the other machine's host key as its owner
// has confirmed it, and nothing else of what ssh would otherwise use.

internal import Foundation
internal import Glibc
internal import Programs
internal import SASL
internal import TLS

/// One target's key and known host keys, below `<secrets>/backup-ssh/<target>/`.
public struct SSHAccess: Sendable {
    /// The folder of its files.
    public let folder: String
    let target: String
    /// Who we are there.
    public let user: String
    /// The other machine.
    public let host: String
    let port: Int
    let path: String

    /// A host key that a machine showed.
    public struct HostKey: Sendable, Equatable {
        /// `ssh-ed25519` and so on.
        public let type: String
        /// As `ssh-keygen -l` prints it: `SHA256:` and 43 characters.
        public let fingerprint: String
        /// For known_hosts.
        let line: String
    }

    var key: String { folder + "/key" }
    var knownHosts: String { folder + "/known_hosts" }

    /// - Parameters:
    ///   - target: its name in the configuration.
    ///   - secrets: the folder of secrets.
    public init(target: String, place: RsyncPlace, secrets: String) throws(BackupError) {
        try place.check()
        guard case .ssh(let user, let host, let port, let path) = place else {
            throw BackupError(.permanent, subject: target, "\(place) is not reached over SSH")
        }
        let isName = target.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
            default: "._-".utf8.contains(byte)
            }
        }
        guard isName, !target.isEmpty, !target.hasPrefix(".") else {
            throw BackupError(
                .permanent, subject: target, "this is no name for a target",
                advice: "use letters, digits and - only")
        }
        folder = secrets + "/backup-ssh/" + target
        self.target = target
        self.user = user
        self.host = host
        self.port = port ?? 22
        self.path = path
    }

    // MARK: Commands

    /// ssh with its options, without a host. Nothing of the machine's or a user's configuration
    /// counts, no agent, no password, no question.
    func command() throws(BackupError) -> [String] {
        let ssh = try Self.program("ssh", package: "openssh-client")
        // ssh replaces what begins with % and cuts at spaces.
        func quoted(_ path: String) -> String {
            "\""
                + path.split(separator: "%", omittingEmptySubsequences: false)
                .joined(separator: "%%") + "\""
        }
        let options = [
            "IdentityFile=\(quoted(key))", "IdentitiesOnly=yes", "IdentityAgent=none",
            "BatchMode=yes", "PreferredAuthentications=publickey", "StrictHostKeyChecking=yes",
            "UpdateHostKeys=no", "UserKnownHostsFile=\(quoted(knownHosts))",
            "GlobalKnownHostsFile=none", "ConnectTimeout=20", "ServerAliveInterval=15",
            "ServerAliveCountMax=4", "ClearAllForwardings=yes", "ControlPath=none",
            "LogLevel=ERROR",
        ]
        return [ssh, "-F", "none", "-a", "-x", "-T", "-p", "\(port)"]
            + options.flatMap { ["-o", $0] }
    }

    /// ssh as whoever calls this program uses it, with the keys, the agent and the known hosts of
    /// that person: on an empty machine there is no key of ours. It asks nothing, for what it
    /// would ask of a terminal stops programs in the background.
    ///
    /// - Parameter configuration: in place of the caller's; nil for that.
    static func callersCommand(
        port: Int?, configuration: String?
    ) throws(BackupError) -> [String] {
        let ssh = try Self.program("ssh", package: "openssh-client")
        var command = [ssh, "-a", "-x", "-T"]
        if let configuration { command += ["-F", configuration] }
        if let port { command += ["-p", "\(port)"] }
        let options = [
            "BatchMode=yes", "ConnectTimeout=20", "ServerAliveInterval=15", "ServerAliveCountMax=4",
            "ClearAllForwardings=yes", "LogLevel=ERROR",
        ]
        return command + options.flatMap { ["-o", $0] }
    }

    /// What that ssh, and what its configuration starts, find the caller by.
    static var callersEnvironment: [String: String] {
        ProcessInfo.processInfo.environment.filter {
            ["HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK"].contains($0.key)
        }
    }

    private static func program(_ name: String, package: String) throws(BackupError) -> String {
        guard let path = Program.find(name) else {
            throw BackupError(
                .permanent, subject: name, "this program is not installed on this machine",
                advice: "apt install \(package)")
        }
        return path
    }

    private static func run(
        _ words: [String], seconds: Int, subject: String, isWanted: () -> Bool = { true }
    ) throws(BackupError) -> (end: Program.End, output: [UInt8], errors: [String]) {
        guard let path = words.first else { return (.exited(127), [], []) }
        var program = Program(path, Array(words.dropFirst()))
        program.timeLimit = .seconds(seconds)
        program.grace = .seconds(2)
        var output: [UInt8] = []
        var lines = LineReader()
        var complaints = Complaints()
        do {
            let end = try program.run(
                isWanted: isWanted,
                output: { if output.count < 1 << 20 { output += $0 } },
                errors: { lines.read($0) { complaints.add($0) } })
            lines.finish { complaints.add($0) }
            return (end, output, complaints.lines)
        } catch {
            throw BackupError(.permanent, subject: subject, error.description)
        }
    }

    // MARK: Our key

    /// Whether both halves are there: a key, and a host key that was confirmed.
    public var isComplete: Bool { Files.exists(key) && Files.exists(knownHosts) }

    /// Makes our key unless there is one.
    ///
    /// - Returns: its public half, `ssh-ed25519 AAAA… kinglet`.
    public func makeKey() throws(BackupError) -> String {
        try Files.makeFolder(folder)
        if !Files.exists(key) {
            let keygen = try Self.program("ssh-keygen", package: "openssh-client")
            let made = try Self.run(
                [keygen, "-q", "-t", "ed25519", "-N", "", "-C", "kinglet-\(target)", "-f", key],
                seconds: 60, subject: target)
            guard made.end == .exited(0) else {
                throw BackupError(
                    .permanent, subject: key,
                    "the key could not be made: \(made.errors.joined(separator: " | "))")
            }
            guard chmod(key, 0o600) == 0 else { throw Files.error(key, "protect") }
            try Files.syncFolder(folder)
        }
        guard let bytes = try Files.read(key + ".pub", limit: 16_384) else {
            throw BackupError(
                .permanent, subject: key + ".pub", "the public half of the key is missing",
                advice: "remove \(folder) and add the target again")
        }
        return String(decoding: bytes.prefix { $0 != 10 }, as: UTF8.self)
    }

    // MARK: Their key

    /// Asks the other machine for its host keys. Whoever answers may be another: the owner has to
    /// compare a fingerprint with what the machine itself shows
    /// (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`).
    public func scanHostKeys() throws(BackupError) -> [HostKey] {
        let scan = try Self.program("ssh-keyscan", package: "openssh-client")
        let bare = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
        let found = try Self.run(
            [scan, "-T", "10", "-p", "\(port)", "-t", "ed25519,ecdsa,rsa", "--", bare],
            seconds: 60, subject: target)
        let lines = found.output.split(separator: 10).prefix(100)
        let keys = lines.compactMap { Self.hostKey($0) }
        guard !keys.isEmpty else {
            throw BackupError(
                .absent, subject: target, "\(host) shows no host key at port \(port)",
                advice: "is the machine on, and does its SSH server run?")
        }
        return keys
    }

    static func hostKey(_ line: ArraySlice<UInt8>) -> HostKey? {
        guard line.first != UInt8(ascii: "#") else { return nil }
        let text = String(decoding: line, as: UTF8.self)
        let words = text.split(separator: " ")
        guard words.count == 3, text.utf8.allSatisfy({ (0x20...0x7E).contains($0) }),
            let blob = Base64.decode(String(words[2]))
        else { return nil }
        let digest = Base64.encode(DigestAlgorithm.sha256.hash(blob))
        let plain = digest.prefix { $0 != "=" }
        return HostKey(type: String(words[1]), fingerprint: "SHA256:\(plain)", line: text)
    }

    /// Believes host keys that the owner has confirmed, from now on and no others.
    public func trust(_ keys: [HostKey]) throws(BackupError) {
        try Files.makeFolder(folder)
        let text = keys.map { $0.line + "\n" }.joined()
        try Files.replace(knownHosts, Array(text.utf8), mode: 0o600)
    }

    // MARK: What is to be done on the other machine

    /// The one line for `authorized_keys` there. With it the key can add snapshots and read them
    /// (what cannot be read can be neither verified nor restored), and neither delete nor change
    /// one: whoever takes this machine over has not the history.
    ///
    /// - Parameter publicKey: as `makeKey` gave it.
    public func authorizedKeysLine(publicKey: String) -> String {
        "restrict,command=\"rrsync -no-del -no-overwrite \(shellQuoted)\" \(publicKey)"
    }

    /// The folder there, for a shell.
    public var quotedPath: String { shellQuoted }

    private var shellQuoted: String {
        let isPlain = path.utf8.allSatisfy { $0 != 0x20 }
        return isPlain ? path : "'\(path)'"
    }

    /// A line for the other user's crontab, for this key cannot remove anything. It goes by the time
    /// at which the other machine itself changed a folder last (ctime), which a client cannot put
    /// back, and leaves the last seven whatever their age.
    ///
    /// - Parameter days: what is younger stays.
    public func pruningLine(days: Int) -> String {
        "30 5 * * * find \(shellQuoted) -mindepth 1 -maxdepth 1 -type d"
            + " -name '2???????T??????Z-??????' -print0 | sort -z | head -z -n -7"
            + " | xargs -0r -I@ find @ -maxdepth 0 -ctime +\(days) -exec rm -rf {} +"
    }

    // MARK: Trying

    /// Whether rsync answers there with our key. Throws what is wrong.
    public func test(rsync: String? = nil) throws(BackupError) {
        guard Files.exists(key) else {
            throw BackupError(
                .permanent, subject: target, "there is no key for it",
                advice: "run `kinglet backup target add`")
        }
        let program = try RsyncProgram.find(rsync)
        let connection = RsyncConnection(subject: target, shell: try command())
        let listed = try Self.run(
            [program.path, "--list-only", "-d", "--no-h"] + connection.options(timeout: 60)
                + ["--", "\(user)@\(host):/"], seconds: 90, subject: target)
        let outcome = RsyncExit.outcome(of: listed.end, errors: listed.errors, subject: target)
        if case .failure(let error) = outcome { throw error }
    }

    /// The version of rsync there; nil when the key does not allow to ask.
    func rsyncVersion(_ context: TargetContext) throws(BackupError) -> RsyncVersion? {
        let bare = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
        let asked = try Self.run(
            try command() + ["-l", user, "--", bare, "rsync --version"], seconds: 60,
            subject: target, isWanted: { context.cancellation.reason == nil })
        return RsyncVersion(banner: String(decoding: asked.output.prefix(4096), as: UTF8.self))
    }
}
