// What commands need to read a place that no configuration names: on an empty machine there is only
// the place and the recovery key.

internal import ArgumentParser
internal import Backup
internal import Glibc

struct LocationArguments: ParsableArguments {
    @Option(
        help: """
            A file with the recovery key; - for standard input. Asked for on a terminal where the \
            data directory has none.
            """)
    var keyFile: String?
    @Option(
        help: "A file with the password for rsync://, instead of RSYNC_PASSWORD in the environment."
    )
    var passwordFile: String?
    @Option(help: "The configuration of ssh for ssh:// (default: your own).")
    var sshConfig: String?

    /// Whether one is given that is only of use at a location.
    var areGiven: Bool { passwordFile != nil || sshConfig != nil }

    /// The place that a text names; nil for what is the name of a target.
    func access(_ text: String) throws -> LocationAccess? {
        var text = text
        if text.hasPrefix("./") || text.hasPrefix("../") {
            guard let resolved = realpath(text, nil) else {
                throw Failure("\(text): \(systemError())")
            }
            text = String(cString: resolved)
            free(resolved)
        }
        guard let location = BackupLocation(text) else { return nil }
        return LocationAccess(
            location, password: try password(for: location), sshConfiguration: sshConfig)
    }

    private func password(for location: BackupLocation) throws -> String? {
        guard case .daemon(let user, _, _, _, _) = location else { return nil }
        if let passwordFile {
            let text = try Self.text(of: passwordFile)
            return text.split(separator: "\n").first.map(String.init) ?? ""
        }
        if let value = getenv("RSYNC_PASSWORD") { return String(cString: value) }
        guard user != nil, Terminal.isInteractive else { return nil }
        return try Terminal.askPassword("Password for \(location)")
    }

    /// The key that was given; nil when none was.
    func givenKey() throws -> RecoveryKey? {
        guard let keyFile else { return nil }
        if keyFile == "-" {
            var text = ""
            while let line = readLine(strippingNewline: false), text.utf8.count < 65_536 {
                text += line
            }
            return try RecoveryKey(text)
        }
        return try RecoveryKey(Self.text(of: keyFile))
    }

    /// The key that was given, or that of the installation on this machine if there is one, or one
    /// that is typed.
    func key(_ common: CommonArguments) throws -> RecoveryKey {
        if let key = try givenKey() { return key }
        // A configuration that cannot be read must not be in the way here, unless it was named.
        do {
            let program = try DeclaredProgram(common).options
            if let key = try? program.backupProgram(nil).key() { return key }
        } catch {
            guard common.config == nil else { throw error }
        }
        guard Terminal.isInteractive else {
            throw Failure("the recovery key is needed: give it with --key-file FILE")
        }
        return try askKey()
    }

    /// It is shown as it is typed: who copies 74 characters from paper has to see them.
    private func askKey() throws -> RecoveryKey {
        Terminal.say("The recovery key (AGE-SECRET-KEY-1…; blanks and line breaks do not matter):")
        var refusal: BackupError?
        for _ in 0..<3 {
            var typed = ""
            while typed.count < 74, let line = readLine(), !line.isEmpty {
                typed += line.filter { !$0.isWhitespace }
            }
            do {
                return try RecoveryKey(typed)
            } catch {
                refusal = error
                Terminal.say("\(error)")
            }
        }
        throw refusal.map { Failure("\($0)") } ?? Failure("no key was given")
    }

    private static func text(of file: String) throws -> String {
        guard let bytes = try readFile(file) else {
            throw Failure("\(file): there is no such file")
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
