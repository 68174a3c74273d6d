// Where the machine keeps the authorities that it trusts.

import COpenSSL
import Glibc

/// A system's authorities: directories in which OpenSSL finds a certificate by its subject's hash,
/// and a file that has to be read whole (about 1 MB of memory).
struct SystemAuthorities: Equatable {
    var directories: [String]
    var file: String?

    /// As the environment says, else OpenSSL's own places.
    static func ofMachine() -> SystemAuthorities {
        ofMachine(
            variable: { getenv($0).map { String(cString: $0) } },
            standard: (
                directory: text(X509_get_default_cert_dir()),
                file: text(X509_get_default_cert_file())
            ))
    }

    /// The file in OpenSSL's own place holds what the directory beside it does, so it is left where
    /// a directory can be used.
    static func ofMachine(
        variable: (String) -> String?, standard: (directory: String, file: String)
    ) -> SystemAuthorities {
        let named = variable(text(X509_get_default_cert_dir_env())) ?? standard.directory
        let directories = named.split(separator: ":").map(String.init).filter {
            holds($0, ".")
        }
        let file = variable(text(X509_get_default_cert_file_env())) ?? standard.file
        let isCovered = !directories.isEmpty && canonical(file) == canonical(standard.file)
        return SystemAuthorities(directories: directories, file: isCovered ? nil : file)
    }

    /// Whether there may be revocation lists among them.
    var hasLists: Bool { file != nil || directories.contains { Self.holds($0, ".r") } }

    /// Adds them to a store; gives what is wrong with them.
    func add(to store: OpaquePointer) -> String? {
        defer { ERR_clear_error() }
        var isUsable = false
        for directory in directories where X509_STORE_load_path(store, directory) == 1 {
            isUsable = true
        }
        if let file, X509_STORE_load_file(store, file) == 1 { isUsable = true }
        guard !isUsable else { return nil }
        return "the system has no certificate authorities; install the package ca-certificates, "
            + "or other servers cannot be told from impostors"
    }

    private static func text(_ pointer: UnsafePointer<CChar>?) -> String {
        pointer.map { String(cString: $0) } ?? ""
    }

    /// Without links; as it is where there is no such file.
    private static func canonical(_ path: String) -> String {
        guard let resolved = realpath(path, nil) else { return path }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// Whether a directory has a name as `openssl rehash` makes them: `4042bcee.0` for a certificate,
    /// `4042bcee.r0` for a revocation list.
    private static func holds(_ path: String, _ separator: String) -> Bool {
        guard let directory = opendir(path) else { return false }
        defer { closedir(directory) }
        let separator = Array(separator.utf8)
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            let rest = name.dropFirst(8)
            if rest.starts(with: separator), rest.count == separator.count + 1,
                rest.last.map({ (0x30...0x39).contains($0) }) ?? false,
                String(decoding: name.prefix(8), as: UTF8.self).allSatisfy(\.isHexDigit)
            {
                return true
            }
        }
        return false
    }
}
