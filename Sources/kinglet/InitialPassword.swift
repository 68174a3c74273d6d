// The first administrator's password, when nobody was there to read it from a terminal: a file
// of mode 0600 that goes at the first change of that password.

internal import Addresses
internal import Glibc

/// The file `initial-password`.
struct InitialPassword: Sendable {
    let file: String

    func write(_ jid: BareJID, _ password: String) throws {
        try writeFile(file, Array("\(jid) \(password)\n".utf8), mode: 0o600)
    }

    /// The password was changed: the file is of no more use.
    func passwordChanged(_ jid: BareJID) {
        guard let bytes = try? readFile(file) else { return }
        let text = String(decoding: bytes, as: UTF8.self)
        guard text.split(separator: " ").first.map(String.init) == jid.description else { return }
        unlink(file)
    }

    var exists: Bool { access(file, F_OK) == 0 }
}
