// Where a target is, as one line of the configuration.

/// The place of a target.
public enum BackupLocation: Sendable, Equatable, CustomStringConvertible {
    /// A folder of this machine: another disk, or something mounted.
    case folder(String)
    /// rsync over SSH.
    case ssh(user: String, host: String, port: Int?, path: String)
    /// A module of an rsync daemon, and a path in it, which may be empty.
    case daemon(user: String?, host: String, port: Int?, module: String, path: String)
    /// A remote that rclone knows by its own configuration.
    case rclone(remote: String, path: String)

    /// What is expected, for messages.
    public static let forms =
        "/folder, ssh://user@host/path, rsync://host/module/path or rclone:remote:path"

    /// Nil when it is none of the forms. What comes from here goes into the arguments of other
    /// programs, so that nothing in it may look like an option, and hosts and users have only the
    /// characters that such names have.
    public init?(_ text: String) {
        guard text.utf8.count <= 1024, text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
            return nil
        }
        if text.hasPrefix("/") {
            guard let path = Self.path(text) else { return nil }
            self = .folder(path)
        } else if text.hasPrefix("ssh://") {
            guard let (user, host, port, rest) = Self.authority(text.dropFirst(6)),
                let user, let path = Self.path(rest), path != "/"
            else { return nil }
            self = .ssh(user: user, host: host, port: port, path: path)
        } else if text.hasPrefix("rsync://") {
            guard let (user, host, port, rest) = Self.authority(text.dropFirst(8)),
                let path = Self.path(rest), path != "/"
            else { return nil }
            let parts = path.dropFirst().split(separator: "/", maxSplits: 1)
            guard let module = parts.first, !module.hasPrefix("-") else { return nil }
            self = .daemon(
                user: user, host: host, port: port, module: String(module),
                path: parts.count > 1 ? String(parts[1]) : "")
        } else if text.hasPrefix("rclone:") {
            let parts = text.dropFirst(7).split(
                separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, Self.isName(parts[0], extra: " ._-+@"),
                !parts[1].split(separator: "/").contains("..")
            else { return nil }
            self = .rclone(remote: String(parts[0]), path: String(parts[1]))
        } else {
            return nil
        }
    }

    /// `user@host:port/rest`.
    private static func authority(
        _ text: Substring
    ) -> (user: String?, host: String, port: Int?, rest: String)? {
        guard let slash = text.firstIndex(of: "/") else { return nil }
        var host = text[..<slash]
        var user: String?
        if let at = host.lastIndex(of: "@") {
            guard isName(host[..<at], extra: "._-") else { return nil }
            user = String(host[..<at])
            host = host[host.index(after: at)...]
        }
        var port: Int?
        // An IPv6 address stands in brackets.
        if let colon = host.lastIndex(of: ":"), !host[colon...].contains("]") {
            let digits = host[host.index(after: colon)...]
            guard digits.allSatisfy(\.isASCII), let number = Int(digits),
                (1...65_535).contains(number)
            else { return nil }
            port = number
            host = host[..<colon]
        }
        if host.hasPrefix("["), host.hasSuffix("]") {
            let inner = host.dropFirst().dropLast()
            guard !inner.isEmpty, inner.utf8.allSatisfy({ isAddressByte($0) }) else { return nil }
        } else {
            guard isName(host, extra: ".-") else { return nil }
        }
        return (user, String(host), port, String(text[slash...]))
    }

    private static func isAddressByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x3A, 0x41...0x46, 0x61...0x66, UInt8(ascii: "."): true
        default: false
        }
    }

    private static func isName(_ text: Substring, extra: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 255 && !text.hasPrefix("-")
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
                default: extra.utf8.contains(byte)
                }
            }
    }

    /// An absolute path without `..`, and without a slash at its end.
    private static func path(_ text: String) -> String? {
        let parts = text.split(separator: "/")
        guard text.hasPrefix("/"), !parts.contains(".."), !parts.contains(".") else { return nil }
        return "/" + parts.joined(separator: "/")
    }

    /// As it is written in the configuration. No secret is in it.
    public var description: String {
        switch self {
        case .folder(let path): path
        case .ssh(let user, let host, let port, let path):
            "ssh://\(user)@\(host)\(port.map { ":\($0)" } ?? "")\(path)"
        case .daemon(let user, let host, let port, let module, let path):
            "rsync://\(user.map { "\($0)@" } ?? "")\(host)\(port.map { ":\($0)" } ?? "")/\(module)"
                + (path.isEmpty ? "" : "/\(path)")
        case .rclone(let remote, let path): "rclone:\(remote):\(path)"
        }
    }
}
