// XEP-0220: Server Dialback, where the owner allows it: a server proves its name by what the
// name's own server says of a key. Keys are made as XEP-0185 wants them.

internal import TLS
internal import XML
internal import XMPP

/// The question whether a key is right, for the name's own server (XEP-0220 section 2.2).
struct DialbackQuestion: Sendable {
    /// The id of the stream on which the key came.
    let streamID: String
    let key: String
    /// Called once, on any thread: whether the key is right, or nil when nobody could say.
    let then: @Sendable (Bool?) -> Void
}

/// Who wants to send to whom.
struct DomainPair: Hashable, Sendable {
    let from: String
    let to: String
}

/// Makes keys and checks those that others were given. A key is bound to one stream by its id.
struct Dialback: Sendable {
    static let namespace = "jabber:server:dialback"
    static let feature = "urn:xmpp:features:dialback"

    /// The secret's digest in hexadecimal, which is what the keys are made with.
    private let secret: [UInt8]

    init(secret: [UInt8]) {
        self.secret = Array(Self.hexadecimal(DigestAlgorithm.sha256.hash(secret)).utf8)
    }

    /// The key with which the originating server proves itself on a stream.
    func key(receiving: String, originating: String, streamID: String) -> String {
        Self.hexadecimal(
            DigestAlgorithm.sha256.hmac(
                key: secret, Array("\(receiving) \(originating) \(streamID)".utf8)))
    }

    /// Whether a key is one that this server made.
    func isValid(_ key: String, receiving: String, originating: String, streamID: String) -> Bool {
        constantTimeEqual(
            Array(key.utf8),
            Array(self.key(receiving: receiving, originating: originating, streamID: streamID).utf8)
        )
    }

    private static func hexadecimal(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(2 * bytes.count)
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    // MARK: Elements, which have to be prefixed (XEP-0220 section 2)

    /// `<db:result/>` or `<db:verify/>`; with the declaration of its prefix where the stream's
    /// header has none.
    static func bytes(
        _ name: StaticString, _ pair: DomainPair, id: String? = nil, type: String? = nil,
        key: String = "", error: StanzaError? = nil, declaresPrefix: Bool = false
    ) -> [UInt8] {
        var writer = XMLWriter(contentNamespace: Namespaces.client)
        writer.raw("<db:")
        writer.raw(name)
        if declaresPrefix { writer.attribute("xmlns:db", namespace) }
        writer.attribute("from", pair.from)
        writer.attribute("to", pair.to)
        if let id { writer.attribute("id", id) }
        if let type { writer.attribute("type", type) }
        writer.raw(">")
        writer.text(key)
        if let error { writer.write(error.element) }
        writer.raw("</db:")
        writer.raw(name)
        writer.raw(">")
        return writer.bytes
    }
}
