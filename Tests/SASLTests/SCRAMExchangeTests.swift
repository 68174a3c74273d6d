// SCRAM from the first message to the last (RFC 5802, RFC 7677).

import SASL
import Testing

@Suite struct SCRAMExchangeTests {
    struct Vector: Sendable, CustomTestStringConvertible {
        let name: String
        let mechanism: SASLMechanism
        let bindings: ChannelBindings
        let username: String
        let password: String
        let serverNonce: String
        let salt: String
        let iterations: Int
        let messages: [String]
        var testDescription: String { name }
    }

    static let vectors = [
        Vector(
            name: "RFC 5802 section 5", mechanism: .scramSHA1,
            bindings: ChannelBindings(offered: [:]), username: "user", password: "pencil",
            serverNonce: "3rfcNHYJY1ZVvWVs7j", salt: "QSXCR+Q6sek8bf92", iterations: 4096,
            messages: [
                "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
                "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,"
                    + "p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ]),
        Vector(
            name: "RFC 7677 section 3", mechanism: .scramSHA256,
            bindings: ChannelBindings(offered: [:]), username: "user", password: "pencil",
            serverNonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", salt: "W22ZaJ0SNY7soEsUEjb6gQ==",
            iterations: 4096,
            messages: [
                "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                    + "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                    + "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ]),
        // Nobody publishes vectors for these two; another implementation computed them.
        Vector(
            name: "SCRAM-SHA-512-PLUS with tls-exporter", mechanism: .scramSHA512Plus,
            bindings: TestServer.bindings, username: "juliet", password: "balcony",
            serverNonce: "server-nonce", salt: "AAECAwQFBgcICQoLDA0ODw==", iterations: 10000,
            messages: [
                "p=tls-exporter,a=juliet@example.com,n=juliet,r=c2xpZW50LW5vbmNl",
                "r=c2xpZW50LW5vbmNlserver-nonce,s=AAECAwQFBgcICQoLDA0ODw==,i=10000",
                "c=cD10bHMtZXhwb3J0ZXIsYT1qdWxpZXRAZXhhbXBsZS5jb20sAAECAwQFBgcICQoLDA0ODxAREhMU"
                    + "FRYXGBkaGxwdHh8=,r=c2xpZW50LW5vbmNlserver-nonce,p=BRtagxVpxLIxfrEpcq3S8leP"
                    + "YIJQZWVhRFqBRL3MBk19poWyKOCl3Eyi0044Sn6nw8Q15CSWp7qFSeQqmljMHA==",
                "v=oZNoJQcv9o1q1BX16LYqeE7nB7aypLgEj5ohnrDycpfiuCeijAGWG5ryNOqCU1twmdlYZGfT1jzx"
                    + "aLcePCadvg==",
            ]),
        Vector(
            name: "SCRAM-SHA-256-PLUS with tls-server-end-point", mechanism: .scramSHA256Plus,
            bindings: TestServer.bindings, username: "juliet", password: "balcony",
            serverNonce: "server-nonce", salt: "AAECAwQFBgcICQoLDA0ODw==", iterations: 10000,
            messages: [
                "p=tls-server-end-point,,n=juliet,r=c2xpZW50LW5vbmNl",
                "r=c2xpZW50LW5vbmNlserver-nonce,s=AAECAwQFBgcICQoLDA0ODw==,i=10000",
                "c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=,"
                    + "r=c2xpZW50LW5vbmNlserver-nonce,"
                    + "p=VBbrgzX93GVGBskcgVi5tUS2g7d1t/xsa8303ZxD2dE=",
                "v=3TUXRAruCO+VKc3OTWZBBTUNdAYL1Oyz4P/MxXw05gc=",
            ]),
    ]

    @Test("Every byte of a known exchange is as expected", arguments: vectors)
    func vector(_ vector: Vector) throws {
        let hash = try #require(vector.mechanism.hash)
        let credentials = SCRAMCredentials(
            hash: hash, password: Array(vector.password.utf8),
            salt: try #require(Base64.decode(vector.salt)), iterations: vector.iterations)
        var exchange = SCRAMExchange(
            mechanism: vector.mechanism, bindings: vector.bindings,
            plusWasOffered: !vector.bindings.isEmpty, nonce: vector.serverNonce)
        let messages = vector.messages.map { Array($0.utf8) }

        guard case .needCredentials(vector.username, _) = exchange.receive(messages[0]) else {
            Issue.record("The first message was refused")
            return
        }
        let fake = TestServer.fakes.credentials(username: "user", domain: "", hash: hash)
        #expect(exchange.supply(credentials, fake: fake) == .challenge(messages[1]))
        #expect(exchange.receive(messages[2]) == .success(messages[3]))
    }

    @Test(
        "The right password logs in and the server proves itself",
        arguments: SASLMechanism.scramWithoutBinding)
    func success(_ mechanism: SASLMechanism) throws {
        let client = SCRAMClient(mechanism: mechanism)
        let actions = try TestServer().login(client)
        guard case .challenge(let challenge) = actions[1] else {
            Issue.record("There was no challenge: \(actions)")
            return
        }
        #expect(actions[0] == .needCredentials(username: "juliet", authorizationID: nil))
        #expect(actions[2] == .success(try client.final(after: challenge).verifier))
    }

    @Test("A wrong password is not-authorized", arguments: SASLMechanism.scramWithoutBinding)
    func wrongPassword(_ mechanism: SASLMechanism) throws {
        let actions = try TestServer().login(
            SCRAMClient(mechanism: mechanism, password: "m0ntague"))
        #expect(actions.last == .failure(.notAuthorized, nil))
    }

    @Test(
        "An unknown user and a wrong password look the same (RFC 6120 section 6.5.10)",
        arguments: SASLMechanism.scram)
    func unknownUser(_ mechanism: SASLMechanism) throws {
        let flag = mechanism.isPlus ? "p=tls-exporter" : "n"
        let data = mechanism.isPlus ? TestServer.exporterData : []
        func challengeAndEnd(
            _ username: String
        ) throws -> (ChallengeFields, SCRAMExchange.Action) {
            let actions = try TestServer().login(
                SCRAMClient(
                    mechanism: mechanism, username: username, password: "m0ntague", flag: flag,
                    bindingData: data))
            try #require(actions.count == 3)
            guard case .challenge(let challenge) = actions[1] else {
                throw SASLFailure(.aborted, "no challenge")
            }
            return (try ChallengeFields(challenge), actions[2])
        }

        let (known, knownEnd) = try challengeAndEnd("juliet")
        let (unknown, unknownEnd) = try challengeAndEnd("nobody")
        #expect(unknown.nonce == known.nonce)
        #expect(unknown.salt.count == known.salt.count)
        #expect(unknown.iterations == known.iterations)
        #expect(unknownEnd == knownEnd)
        #expect(unknownEnd == .failure(.notAuthorized, nil))
        #expect(try challengeAndEnd("nobody").0 == unknown, "The salt must not change")
    }

    @Test("Invented credentials never log in, even with the password that they belong to")
    func fakeNeverSucceeds() throws {
        var exchange = TestServer().exchange(.scramSHA256)
        let client = SCRAMClient(username: "nobody")
        _ = exchange.receive(client.first)
        // Worse than what FakeCredentials makes: the client knows the password of these.
        let fake = TestServer.credentials(.sha256)
        guard case .challenge(let challenge) = exchange.supply(nil, fake: fake) else {
            Issue.record("There was no challenge")
            return
        }
        let final = try client.final(after: challenge).message
        #expect(exchange.receive(final) == .failure(.notAuthorized, nil))
    }

    @Test("Keys of another digest count as none")
    func otherDigest() throws {
        var exchange = TestServer().exchange(.scramSHA256)
        _ = exchange.receive(SCRAMClient().first)
        let fake = TestServer.fakes.credentials(
            username: "juliet", domain: "example.com", hash: .sha256)
        let action = exchange.supply(TestServer.credentials(.sha512), fake: fake)
        guard case .challenge(let challenge) = action else {
            Issue.record("There was no challenge: \(action)")
            return
        }
        #expect(try ChallengeFields(challenge).salt == fake.salt)
    }

    @Test("Without keys for the mechanism at all the failure is a temporary one")
    func noKeysAtAll() {
        var exchange = TestServer().exchange(.scramSHA256)
        _ = exchange.receive(SCRAMClient().first)
        let action = exchange.supply(nil, fake: TestServer.credentials(.sha1))
        #expect(action.condition == .temporaryAuthFailure)
    }

    @Test(
        "Names are decoded: =2C is a comma and =3D an equals sign (RFC 5802 section 5.1)",
        arguments: [
            ("a=2Cb", "a,b"), ("a=3Db", "a=b"), ("=2C=3D", ",="), ("=3D2C", "=2C"),
            ("jürgen", "jürgen"), ("a b", "a b"),
        ])
    func names(_ encoded: String, _ decoded: String) {
        var exchange = TestServer().exchange(.scramSHA256)
        let client = SCRAMClient(username: encoded, authorizationID: encoded)
        #expect(
            exchange.receive(client.first)
                == .needCredentials(username: decoded, authorizationID: decoded))
    }

    @Test("Optional extensions are signed and otherwise ignored (RFC 5802 section 5.1)")
    func extensions() throws {
        var client = SCRAMClient()
        client.nonce += ",x=1,Y=two=2"
        var exchange = TestServer().exchange(.scramSHA256)
        _ = exchange.receive(client.first)
        let action = TestServer().supply(to: &exchange, username: "juliet", hash: .sha256)
        guard case .challenge(let challenge) = action else {
            Issue.record("There was no challenge: \(action)")
            return
        }
        #expect(try ChallengeFields(challenge).nonce == "c2xpZW50LW5vbmNlserver-nonce")
        let (message, verifier) = try client.final(after: challenge, extensions: ",z=ä")
        #expect(exchange.receive(message) == .success(verifier))
    }

    @Test("After a success nothing more is accepted")
    func endsWithSuccess() throws {
        var (exchange, client, challenge) = try challenged()
        let final = try client.final(after: challenge).message
        #expect(exchange.receive(final).succeeded)
        expectEnded(exchange, final)
    }

    @Test("After a failure nothing more is accepted, not even the right answer")
    func endsWithFailure() throws {
        var (exchange, client, challenge) = try challenged()
        let final = try client.final(after: challenge).message
        #expect(exchange.receive([]).condition == .malformedRequest)
        expectEnded(exchange, final)
    }

    @Test("A message that comes during the look-up ends the exchange")
    func messageDuringLookup() {
        var exchange = TestServer().exchange(.scramSHA256)
        _ = exchange.receive(SCRAMClient().first)
        #expect(exchange.receive(SCRAMClient().first).condition == .malformedRequest)
        expectEnded(exchange, SCRAMClient().first)
    }

    @Test("Credentials that nobody asked for are refused")
    func unexpectedCredentials() {
        var exchange = TestServer().exchange(.scramSHA256)
        let credentials = TestServer.credentials(.sha256)
        #expect(exchange.supply(credentials, fake: credentials).condition == .notAuthorized)
        expectEnded(exchange, SCRAMClient().first)
    }

    @Test("PLAIN is no SCRAM mechanism: such an exchange only fails")
    func plain() {
        var exchange = TestServer().exchange(.plain)
        _ = exchange.receive(SCRAMClient().first)
        let credentials = TestServer.credentials(.sha256)
        #expect(
            exchange.supply(credentials, fake: credentials).condition == .temporaryAuthFailure)
    }

    private func challenged() throws -> (SCRAMExchange, SCRAMClient, challenge: [UInt8]) {
        var exchange = TestServer().exchange(.scramSHA256)
        _ = exchange.receive(SCRAMClient().first)
        let action = TestServer().supply(to: &exchange, username: "juliet", hash: .sha256)
        guard case .challenge(let challenge) = action else {
            throw SASLFailure(.aborted, "no challenge: \(action)")
        }
        return (exchange, SCRAMClient(), challenge)
    }

    /// Tries each input on a copy of its own, since a refusal ends the exchange, too.
    private func expectEnded(_ exchange: SCRAMExchange, _ final: [UInt8]) {
        for message in [final, SCRAMClient().first, []] {
            var copy = exchange
            #expect(copy.receive(message).condition == .notAuthorized)
        }
        var copy = exchange
        let credentials = TestServer.credentials(.sha256)
        #expect(copy.supply(credentials, fake: credentials).condition == .notAuthorized)
    }
}
