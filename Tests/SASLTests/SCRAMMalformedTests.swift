// Messages that are not SCRAM: refused by name in tables, and by the thousand at random.

import SASL
import Testing

@Suite struct SCRAMMalformedTests {
    static let malformedFirstMessages: [String] = [
        // Not the fields of RFC 5802 section 7.
        "", ",", ",,", ",,,", "n", "n,", "n,,", "n,,n=juliet", "n,,n=juliet,", "n,,r=abc",
        "n=juliet,r=abc", ",,n=juliet,r=abc", "n,n=juliet,r=abc", "n,,,n=juliet,r=abc",
        // Attributes out of order, doubled or of another message.
        "n,,r=abc,n=juliet", "n,,n=juliet,n=juliet,r=abc", "n,,n=juliet,x=1,r=abc",
        "n,,x=1,n=juliet,r=abc", "n,,n=juliet,r=abc,r=def", "n,,n=juliet,r=abc,n=romeo",
        "n,,n=juliet,r=abc,c=biws", "n,,n=juliet,r=abc,p=AAAA", "n,,n=juliet,r=abc,a=romeo",
        // Flags.
        "x,,n=juliet,r=abc", "N,,n=juliet,r=abc", "Y,,n=juliet,r=abc", "nn,,n=juliet,r=abc",
        "n=,,n=juliet,r=abc", "y=1,,n=juliet,r=abc", " n,,n=juliet,r=abc", "p,,n=juliet,r=abc",
        "p=,,n=juliet,r=abc", "p=tls exporter,,n=juliet,r=abc", "p=tls_unique,,n=juliet,r=abc",
        "p=tls=unique,,n=juliet,r=abc", "p=tlsü,,n=juliet,r=abc", "P=tls-unique,,n=juliet,r=abc",
        // Identities.
        "n,juliet,n=juliet,r=abc", "n,a=,n=juliet,r=abc", "n,A=juliet,n=juliet,r=abc",
        "n,b=juliet,n=juliet,r=abc", "n,a=ju=liet,n=juliet,r=abc", "n,a,n=juliet,r=abc",
        "n,,n=,r=abc", "n,,n,r=abc", "n,,N=juliet,r=abc", "n,,u=juliet,r=abc",
        "n,,n=jul=iet,r=abc", "n,,n=juliet=,r=abc", "n,,n=juliet=2,r=abc",
        "n,,n=juliet=2c,r=abc", "n,,n=juliet=3d,r=abc", "n,,n=juliet=2D,r=abc",
        "n,,n=juliet==2C,r=abc", "n,,n==,r=abc", "n,,n=jul\0iet,r=abc",
        // Nonces.
        "n,,n=juliet,r=", "n,,n=juliet,r", "n,,n=juliet,R=abc", "n,,n=juliet,r=a b",
        "n,,n=juliet,r=a\u{7F}", "n,,n=juliet,r=a\tb", "n,,n=juliet,r=a\n", "n,,n=juliet,r=ä",
        "n,,n=juliet,r=\0",
        // Extensions: mandatory ones must be refused, others be well-formed.
        "n,,m=x,n=juliet,r=abc", "n,,n=juliet,m=x,r=abc", "n,,n=juliet,r=abc,m=x",
        "n,m=x,n=juliet,r=abc", "m=x,,n=juliet,r=abc", "n,,n=juliet,r=abc,",
        "n,,n=juliet,r=abc,,", "n,,n=juliet,r=abc,x", "n,,n=juliet,r=abc,x=",
        "n,,n=juliet,r=abc,=x", "n,,n=juliet,r=abc,xx=1", "n,,n=juliet,r=abc,1=x",
        "n,,n=juliet,r=abc,ä=x", "n,,n=juliet,r=abc,[=x", "n,,n=juliet,r=abc,x=1,",
        "n,,n=juliet,r=abc,@=x", "n,,n=juliet,r=abc,`=x",
    ]

    @Test(
        "A malformed first message is refused (RFC 5802 section 7)",
        arguments: malformedFirstMessages)
    func malformedFirst(_ message: String) {
        for mechanism in [SASLMechanism.scramSHA256, .scramSHA256Plus] {
            var exchange = TestServer().exchange(mechanism)
            let action = exchange.receive(Array(message.utf8))
            #expect(action.condition == .malformedRequest, "\(mechanism.rawValue)")
        }
    }

    @Test("A first message that is not UTF-8 is refused, wherever the wrong byte is")
    func notUTF8() {
        let valid = Array("n,a=juliet,n=juliet,r=abc,x=1".utf8)
        for position in valid.indices {
            var message = valid
            message[position] = 0xFF
            var exchange = TestServer().exchange(.scramSHA256)
            #expect(exchange.receive(message).condition == .malformedRequest)
        }
    }

