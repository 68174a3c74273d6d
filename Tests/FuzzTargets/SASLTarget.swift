// SASL messages: what is accepted is the only way to write what was read, and nobody is let in
// without the one right proof.

import SASL
import TLS

enum SASLTarget {
    private static let password = Array("pencil".utf8)
    private static let binding = Array("the data of this channel".utf8)
    private static let serverNonce = "3rfcNHYJY1ZVvWVs7j"

    /// - Parameter input: a message; or a client-first-message and, after a line feed, a
    ///   client-final-message, in which `$R` stands for the right nonce and `$P` for the right
    ///   proof.
    static func run(_ input: [UInt8]) throws {
        try base64(input)
        try plain(input)
        let lines = input.split(
            separator: 0x0A, maxSplits: 1, omittingEmptySubsequences: false)
        for mechanism in [SASLMechanism.scramSHA1, .scramSHA256Plus] {
            try scram(mechanism, first: input, final: nil)
            if lines.count == 2 {
                try scram(mechanism, first: Array(lines[0]), final: Array(lines[1]))
            }
        }
    }

    /// One text for each value (RFC 4648 section 3.5).
    private static func base64(_ input: [UInt8]) throws {
        if let decoded = Base64.decode(input) {
            try expect(
                Array(Base64.encode(decoded).utf8) == input, "base64 of two forms: \(shown(input))")
        }
        let encoded = Base64.encode(input)
        try expect(Base64.decode(encoded) == input, "base64 of \(shown(input)): \(encoded)")
    }

    /// RFC 4616 section 2.
    private static func plain(_ input: [UInt8]) throws {
        guard let message = try? PlainExchange.parse(input) else { return }
        let written =
            Array("\(message.authorizationID ?? "")\0\(message.username)\0".utf8)
            + message.password
        try expect(
            written == input && !message.username.isEmpty && !message.password.isEmpty
                && message.authorizationID != "" && !message.password.contains(0),
            "PLAIN: \(shown(input)) is read as \(shown(written))")
    }

    // MARK: SCRAM (RFC 5802)

    private static func scram(
        _ mechanism: SASLMechanism, first: [UInt8], final: [UInt8]?
    ) throws {
        var exchange = SCRAMExchange(
            mechanism: mechanism,
            bindings: ChannelBindings(offered: [ChannelBindings.tlsExporter: binding]),
            plusWasOffered: true, nonce: serverNonce)
        guard
            case .needCredentials(let username, let authorizationID) = exchange.receive(first)
        else { return }
        let hash = mechanism.hash ?? .sha1
        let credentials = SCRAMCredentials(
            hash: hash, password: password, salt: Array("salt".utf8), iterations: 1)
        guard
            case .challenge(let challenge) = exchange.supply(credentials, fake: credentials)
        else { throw Violation("no challenge after \(shown(first))") }
        let message = try ClientFirst(
            first, username: username, authorizationID: authorizationID, challenge: challenge)
        try expect(
            message.flag == (mechanism.isPlus ? "p=tls-exporter" : "n"),
            "\(mechanism) takes \(shown(first))")
        guard let final else { return }
        let proven = proofs(final, message, challenge, credentials)
        switch exchange.receive(proven.message) {
        case .success(let verifier):
            try expect(
                verifier == proven.verifier, "a wrong verifier after \(shown(proven.message))")
            let bound = message.gs2Header + (mechanism.isPlus ? binding : [])
            let expected = "c=\(Base64.encode(bound)),r=\(message.fullNonce)"
            let text = String(decoding: proven.message, as: UTF8.self)
            try expect(
                text.hasPrefix(expected + ",") && text.hasSuffix(",p=\(proven.proof)"),
                "\(mechanism) lets in \(text) after \(shown(first))")
        case .failure: break
        case .challenge, .needCredentials:
            throw Violation("no verdict on \(shown(proven.message))")
        }
        guard case .failure = exchange.receive(proven.message) else {
            throw Violation("a second verdict on \(shown(proven.message))")
        }
    }

    /// A client-first-message that was accepted, written anew from what was understood.
    private struct ClientFirst {
        let flag: String
        let gs2Header: [UInt8]
        let bare: [UInt8]
        /// The client's nonce and the server's.
        let fullNonce: String

        init(
            _ message: [UInt8], username: String, authorizationID: String?, challenge: [UInt8]
        ) throws {
            let fields = message.split(separator: 0x2C, omittingEmptySubsequences: false)
            flag = String(decoding: fields.first ?? [], as: UTF8.self)
            let authorization = authorizationID.map { "a=\(Self.name($0))" } ?? ""
            gs2Header = Array("\(flag),\(authorization),".utf8)
            let opening = "r="
            let text = String(decoding: challenge, as: UTF8.self)
            fullNonce = String(text.prefix { $0 != "," }.dropFirst(opening.count))
            try expect(
                text == "\(opening)\(fullNonce),s=\(Base64.encode(Array("salt".utf8))),i=1"
                    && fullNonce.hasSuffix(serverNonce)
                    && fullNonce.utf8.count > serverNonce.utf8.count,
                "the challenge \(text)")
            let extensions = fields.dropFirst(4).map { [0x2C] + Array($0) }.joined()
            bare =
                Array(
                    "n=\(Self.name(username)),r=\(fullNonce.dropLast(serverNonce.count))".utf8)
                + extensions
            try expect(
                gs2Header + bare == message,
                "\(shown(message)) is read as \(shown(gs2Header + bare))")
        }

        /// A saslname.
        private static func name(_ name: String) -> String {
            name.reduce(into: "") { text, character in
                for scalar in character.unicodeScalars {
                    switch scalar {
                    case ",": text += "=2C"
                    case "=": text += "=3D"
                    default: text.unicodeScalars.append(scalar)
                    }
                }
            }
        }
    }

    /// Puts the right nonce and proof in their places, and gives the verifier that then follows.
    private static func proofs(
        _ template: [UInt8], _ first: ClientFirst, _ challenge: [UInt8],
        _ credentials: SCRAMCredentials
    ) -> (message: [UInt8], proof: String, verifier: [UInt8]) {
        var message = replaced(template, "$R", by: Array(first.fullNonce.utf8))
        let end = message.lastIndex(of: 0x2C) ?? message.endIndex
        let comma: [UInt8] = [0x2C]
        let signed = first.bare + comma + challenge + comma + Array(message[..<end])
        let digest = credentials.hash.digest
        let salted = digest.pbkdf2(
            password: password, salt: credentials.salt, iterations: credentials.iterations)
        let clientKey = digest.hmac(key: salted, Array("Client Key".utf8))
        let signature = digest.hmac(key: digest.hash(clientKey), signed)
        let proof = Base64.encode(zip(clientKey, signature).map { $0 ^ $1 })
        let serverKey = digest.hmac(key: salted, Array("Server Key".utf8))
        message = replaced(message, "$P", by: Array(proof.utf8))
        return (
            message, proof, Array("v=\(Base64.encode(digest.hmac(key: serverKey, signed)))".utf8)
        )
    }

    private static func replaced(
        _ bytes: [UInt8], _ mark: String, by replacement: [UInt8]
    ) -> [UInt8] {
        guard let range = bytes.firstRange(of: Array(mark.utf8)) else { return bytes }
        var replaced = bytes
        replaced.replaceSubrange(range, with: replacement)
        return replaced
    }
}
