// Binding to the TLS channel (RFC 5802 section 6, RFC 5929, RFC 9266), and attempts to avoid it.

import SASL
import Testing

@Suite struct SCRAMChannelBindingTests {
    static let exporter = (flag: "p=tls-exporter", data: TestServer.exporterData)
    static let endPoint = (flag: "p=tls-server-end-point", data: TestServer.endPointData)

    private func outcome(
        _ mechanism: SASLMechanism, flag: String, data: [UInt8] = [],
        server: TestServer = TestServer()
    ) throws -> SCRAMExchange.Action {
        let client = SCRAMClient(mechanism: mechanism, flag: flag, bindingData: data)
        return try #require(try server.login(client).last)
    }

    @Test("Both binding types log in with every digest", arguments: SASLMechanism.scramPlus)
    func bound(_ mechanism: SASLMechanism) throws {
        for binding in [Self.exporter, Self.endPoint] {
            #expect(try outcome(mechanism, flag: binding.flag, data: binding.data).succeeded)
        }
    }

    @Test("The authorization identity is part of what is bound")
    func authorizationID() throws {
        var exchange = TestServer().exchange(.scramSHA256Plus)
        var client = SCRAMClient(
            mechanism: .scramSHA256Plus, flag: Self.exporter.flag,
            authorizationID: "juliet@example.com", bindingData: Self.exporter.data)
        #expect(
            exchange.receive(client.first)
                == .needCredentials(username: "juliet", authorizationID: "juliet@example.com"))
        let action = TestServer().supply(to: &exchange, username: "juliet", hash: .sha256)
        guard case .challenge(let challenge) = action else {
            Issue.record("There was no challenge: \(action)")
            return
        }
        var other = exchange
        #expect(exchange.receive(try client.final(after: challenge).message).succeeded)
        client.authorizationID = nil
        let changed = try client.final(after: challenge).message
        #expect(other.receive(changed).condition == .notAuthorized)
    }

    @Test("Data of another connection fail, though the password is right (RFC 5802 section 6)")
    func wrongData() throws {
        var flipped = TestServer.exporterData
        flipped[31] ^= 1
        for (flag, data) in [
            ("p=tls-exporter", flipped),
            ("p=tls-exporter", Array(TestServer.exporterData.dropLast())),
            ("p=tls-exporter", TestServer.exporterData + [0]),
            ("p=tls-exporter", []),
            ("p=tls-exporter", TestServer.endPointData),
            ("p=tls-server-end-point", TestServer.exporterData),
        ] {
            let action = try outcome(.scramSHA256Plus, flag: flag, data: data)
            #expect(action.condition == .notAuthorized, "\(flag) \(data.count)")
        }
    }

    @Test(
        "A type that the connection does not have fails at once",
        arguments: ["tls-unique", "tls-exporte", "TLS-EXPORTER", "x", "tls-exporter.", "-"])
    func unknownType(_ type: String) {
        var exchange = TestServer().exchange(.scramSHA256Plus)
        let client = SCRAMClient(mechanism: .scramSHA256Plus, flag: "p=\(type)")
        #expect(exchange.receive(client.first).condition == .notAuthorized)
    }

    @Test("A known type without data on this connection fails at once")
    func typeWithoutData() {
        let bindings = ChannelBindings(offered: [
            "tls-server-end-point": TestServer.endPointData, "tls-exporter": [],
        ])
        let server = TestServer(bindings: bindings)
        var exchange = server.exchange(.scramSHA256Plus)
        let client = SCRAMClient(mechanism: .scramSHA256Plus, flag: "p=tls-exporter")
        #expect(exchange.receive(client.first).condition == .notAuthorized)
    }

    @Test(
        "'y' when -PLUS was offered is a downgrade (RFC 5802 section 6)",
        arguments: SASLMechanism.scramWithoutBinding)
    func downgrade(_ mechanism: SASLMechanism) throws {
        #expect(try outcome(mechanism, flag: "y").condition == .notAuthorized)
    }

    @Test(
        "'y' is right when -PLUS was not offered", arguments: SASLMechanism.scramWithoutBinding)
    func honestY(_ mechanism: SASLMechanism) throws {
        let server = TestServer(bindings: ChannelBindings(offered: [:]), plusWasOffered: false)
        #expect(try outcome(mechanism, flag: "y", server: server).succeeded)
    }

    @Test("A changed flag shows in the final message, although the first was accepted")
    func changedFlag() throws {
        // Somebody in the middle turns the client's 'y' into 'n' to hide a downgrade.
        var exchange = TestServer().exchange(.scramSHA256)
        let client = SCRAMClient(flag: "y")
        _ = exchange.receive(SCRAMClient(flag: "n").first)
        let action = TestServer().supply(to: &exchange, username: "juliet", hash: .sha256)
        guard case .challenge(let challenge) = action else {
            Issue.record("There was no challenge: \(action)")
            return
        }
        let final = try client.final(after: challenge).message
        #expect(exchange.receive(final).condition == .notAuthorized)
    }

    @Test("'n' and 'y' do not go with -PLUS", arguments: SASLMechanism.scramPlus)
    func plusWithoutBinding(_ mechanism: SASLMechanism) throws {
        for flag in ["n", "y"] {
            for offered in [true, false] {
                let server = TestServer(plusWasOffered: offered)
                let action = try outcome(mechanism, flag: flag, server: server)
                #expect(action.condition == .malformedRequest)
            }
        }
    }

    @Test(
        "'p=' does not go without -PLUS, even with the right data",
        arguments: SASLMechanism.scramWithoutBinding)
    func bindingWithoutPlus(_ mechanism: SASLMechanism) throws {
        for binding in [Self.exporter, Self.endPoint] {
            let action = try outcome(mechanism, flag: binding.flag, data: binding.data)
            #expect(action.condition == .malformedRequest)
        }
    }
}