    @Test("A message may have 4,096 bytes and not one more")
    func messageLimit() {
        let start = "n,,n=juliet,r="
        let fill = SCRAMExchange.maximumMessageLength - start.utf8.count
        var exchange = TestServer().exchange(.scramSHA256)
        let longest = start + String(repeating: "x", count: fill)
        #expect(
            exchange.receive(Array(longest.utf8))
                == .needCredentials(username: "juliet", authorizationID: nil))
        var other = TestServer().exchange(.scramSHA256)
        #expect(other.receive(Array((longest + "x").utf8)).condition == .malformedRequest)
    }

    /// A server that has sent its challenge, and the parts of the right answer.
    struct Challenged {
        let exchange: SCRAMExchange
        let final: String
        let binding: String
        let nonce: String
        let proof: String

        init(_ client: SCRAMClient = SCRAMClient()) throws {
            let hash = try #require(client.mechanism.hash)
            var exchange = TestServer().exchange(client.mechanism)
            _ = exchange.receive(client.first)
            let action = TestServer().supply(to: &exchange, username: "juliet", hash: hash)
            guard case .challenge(let challenge) = action else {
                throw SASLFailure(.aborted, "no challenge: \(action)")
            }
            self.exchange = exchange
            final = String(decoding: try client.final(after: challenge).message, as: UTF8.self)
            let fields = final.split(separator: ",").map(String.init)
            try #require(fields.count == 3)
            (binding, nonce, proof) = (fields[0], fields[1], fields[2])
        }

        func receive(_ message: String) -> SCRAMExchange.Action {
            var exchange = exchange
            return exchange.receive(Array(message.utf8))
        }
    }

    @Test("A malformed final message is refused, though its proof is right (RFC 5802 section 7)")
    func malformedFinal() throws {
        let right = try Challenged()
        let (c, r, p) = (right.binding, right.nonce, right.proof)
        #expect(right.receive("\(c),\(r),\(p)").succeeded)
        let short = Base64.encode([UInt8](repeating: 0, count: 31))
        let long = Base64.encode([UInt8](repeating: 0, count: 33))
        for message in [
            "", ",", ",,", c, r, p, "\(c),\(r)", "\(c),\(p)", "\(r),\(p)", "\(c),\(r),",
            "\(r),\(c),\(p)", "\(p),\(c),\(r)", "\(c),\(p),\(r)", "\(c),\(r),\(p),",
            ",\(c),\(r),\(p)", "\(c),,\(r),\(p)", "\(c),\(r),,\(p)", "\(c),\(r),\(p),x=1",
            "x=1,\(c),\(r),\(p)", "\(c),x=1,\(r),\(p)", "\(c),\(r),\(p),\(p)",
            "\(c),\(r),\(r),\(p)", "\(c),\(c),\(r),\(p)", "\(c),\(r),m=x,\(p)",
            "m=x,\(c),\(r),\(p)", "\(c),m=x,\(r),\(p)", "\(c),\(r),m=x", "\(c),\(r),x,\(p)",
            "\(c),\(r),x=,\(p)", "\(c),\(r),n=juliet,\(p)",
            "c=,\(r),\(p)", "c,\(r),\(p)", "C=biws,\(r),\(p)", "c=biw,\(r),\(p)",
            "c=biws=,\(r),\(p)", "c=bi ws,\(r),\(p)", "c=n\0,\(r),\(p)", "\(c)\n,\(r),\(p)",
            "\(c),r=,\(p)", "\(c),r,\(p)",
            "\(c),\(r),p=", "\(c),\(r),p", "\(c),\(r),\(p)=", "\(c),\(r),\(p) ",
            "\(c),\(r),\(p.dropLast())", "\(c),\(r),P\(p.dropFirst())", "\(c),\(r),p=AA==",
            "\(c),\(r),p=\(short)", "\(c),\(r),p=\(long)", "\(c),\(r),p=*",
            "\(c),\(r),x=\(String(repeating: "x", count: 4096)),\(p)",
        ] {
            #expect(right.receive(message).condition == .malformedRequest, "\(message)")
        }
    }

    @Test("A well-formed final message with one wrong part is not-authorized")
    func wrongFinal() throws {
        let right = try Challenged()
        let (c, r, p) = (right.binding, right.nonce, right.proof)
        let zeros = Base64.encode([UInt8](repeating: 0, count: 32))
        for message in [
            // Another gs2-header: y,, and n,a=x, and more than the header.
            "c=eSws,\(r),\(p)", "c=bixhPXgs,\(r),\(p)", "c=biwsAA==,\(r),\(p)",
            // The nonce must be the whole one and nothing else (RFC 5802 section 5.1).
            "\(c),\(r)x,\(p)", "\(c),\(r.dropLast()),\(p)", "\(c),r=c2xpZW50LW5vbmNl,\(p)",
            "\(c),r=server-nonce,\(p)", "\(c),\(r.uppercased().replacing("R=", with: "r=")),\(p)",
            "\(c),\(r),p=\(zeros)",
            // An extension that was not signed.
            "\(c),\(r),x=1,\(p)",
        ] {
            #expect(right.receive(message).condition == .notAuthorized, "\(message)")
        }
    }

    @Test(
        "The password is not enough when the nonce is another (RFC 5802 section 5.1)",
        arguments: ["c2xpZW50LW5vbmNl", "server-nonce", "c2xpZW50LW5vbmNlserver-nonce2", "x"])
    func signedOtherNonce(_ nonce: String) throws {
        let client = SCRAMClient(finalNonce: nonce)
        let actions = try TestServer().login(client)
        #expect(actions.count == 3)
        #expect(actions.last?.condition == .notAuthorized)
    }

    @Test("A replayed final message fails against another nonce of the server")
    func replay() throws {
        let recorded = try Challenged()
        var exchange = SCRAMExchange(
            mechanism: .scramSHA256, bindings: TestServer.bindings, plusWasOffered: true,
            nonce: "another-nonce")
        _ = exchange.receive(SCRAMClient().first)
        _ = TestServer().supply(to: &exchange, username: "juliet", hash: .sha256)
        #expect(exchange.receive(Array(recorded.final.utf8)).condition == .notAuthorized)
    }

    static let propertyClients = [
        SCRAMClient(mechanism: .scramSHA1),
        SCRAMClient(mechanism: .scramSHA256, authorizationID: "juliet@example.com"),
        SCRAMClient(
            mechanism: .scramSHA512Plus, flag: "p=tls-exporter",
            bindingData: TestServer.exporterData),
    ]

    @Test("No changed final message logs in", arguments: propertyClients.indices)
    func mutatedFinal(_ index: Int) throws {
        let challenged = try Challenged(Self.propertyClients[index])
        let final = Array(challenged.final.utf8)
        for message in Self.mutations(of: final, seed: UInt64(index)) {
            var exchange = challenged.exchange
            let action = exchange.receive(message)
            #expect(action.condition != nil, "\(String(decoding: message, as: UTF8.self))")
        }
    }

    @Test("No changed first message leads to a login", arguments: propertyClients.indices)
    func mutatedFirst(_ index: Int) throws {
        let client = Self.propertyClients[index]
        let hash = try #require(client.mechanism.hash)
        var accepted = 0
        for message in Self.mutations(of: client.first, seed: UInt64(index)) {
            var exchange = TestServer(plusWasOffered: client.mechanism.isPlus)
                .exchange(client.mechanism)
            let action = exchange.receive(message)
            guard case .needCredentials = action else {
                #expect(action.condition != nil)
                continue
            }
            accepted += 1
            // The user is found whatever the name became, so that only the proof protects.
            let challenge = exchange.supply(
                TestServer.credentials(hash), fake: TestServer.credentials(hash))
            guard case .challenge(let bytes) = challenge else {
                Issue.record("There was no challenge: \(challenge)")
                continue
            }
            let end = exchange.receive(try client.final(after: bytes).message)
            #expect(end.condition != nil, "\(String(decoding: message, as: UTF8.self))")
        }
        #expect(accepted > 100, "The mutations must reach beyond the parser")
    }

    /// Every truncation of `message`, and 3,000 changed forms of it, the same in every run.
    static func mutations(of message: [UInt8], seed: UInt64) -> [[UInt8]] {
        var generator = SplitMix64(state: seed)
        let interesting = Array(",=nypamrcsive\0 \u{7F}ä2CA/+".utf8) + [0xFF]
        var results = message.indices.map { Array(message[..<$0]) }
        for _ in 0..<3_000 {
            var changed = message
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                let place = Int.random(in: 0..<max(changed.count, 1), using: &generator)
                let byte =
                    Bool.random(using: &generator)
                    ? UInt8.random(in: .min ... .max, using: &generator)
                    : interesting.randomElement(using: &generator) ?? 0
                switch Int.random(in: 0..<5, using: &generator) {
                case 0: changed.insert(byte, at: min(place, changed.count))
                case 1 where !changed.isEmpty: changed.remove(at: place)
                case 2 where !changed.isEmpty: changed[place] ^= 1 << (byte & 7)
                case 3: changed.append(contentsOf: changed[min(place, changed.count)...])
                default: if !changed.isEmpty { changed[place] = byte }
                }
            }
            if changed != message { results.append(changed) }
        }
        return results
    }
}

/// A small generator with a fixed seed, so that a failure can be repeated.
private struct SplitMix64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
