// What is sent to a push service is for the app alone (RFC 8291): one record of aes128gcm (RFC 8188).

internal import TLS

/// The keys of a subscription.
struct WebPushKeys: Sendable, Equatable {
    /// The parameters of a target that hold them, as browsers name them.
    static let publicKeyName = "p256dh"
    static let secretName = "auth"

    /// An uncompressed point on P-256.
    let publicKey: [UInt8]
    let secret: [UInt8]

    /// Nil unless both keys are there and may be some.
    init?(_ target: PushTarget) {
        guard let publicKey = target.parameters[Self.publicKeyName].flatMap(Base64URL.decode),
            let secret = target.parameters[Self.secretName].flatMap(Base64URL.decode)
        else { return nil }
        self.init(publicKey: publicKey, secret: secret)
    }

    /// Nil unless both keys have their lengths.
    init?(publicKey: [UInt8], secret: [UInt8]) {
        guard publicKey.count == P256.publicKeyLength, publicKey.first == 4, secret.count == 16
        else { return nil }
        self.publicKey = publicKey
        self.secret = secret
    }

    /// What is wrong with the parameters of a target; nil when they are good.
    static func problem(of target: PushTarget) -> String? {
        guard let keys = WebPushKeys(target) else {
            return "expected \(publicKeyName) (65 bytes) and \(secretName) (16 bytes) in base64url"
        }
        // A point that is not on the curve shows only when it is used.
        guard let own = try? P256.generate(),
            (try? P256.agree(secret: own.secret, with: keys.publicKey)) != nil
        else { return "\(publicKeyName): this is no public key on P-256" }
        return nil
    }
}

/// Encrypts messages.
enum WebPushEncryption {
    /// Bytes of a plaintext at most: 86 of the header, a delimiter and 16 of the tag make 4096.
    static let longestPlaintext = 3993
    private static let recordSize: UInt32 = 4096
    private static let saltLength = 16

    /// The body of a request. Its salt and key are new for each message.
    static func encrypt(_ plaintext: [UInt8], for keys: WebPushKeys) throws(TLSError) -> [UInt8] {
        try encrypt(
            plaintext, for: keys, sender: try P256.generate(),
            salt: SecureRandom.bytes(saltLength))
    }

    /// The same with a given salt and key, for the example of RFC 8291 appendix A.
    static func encrypt(
        _ plaintext: [UInt8], for keys: WebPushKeys,
        sender: (secret: [UInt8], publicKey: [UInt8]), salt: [UInt8]
    ) throws(TLSError) -> [UInt8] {
        guard plaintext.count <= longestPlaintext, salt.count == saltLength else {
            throw TLSError(
                code: .malformed, operation: "encrypt for Web Push",
                message: "the message or the salt has a wrong length")
        }
        let shared = try P256.agree(secret: sender.secret, with: keys.publicKey)
        let input = HKDF.sha256(
            secret: shared, salt: keys.secret,
            info: Array("WebPush: info\0".utf8) + keys.publicKey + sender.publicKey)
        func derived(_ name: String, _ length: Int) -> [UInt8] {
            HKDF.sha256(
                secret: input, salt: salt, info: Array("Content-Encoding: \(name)\0".utf8),
                length: length)
        }
        let cipher = try AES128GCM(key: derived("aes128gcm", 16))
        // 2: the last record; nothing pads it.
        let sealed = try cipher.seal(plaintext + [2], nonce: derived("nonce", 12))
        let size = (0..<4).map { UInt8(truncatingIfNeeded: recordSize >> (24 - 8 * $0)) }
        return salt + size + [UInt8(clamping: sender.publicKey.count)] + sender.publicKey + sealed
    }
}
