// The key that what the database keeps of devices is encrypted with. It lies outside the database,
// among the secrets: a copy of the database alone wakes nobody and tells nobody's tokens.

internal import Synchronization
internal import TLS

/// Seals what is a secret, and makes names of things that only this server can make. Safe on any
/// thread.
public struct PushKeys: Sendable {
    /// Bytes of the key in its file.
    public static let length = 32

    private let cipher: RestCipher
    private let names: [UInt8]

    /// - Parameter key: 32 random bytes that stay the same from start to start.
    public init(key: [UInt8]) {
        cipher = RestCipher(
            key: HKDF.sha256(secret: key, salt: [], info: Array("push at rest".utf8)))
        names = HKDF.sha256(secret: key, salt: [], info: Array("push names".utf8))
    }

    // MARK: At rest (RFC 8439)

    /// Encrypts, under a random nonce, which stands before the ciphertext.
    ///
    /// - Parameter purpose: what is sealed; it opens for the same purpose only.
    func seal(_ bytes: [UInt8], for purpose: String) throws(TLSError) -> [UInt8] {
        let nonce = SecureRandom.bytes(ChaCha20Poly1305.nonceLength)
        return nonce
            + (try cipher.use { cipher throws(TLSError) in
                try cipher.seal(bytes, nonce: nonce, additional: Array(purpose.utf8))
            })
    }

    /// What was sealed for a purpose; nil for what this key never sealed.
    func open(_ bytes: [UInt8], for purpose: String) -> [UInt8]? {
        guard bytes.count > ChaCha20Poly1305.nonceLength else { return nil }
        let nonce = Array(bytes.prefix(ChaCha20Poly1305.nonceLength))
        let rest = Array(bytes.dropFirst(nonce.count))
        let opened = try? cipher.use { cipher throws(TLSError) in
            try cipher.open(rest, nonce: nonce, additional: Array(purpose.utf8))
        }
        return opened ?? nil
    }

    /// A target as it lies in the database.
    func seal(_ target: PushTarget) throws(TLSError) -> [UInt8] {
        try seal(SealedText.bytes(of: target), for: "target")
    }

    /// The target that was sealed.
    func target(_ bytes: [UInt8]) -> PushTarget? {
        open(bytes, for: "target").flatMap { SealedText.target($0) }
    }

    // MARK: Names

    /// The same 32 bytes for the same texts, which tell nobody else anything.
    func name(_ purpose: String, _ texts: String...) -> [UInt8] {
        var input = Array(purpose.utf8)
        for text in texts { input += [0] + Array(text.utf8) }
        return DigestAlgorithm.sha256.hmac(key: names, input)
    }

    /// What stands for a node in the database: it may be a device's token.
    func nodeName(_ node: String) -> String { hexName("node", node) }

    /// The same as hexadecimal digits.
    func hexName(_ purpose: String, _ texts: String..., bytes: Int = 20) -> String {
        var input = Array(purpose.utf8)
        for text in texts { input += [0] + Array(text.utf8) }
        return HexDigits.text(DigestAlgorithm.sha256.hmac(key: names, input).prefix(bytes))
    }
}

/// One cipher for all: to make one takes longer than to use it. Safe on any thread.
private final class RestCipher: Sendable {
    private let key: [UInt8]
    private let made = Mutex<ChaCha20Poly1305?>(nil)

    init(key: [UInt8]) { self.key = key }

    func use<Value: Sendable>(
        _ body: (ChaCha20Poly1305) throws(TLSError) -> Value
    ) throws(TLSError) -> Value {
        try made.withLock { made throws(TLSError) in
            if let cipher = made { return try body(cipher) }
            let cipher = try ChaCha20Poly1305(key: key)
            defer { made = cipher }
            return try body(cipher)
        }
    }
}

/// Texts one after the other, each with its length before it: less work than JSON for each push.
enum SealedText {
    static func bytes(of target: PushTarget) -> [UInt8] {
        var texts = [target.token]
        for (name, value) in target.parameters.sorted(by: { $0.key < $1.key }) {
            texts += [name, value]
        }
        return bytes(texts)
    }

    static func target(_ bytes: [UInt8]) -> PushTarget? {
        guard let texts = texts(bytes), texts.count % 2 == 1 else { return nil }
        var target = PushTarget(texts[0])
        var index = 1
        while index + 1 < texts.count {
            target.parameters[texts[index]] = texts[index + 1]
            index += 2
        }
        return target
    }

    static func bytes(_ texts: [String]) -> [UInt8] {
        var bytes: [UInt8] = []
        for text in texts {
            let length = UInt32(clamping: text.utf8.count)
            for shift in [24, 16, 8, 0] as [UInt32] {
                bytes.append(UInt8(truncatingIfNeeded: length >> shift))
            }
            bytes += text.utf8
        }
        return bytes
    }

    static func texts(_ bytes: [UInt8]) -> [String]? {
        var texts: [String] = []
        var position = 0
        while position < bytes.count {
            guard position + 4 <= bytes.count else { return nil }
            let length = bytes[position..<position + 4].reduce(0) { $0 << 8 | Int($1) }
            position += 4
            guard length <= bytes.count - position else { return nil }
            texts.append(String(decoding: bytes[position..<position + length], as: UTF8.self))
            position += length
        }
        return texts
    }
}
