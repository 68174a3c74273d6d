// Our client against our server, and against RFC 7677.

import SASL
import Testing

@Suite("SCRAM from the client's side")
struct SCRAMClientExchangeTests {
    @Test("The example of RFC 7677 section 3")
    func example() throws {
        let exchange = SCRAMClientExchange(
            .sha256, user: "user", password: "pencil", nonce: "rOprNGfwEbeRWgbNEkqO")
        #expect(
            String(decoding: exchange.first, as: UTF8.self) == "n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
        let challenge = Array(
            ("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
                .utf8)
        let (message, expected) = try #require(exchange.final(after: challenge))
        #expect(
            String(decoding: message, as: UTF8.self)
                == "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                + "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
        #expect(
            String(decoding: expected, as: UTF8.self)
                == "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    }

    @Test("Our server lets it in and proves itself")
    func login() throws {
        let server = TestServer()
        let client = SCRAMClientExchange(
            .sha256, user: "juliet", password: "r0m30myr0m30", nonce: "abc")
        var exchange = server.exchange(.scramSHA256)
        guard case .needCredentials(let user, _) = exchange.receive(client.first),
            case .challenge(let challenge) = server.supply(
                to: &exchange, username: user, hash: .sha256),
            let (message, expected) = client.final(after: challenge),
            case .success(let verifier) = exchange.receive(message)
        else {
            Issue.record("not logged in")
            return
        }
        #expect(verifier == expected)
    }

    @Test(
        "A challenge that is none is not answered",
        arguments: [
            "", "r=abc,s=,i=1", "r=abd1,s=QUFB,i=1", "r=abcd,s=QUFB,i=0", "r=abcd,s=QUFB,i=-5",
            "r=abcd,s=QUFB,i=99999999999999999999", "r=abcd,s=QUFB,i=10000001", "r=abcd,s=?,i=1",
            "s=QUFB,r=abcd,i=1", "r=abcd,s=QUFB",
        ])
    func malformed(_ challenge: String) {
        let client = SCRAMClientExchange(.sha256, user: "a", password: "b", nonce: "abc")
        #expect(client.final(after: Array(challenge.utf8)) == nil)
    }

    @Test("Names with a comma or an equals sign are encoded (RFC 5802 section 5.1)")
    func names() {
        let client = SCRAMClientExchange(.sha256, user: "a=b,c", password: "b", nonce: "abc")
        #expect(String(decoding: client.first, as: UTF8.self) == "n,,n=a=3Db=2Cc,r=abc")
    }
}
