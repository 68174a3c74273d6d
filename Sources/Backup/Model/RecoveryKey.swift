// The key that opens everything that leaves the machine encrypted. Its written form is an identity
// of age (age-encryption.org/v1), so that the program `age` opens our files too.

internal import Glibc
internal import TLS

/// The recovery key: an X25519 key.
public struct RecoveryKey: Sendable {
    /// The 32 bytes that must stay secret.
    let secret: [UInt8]
}

extension RecoveryKey {
    static let secretPrefix = "age-secret-key-"
    static let recipientPrefix = "age"
    /// Larger files hold no key.
    static let largestFile = 65_536

    /// A new key.
    public static func generate() -> RecoveryKey {
        RecoveryKey(secret: SecureRandom.bytes(X25519.keyLength))
    }

    /// Reads `AGE-SECRET-KEY-1…`, also as a person types it from paper: in either case, in groups,
    /// on several lines. Lines that begin with `#` are comments.
    public init(_ text: String) throws(BackupError) {
        func refused(_ message: String, advice: String = "") -> BackupError {
            BackupError(.key, subject: "recovery key", message, advice: advice)
        }
        let lines = text.split(whereSeparator: \.isNewline)
            .filter { !$0.drop(while: \.isWhitespace).hasPrefix("#") }
        let typed = lines.joined().filter { !$0.isWhitespace }
        guard !typed.isEmpty else { throw refused("there is no key in this text") }
        guard typed.utf8.count < 2 * Bech32.longest else {
            throw refused("this text is too long for a key", advice: "give one key, nothing else")
        }
        guard !typed.lowercased().hasPrefix(Self.recipientPrefix + "1") else {
            throw refused(
                "this is the public half, which only encrypts",
                advice: "the one that is needed begins with AGE-SECRET-KEY-1")
        }
        let decoded: (prefix: String, bytes: [UInt8])
        do {
            decoded = try Bech32.decode(typed)
        } catch {
            let again = "compare it with the paper, character by character"
            switch error {
            case .mixedCase:
                throw refused(
                    "it mixes upper and lower case", advice: "type all of it in one of them")
            case .character(let character):
                throw refused("no key has the character “\(character)” there", advice: again)
            case .checksum:
                throw refused("its checksum is wrong: some character is mistyped", advice: again)
            case .shape, .padding:
                throw refused(
                    "this is no key: one begins with AGE-SECRET-KEY-1 and has 74 characters",
                    advice: again)
            }
        }
        guard decoded.prefix == Self.secretPrefix, decoded.bytes.count == X25519.keyLength else {
            throw refused("this is no key that begins with AGE-SECRET-KEY-1")
        }
        self.init(secret: decoded.bytes)
    }

    /// Its written form, `AGE-SECRET-KEY-1…`; whoever has it opens everything.
    public var text: String { Bech32.encode(prefix: Self.secretPrefix, secret).uppercased() }

    /// The public half in writing, `age1…`, with which anybody can encrypt for this key.
    public var recipient: String {
        get throws(BackupError) { Bech32.encode(prefix: Self.recipientPrefix, try publicKey) }
    }

    /// The public half.
    var publicKey: [UInt8] {
        get throws(BackupError) {
            do {
                return try X25519.publicKey(of: secret)
            } catch {
                throw BackupError(.key, subject: "recovery key", error.description)
            }
        }
    }

    // MARK: Seals

    /// The key of the seals on manifests.
    var sealKey: [UInt8] {
        HKDF.sha256(secret: secret, salt: [], info: Array("kinglet backup: seal".utf8))
    }

    /// The name of the first installation with this key: 32 hexadecimal digits that say nothing of it.
    var firstInstance: String {
        let bytes = HKDF.sha256(
            secret: secret, salt: [], info: Array("kinglet backup: instance".utf8))
        return Hexadecimal.text(Array(bytes.prefix(16)))
    }

    /// What proves that the owner of this key has written `bytes`: 64 hexadecimal digits.
    func seal(_ bytes: [UInt8]) -> String {
        let code = DigestAlgorithm.sha256.hmac(key: sealKey, bytes)
        return ContentHash(code)?.description ?? ""
    }

    /// Whether a seal is the one of `bytes`, in constant time.
    func isSeal(_ seal: String, of bytes: [UInt8]) -> Bool {
        constantTimeEqual(Array(seal.utf8), Array(self.seal(bytes).utf8))
    }

    // MARK: Files

    /// Reads a file as `age-keygen` writes it.
    public static func load(file: String) throws(BackupError) -> RecoveryKey {
        guard let bytes = try Files.read(file, limit: largestFile) else {
            throw missing(file)
        }
        do {
            return try RecoveryKey(String(decoding: bytes, as: UTF8.self))
        } catch {
            throw BackupError(error.code, subject: file, error.message, advice: error.advice)
        }
    }

    static func missing(_ file: String) -> BackupError {
        BackupError(
            .key, subject: file, "the recovery key is not there",
            advice: "put the key that was printed into this file")
    }

    /// Writes the file that `age` and `load` read, for its owner alone. Never in place of another
    /// key, without which older backups could not be opened.
    public func store(file: String) throws(BackupError) {
        if Files.exists(file), try RecoveryKey.load(file: file) != self {
            throw BackupError(
                .key, subject: file, "another recovery key is there",
                advice: "older backups need it: keep a copy, then move it away")
        }
        let lines = "# created: \(Self.clock())\n# public key: \(try recipient)\n\(text)\n"
        try Files.replace(file, Array(lines.utf8), mode: 0o600)
    }

    /// The time as `age-keygen` writes it (RFC 3339).
    private static func clock() -> String {
        var seconds = time(nil)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        var bytes = [CChar](repeating: 0, count: 64)
        let count = strftime(&bytes, bytes.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
        return String(
            decoding: bytes.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}

extension RecoveryKey: Equatable, CustomStringConvertible, CustomReflectable {
    /// In constant time.
    public static func == (left: RecoveryKey, right: RecoveryKey) -> Bool {
        constantTimeEqual(left.secret, right.secret)
    }

    /// Not the key: it must not reach a log by mistake.
    public var description: String { "recovery key" }

    /// Nothing.
    public var customMirror: Mirror { Mirror(self, children: []) }
}
