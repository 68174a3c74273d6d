// The header of an age file (age-encryption.org/v1): for whom it is, and proof that nobody has
// changed that.

internal import SASL
internal import TLS

/// A header: stanzas, of which one wraps the file's key for the recovery key.
struct AgeHeader {
    /// The words behind `->`, and what stands below them.
    struct Stanza: Equatable {
        var words: [String]
        var body: [UInt8]
    }

    /// Larger headers are refused, in bytes.
    static let largest = 65_536
    /// More stanzas are refused.
    static let mostStanzas = 20
    /// Bytes of a file's key.
    static let fileKeyLength = 16
    private static let version = "age-encryption.org/v1"
    private static let ending = Array("---".utf8)
    private static let columns = 64
    private static let wrapInfo = Array("age-encryption.org/v1/X25519".utf8)

    // MARK: Writing

    /// The header's bytes for a file key; the one of `ephemeral` is used once and forgotten.
    static func make(
        fileKey: [UInt8], for recipient: [UInt8], ephemeral: [UInt8]
    ) throws(TLSError) -> [UInt8] {
        let share = try X25519.publicKey(of: ephemeral)
        let shared = try X25519.agree(secret: ephemeral, with: recipient)
        let key = HKDF.sha256(secret: shared, salt: share + recipient, info: wrapInfo)
        let body = try ChaCha20Poly1305(key: key).seal(fileKey, nonce: Self.zeroNonce)
        let text =
            "\(version)\n-> X25519 \(unpadded(share))\n" + lines(of: unpadded(body)) + "---"
        let bytes = Array(text.utf8)
        return bytes + Array(codeLine(of: bytes, fileKey: fileKey).utf8)
    }

    /// What follows `---`.
    static func codeLine(of bytes: [UInt8], fileKey: [UInt8]) -> String {
        " \(unpadded(code(of: bytes, fileKey)))\n"
    }

    /// Full lines and a shorter one, which may be empty.
    private static func lines(of text: String) -> String {
        var lines = ""
        var rest = text[...]
        while rest.count >= columns {
            lines += rest.prefix(columns) + "\n"
            rest = rest.dropFirst(columns)
        }
        return lines + rest + "\n"
    }

    // MARK: Reading

    /// The stanzas in their order.
    let stanzas: [Stanza]
    /// The bytes that the code is of.
    private let covered: [UInt8]
    private let code: [UInt8]

    /// Where a header ends, behind its last line; nil while that has not come.
    static func end(in bytes: [UInt8]) -> Int? {
        // The first line that begins with the ending; no other line can.
        var start = 0
        while let newline = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
            if bytes[start...].starts(with: ending) { return newline + 1 }
            start = newline + 1
        }
        return nil
    }

    /// Reads a header; nil when it is none by the letter of the format.
    init?(_ bytes: [UInt8]) {
        guard bytes.last == UInt8(ascii: "\n"), bytes.allSatisfy({ $0 < 0x80 }) else { return nil }
        let lines = bytes.dropLast().split(
            separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false
        ).map { String(decoding: $0, as: UTF8.self) }
        guard lines.count >= 2, lines.first == Self.version, let last = lines.last,
            last.hasPrefix("--- "), let code = Self.bytes(unpadded: String(last.dropFirst(4))),
            code.count == 32
        else { return nil }
        var stanzas: [Stanza] = []
        var index = 1
        while index < lines.count - 1 {
            guard stanzas.count < Self.mostStanzas,
                let stanza = Self.stanza(lines[..<(lines.count - 1)], &index)
            else { return nil }
            stanzas.append(stanza)
        }
        // A password's stanza stands alone.
        guard !stanzas.isEmpty,
            stanzas.count == 1 || !stanzas.contains(where: { $0.words[0] == "scrypt" })
        else { return nil }
        self.stanzas = stanzas
        self.code = code
        covered = bytes.dropLast(last.utf8.count + 1) + Self.ending
    }

    private static func stanza(_ lines: ArraySlice<String>, _ index: inout Int) -> Stanza? {
        let line = lines[index]
        guard line.hasPrefix("-> ") else { return nil }
        let words = line.dropFirst(3).split(separator: " ", omittingEmptySubsequences: false)
        for word in words {
            guard !word.isEmpty, word.utf8.allSatisfy({ (33...126).contains($0) }) else {
                return nil
            }
        }
        index += 1
        var text = ""
        while index < lines.endIndex {
            let line = lines[index]
            guard line.utf8.count <= columns else { return nil }
            text += line
            index += 1
            guard line.utf8.count == columns else {
                guard let body = bytes(unpadded: text) else { return nil }
                return Stanza(words: words.map(String.init), body: body)
            }
        }
        // The shorter line at the end is missing.
        return nil
    }

    /// The file's key when a stanza wraps it for `key`; nil when none does.
    func fileKey(for key: RecoveryKey) throws(BackupError) -> [UInt8]? {
        let recipient = try key.publicKey
        for stanza in stanzas where stanza.words[0] == "X25519" {
            guard stanza.words.count == 2, let share = Self.bytes(unpadded: stanza.words[1]),
                share.count == X25519.keyLength,
                stanza.body.count == Self.fileKeyLength + ChaCha20Poly1305.tagLength
            else { throw Self.damaged }
            do {
                let shared = try X25519.agree(secret: key.secret, with: share)
                let wrap = HKDF.sha256(
                    secret: shared, salt: share + recipient, info: Self.wrapInfo)
                let fileKey = try ChaCha20Poly1305(key: wrap).open(
                    stanza.body, nonce: Self.zeroNonce)
                if let fileKey { return fileKey }
            } catch {
                throw Self.damaged
            }
        }
        return nil
    }

    /// Whether the header is as the one who knew the file's key has written it.
    func isGenuine(_ fileKey: [UInt8]) -> Bool {
        constantTimeEqual(code, Self.code(of: covered, fileKey))
    }

    private static let zeroNonce = [UInt8](repeating: 0, count: ChaCha20Poly1305.nonceLength)

    private static var damaged: BackupError {
        BackupError(.damaged, subject: "encrypted file", "its header is damaged")
    }

    private static func code(of bytes: [UInt8], _ fileKey: [UInt8]) -> [UInt8] {
        let key = HKDF.sha256(secret: fileKey, salt: [], info: Array("header".utf8))
        return DigestAlgorithm.sha256.hmac(key: key, bytes)
    }

    // MARK: Base64 without padding (RFC 4648 section 3.2)

    private static func unpadded(_ bytes: [UInt8]) -> String {
        String(Base64.encode(bytes).prefix { $0 != "=" })
    }

    private static func bytes(unpadded text: String) -> [UInt8]? {
        guard !text.utf8.contains(UInt8(ascii: "=")), text.utf8.count % 4 != 1 else { return nil }
        return Base64.decode(text + String(repeating: "=", count: (4 - text.utf8.count % 4) % 4))
    }
}
