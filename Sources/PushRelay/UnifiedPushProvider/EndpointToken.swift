// What stands in the URL of an endpoint: whom it leads to, encrypted and sealed, so that this server
// keeps nothing of it and nobody else can read or make one.

internal import Addresses
internal import TLS

/// Whom an endpoint leads to.
struct EndpointGrant: Sendable, Equatable {
    /// Bytes of the digests that name an app and its instance.
    static let digestLength = 32

    /// The client that registered, as a full address.
    var client: JID
    var application: [UInt8]
    var instance: [UInt8]
    /// Seconds since 1970.
    var expires: Int64
    /// The service that gave it, such as `push.example.org`.
    var service: String

    /// The same for all endpoints that one client has for one instance of an app.
    var identity: [UInt8] {
        DigestAlgorithm.sha256.hash(application + instance + Array(client.description.utf8))
    }
}

/// Makes and reads tokens (RFC 8439).
enum EndpointToken {
    /// Characters that are looked at.
    private static let longest = 1000
    private static let purpose = Array("kinglet endpoint 1".utf8)
    private static let numberLength = 8

    /// A token for a grant: the key's name, a nonce and the sealed grant, as base64url.
    static func seal(_ grant: EndpointGrant, with key: EndpointKey) throws(TLSError) -> String {
        let nonce = SecureRandom.bytes(ChaCha20Poly1305.nonceLength)
        let cipher = try ChaCha20Poly1305(key: key.cipherKey)
        let sealed = try cipher.seal(
            plaintext(grant), nonce: nonce, additional: purpose + key.name)
        return Base64URL.encode(key.name + nonce + sealed)
    }

    /// The grant of a token, whether or not its time is over; nil for what no key of the ring has
    /// sealed. It takes the same work whether the key is known or not.
    static func open(_ token: String, with ring: EndpointKeyRing) -> EndpointGrant? {
        let head = EndpointKey.nameLength + ChaCha20Poly1305.nonceLength
        guard token.utf8.count <= longest, let bytes = Base64URL.decode(token),
            bytes.count > head
        else { return nil }
        let name = Array(bytes[..<EndpointKey.nameLength])
        let nonce = Array(bytes[EndpointKey.nameLength..<head])
        guard let key = ring.key(named: name) ?? ring.newest,
            let cipher = try? ChaCha20Poly1305(key: key.cipherKey),
            let text = try? cipher.open(
                Array(bytes[head...]), nonce: nonce, additional: purpose + name)
        else { return nil }
        return grant(text)
    }

    private static func plaintext(_ grant: EndpointGrant) -> [UInt8] {
        var bytes: [UInt8] = []
        for shift in stride(from: 56, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: grant.expires >> Int64(shift)))
        }
        bytes += grant.application + grant.instance
        // A domain has 1023 bytes at most.
        let length = grant.service.utf8.count
        bytes.append(UInt8(truncatingIfNeeded: length >> 8))
        bytes.append(UInt8(truncatingIfNeeded: length))
        return bytes + grant.service.utf8 + grant.client.description.utf8
    }

    private static func grant(_ bytes: [UInt8]) -> EndpointGrant? {
        var rest = bytes[...]
        func take(_ count: Int) -> ArraySlice<UInt8>? {
            guard rest.count >= count else { return nil }
            defer { rest = rest.dropFirst(count) }
            return rest.prefix(count)
        }
        guard let time = take(numberLength), let application = take(EndpointGrant.digestLength),
            let instance = take(EndpointGrant.digestLength), let length = take(2),
            let service = take(length.reduce(0) { $0 << 8 | Int($1) }),
            let address = String(validating: rest, as: UTF8.self),
            let client = try? JID(address)
        else { return nil }
        return EndpointGrant(
            client: client, application: Array(application), instance: Array(instance),
            expires: time.reduce(0) { $0 << 8 | Int64($1) },
            service: String(decoding: service, as: UTF8.self))
    }
}

/// base64 with padding (RFC 4648 section 4), as XMPP has it.
enum PaddedBase64 {
    static func encode(_ bytes: [UInt8]) -> String {
        var text = Base64URL.encode(bytes).utf8.map { byte in
            switch byte {
            case UInt8(ascii: "-"): UInt8(ascii: "+")
            case UInt8(ascii: "_"): UInt8(ascii: "/")
            default: byte
            }
        }
        while text.count % 4 != 0 { text.append(UInt8(ascii: "=")) }
        return String(decoding: text, as: UTF8.self)
    }

    /// The bytes of the one text that stands for them; nil for any other.
    static func decode(_ text: String, count: Int) -> [UInt8]? {
        guard text.utf8.count == (count + 2) / 3 * 4 else { return nil }
        return decode(text).flatMap { $0.count == count ? $0 : nil }
    }

    /// The same of any number.
    static func decode(_ text: String) -> [UInt8]? {
        let plain = text.utf8.map { byte in
            switch byte {
            case UInt8(ascii: "+"): UInt8(ascii: "-")
            case UInt8(ascii: "/"): UInt8(ascii: "_")
            default: byte
            }
        }
        guard let bytes = Base64URL.decode(String(decoding: plain, as: UTF8.self)),
            encode(bytes) == text
        else { return nil }
        return bytes
    }
}
