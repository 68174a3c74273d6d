// The client's half of SCRAM, for the tests of the server's half.

import SASL
import TLS
import Testing

/// A client that follows RFC 5802, except where a test sets one of its fields to nonsense.
struct SCRAMClient: Sendable {
    var mechanism = SASLMechanism.scramSHA256
    /// The user name in its encoded form (saslname).
    var username = "juliet"
    var password = "r0m30myr0m30"
    var nonce = "c2xpZW50LW5vbmNl"
    /// gs2-cbind-flag: `n`, `y` or `p=type`.
    var flag = "n"
    /// The authorization identity in its encoded form.
    var authorizationID: String?
    /// The nonce to send and sign in the final message, when not the one of the challenge.
    var finalNonce: String?
    /// What the client believes the channel's binding data to be.
    var bindingData: [UInt8] = []

    var gs2Header: String { "\(flag),\(authorizationID.map { "a=\($0)" } ?? "")," }
    var bare: String { "n=\(username),r=\(nonce)" }
    var first: [UInt8] { Array((gs2Header + bare).utf8) }

    /// The answer to a challenge, and the signature that the server then has to show.
    func final(
        after challenge: [UInt8], extensions: String = ""
    ) throws -> (message: [UInt8], verifier: [UInt8]) {
        let serverFirst = String(decoding: challenge, as: UTF8.self)
        let fields = try ChallengeFields(challenge)
        let hash = try #require(mechanism.hash)
        let digest = hash.digest
        let saltedPassword = digest.pbkdf2(
            password: Array(password.utf8), salt: fields.salt, iterations: fields.iterations)
        let clientKey = digest.hmac(key: saltedPassword, Array("Client Key".utf8))
        let serverKey = digest.hmac(key: saltedPassword, Array("Server Key".utf8))
        let bound = Base64.encode(Array(gs2Header.utf8) + bindingData)
        let withoutProof = "c=\(bound),r=\(finalNonce ?? fields.nonce)\(extensions)"
        let signed = Array("\(bare),\(serverFirst),\(withoutProof)".utf8)
        let signature = digest.hmac(key: digest.hash(clientKey), signed)
        let proof = zip(clientKey, signature).map { $0 ^ $1 }
        let verifier = Base64.encode(digest.hmac(key: serverKey, signed))
        return (
            Array("\(withoutProof),p=\(Base64.encode(proof))".utf8), Array("v=\(verifier)".utf8)
        )
    }
}

/// The parts of a server-first-message.
struct ChallengeFields: Equatable {
    let nonce: String
    let salt: [UInt8]
    let iterations: Int

    init(_ challenge: [UInt8]) throws {
        let fields = String(decoding: challenge, as: UTF8.self)
            .split(separator: ",", omittingEmptySubsequences: false)
        try #require(fields.count == 3)
        try #require(fields[0].hasPrefix("r=") && fields[1].hasPrefix("s="))
        try #require(fields[2].hasPrefix("i="))
        nonce = String(fields[0].dropFirst(2))
        salt = try #require(Base64.decode(String(fields[1].dropFirst(2))))
        iterations = try #require(Int(fields[2].dropFirst(2)))
    }
}

/// A server with one user, juliet, and what its connections can be bound to.
struct TestServer: Sendable {
    static let serverNonce = "server-nonce"
    static let domain = "example.com"
    static let exporterData = [UInt8](0..<32)
    static let endPointData = [UInt8](32..<64)
    static let bindings = ChannelBindings(offered: [
        ChannelBindings.tlsExporter: exporterData,
        ChannelBindings.tlsServerEndPoint: endPointData,
    ])
    static let fakes = FakeCredentials(
        secret: Array("0123456789abcdef".utf8), iterations: iterations)
    /// Far fewer than real users get: the machine does not care and the tests are fast.
    static let iterations = 16

    static func credentials(_ hash: SCRAMHash) -> SCRAMCredentials {
        SCRAMCredentials(
            hash: hash, password: Array("r0m30myr0m30".utf8),
            salt: [UInt8](100..<116), iterations: iterations)
    }

    var bindings = Self.bindings
    var plusWasOffered = true

    func exchange(_ mechanism: SASLMechanism) -> SCRAMExchange {
        SCRAMExchange(
            mechanism: mechanism, bindings: bindings, plusWasOffered: plusWasOffered,
            nonce: Self.serverNonce)
    }

    /// Answers `needCredentials` as the stream does.
    func supply(
        to exchange: inout SCRAMExchange, username: String, hash: SCRAMHash
    ) -> SCRAMExchange.Action {
        let fake = Self.fakes.credentials(username: username, domain: Self.domain, hash: hash)
        return exchange.supply(
            username == "juliet" ? Self.credentials(hash) : nil, fake: fake)
    }

    /// Runs a whole login and returns everything that the machine answered.
    func login(_ client: SCRAMClient) throws -> [SCRAMExchange.Action] {
        let hash = try #require(client.mechanism.hash)
        var exchange = exchange(client.mechanism)
        var actions = [exchange.receive(client.first)]
        guard case .needCredentials(let username, _) = actions[0] else { return actions }
        actions.append(supply(to: &exchange, username: username, hash: hash))
        guard case .challenge(let challenge) = actions[1] else { return actions }
        actions.append(exchange.receive(try client.final(after: challenge).message))
        return actions
    }
}

extension SCRAMExchange.Action {
    var succeeded: Bool {
        if case .success = self { true } else { false }
    }

    var condition: SASLCondition? {
        if case .failure(let condition, _) = self { condition } else { nil }
    }
}

extension SASLMechanism {
    static let scram = allCases.filter { $0.hash != nil }
    static let scramWithoutBinding = scram.filter { !$0.isPlus }
    static let scramPlus = scram.filter(\.isPlus)
}
