// Where on another machine the snapshots are, and how rsync is told so.

/// A folder on another machine.
public enum RsyncPlace: Sendable, Equatable, CustomStringConvertible {
    /// Over SSH; the path is absolute.
    case ssh(user: String, host: String, port: Int?, path: String)
    /// In a module of an rsync daemon; the path may be empty.
    case daemon(user: String?, host: String, port: Int?, module: String, path: String)

    /// Without a password.
    public var description: String {
        switch self {
        case .ssh(let user, let host, let port, let path):
            "ssh://\(user)@\(host)\(port.map { ":\($0)" } ?? "")\(path)"
        case .daemon(let user, let host, let port, let module, let path):
            "rsync://\(user.map { "\($0)@" } ?? "")\(host)\(port.map { ":\($0)" } ?? "")/\(module)"
                + (path.isEmpty ? "" : "/\(path)")
        }
    }

    /// Throws for what rsync, rrsync or a shell on the other side would take for more than a name.
    func check() throws(BackupError) {
        let words: [String]
        switch self {
        case .ssh(let user, let host, _, let path):
            words = [user, host, path]
            guard path.hasPrefix("/") else { throw impossible("its path is not absolute") }
        case .daemon(let user, let host, _, let module, let path):
            words = [user ?? "x", host, module, path.isEmpty ? "x" : path]
        }
        for word in words {
            let isPlain = word.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x80...: true
                default: " ._-+@=,:/[]%".utf8.contains(byte)
                }
            }
            guard isPlain, !word.isEmpty, !word.hasPrefix("-"),
                !word.split(separator: "/").contains("..")
            else { throw impossible("only letters, digits and . _ - + @ = , : / can be in it") }
        }
        // Brackets are of addresses; in a path they would be a pattern.
        guard !words[words.count - 1].contains(where: { "[]".contains($0) }) else {
            throw impossible("brackets cannot be in its path")
        }
    }

    private func impossible(_ message: String) -> BackupError {
        BackupError(
            .permanent, subject: description, message, advice: "correct the target's location")
    }

    /// What stands before a path that is absolute on the other side.
    var prefix: String {
        switch self {
        case .ssh(let user, let host, _, _): "\(user)@\(host):"
        case .daemon(let user, let host, let port, let module, _):
            "rsync://\(user.map { "\($0)@" } ?? "")\(host)\(port.map { ":\($0)" } ?? "")/\(module)"
        }
    }

    /// The folder as the other side's rsync knows it, without a slash at its end.
    ///
    /// - Parameter isRestricted: rrsync takes every path for one below its own folder, which is
    ///   the target; a daemon takes every path, also those of `--link-dest`, for one of the module.
    func root(isRestricted: Bool) -> String {
        switch self {
        case .ssh(_, _, _, let path):
            isRestricted || path == "/" ? "" : path
        case .daemon(_, _, _, _, let path): path.isEmpty ? "" : "/\(path)"
        }
    }
}
