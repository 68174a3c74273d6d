// Stored keys, and the invented ones of users who do not exist.

import SASL
import Testing

@Suite struct SCRAMCredentialsTests {
    @Test("Keys verify their password and no other", arguments: SCRAMHash.allCases)
    func verifies(_ hash: SCRAMHash) {
        let credentials = TestServer.credentials(hash)
        #expect(credentials.verifies(password: Array("r0m30myr0m30".utf8)))
        for wrong in ["", "r0m30myr0m3", "r0m30myr0m30 ", "R0m30myr0m30"] {
            #expect(!credentials.verifies(password: Array(wrong.utf8)))
        }
    }

    @Test("Salt, iterations and digest change the keys")
    func parameters() {
        let password = Array("r0m30myr0m30".utf8)
        let keys = [
            SCRAMCredentials(hash: .sha256, password: password, salt: [1], iterations: 1),
            SCRAMCredentials(hash: .sha256, password: password, salt: [2], iterations: 1),
            SCRAMCredentials(hash: .sha256, password: password, salt: [1], iterations: 2),
            SCRAMCredentials(hash: .sha512, password: password, salt: [1], iterations: 1),
        ].map(\.storedKey)
        #expect(Set(keys).count == keys.count)
    }

    @Test(
        "A damaged stored row is a wrong password, never a crash",
        arguments: [0, -1, Int.min, Int(Int32.max) + 1, Int.max])
    func damagedIterations(_ iterations: Int) {
        let good = TestServer.credentials(.sha256)
        let damaged = SCRAMCredentials(
            hash: .sha256, iterations: iterations, salt: good.salt, storedKey: good.storedKey,
            serverKey: good.serverKey)
        #expect(!damaged.verifies(password: Array("r0m30myr0m30".utf8)))
    }

    @Test("Keys that were cut off or half replaced do not verify")
    func damagedKeys() {
        let good = TestServer.credentials(.sha256)
        for (storedKey, serverKey) in [
            ([], good.serverKey), (good.storedKey, []), ([], []),
            (Array(good.storedKey.dropLast()), good.serverKey),
            (good.storedKey, good.storedKey),
        ] {
            let damaged = SCRAMCredentials(
                hash: .sha256, iterations: good.iterations, salt: good.salt,
                storedKey: storedKey, serverKey: serverKey)
            #expect(!damaged.verifies(password: Array("r0m30myr0m30".utf8)))
        }
    }

    @Test("Printing credentials shows neither salt nor keys")
    func description() {
        let credentials = TestServer.credentials(.sha256)
        #expect("\(credentials)" == "SCRAM-SHA-256 keys, 16 iterations")
        #expect(String(reflecting: credentials) == "SCRAM-SHA-256 keys, 16 iterations")
        #expect("\([credentials])" == "[SCRAM-SHA-256 keys, 16 iterations]")
    }

    @Test("Invented credentials look like real ones", arguments: SCRAMHash.allCases)
    func fakeShape(_ hash: SCRAMHash) {
        let real = TestServer.credentials(hash)
        let fake = TestServer.fakes.credentials(
            username: "nobody", domain: "example.com", hash: hash)
        #expect(fake.hash == hash)
        #expect(fake.iterations == real.iterations)
        #expect(fake.salt.count == real.salt.count)
        #expect(fake.salt.count == SCRAMCredentials.saltLength)
        #expect(fake.storedKey.count == real.storedKey.count)
        #expect(fake.serverKey.count == real.serverKey.count)
        #expect(fake.storedKey != fake.serverKey)
    }

    @Test("A user's invented salt stays the same, also after a restart")
    func fakeIsStable() {
        let again = FakeCredentials(
            secret: Array("0123456789abcdef".utf8), iterations: TestServer.iterations)
        #expect(
            again.credentials(username: "nobody", domain: "example.com", hash: .sha256)
                == TestServer.fakes.credentials(
                    username: "nobody", domain: "example.com", hash: .sha256))
    }

    @Test("Names, domains, digests and servers have salts of their own")
    func fakesDiffer() {
        let other = FakeCredentials(secret: Array("fedcba9876543210".utf8), iterations: 16)
        let salts = [
            TestServer.fakes.credentials(username: "a", domain: "b.example", hash: .sha256),
            TestServer.fakes.credentials(username: "b", domain: "b.example", hash: .sha256),
            TestServer.fakes.credentials(username: "a", domain: "c.example", hash: .sha256),
            TestServer.fakes.credentials(username: "a", domain: "b.example", hash: .sha512),
            TestServer.fakes.credentials(username: "a", domain: "b.example", hash: .sha1),
            TestServer.fakes.credentials(username: "aa", domain: "b.exampl", hash: .sha256),
            other.credentials(username: "a", domain: "b.example", hash: .sha256),
        ].map(\.salt)
        #expect(Set(salts).count == salts.count)
    }

    @Test("No password leads to invented keys")
    func fakesVerifyNothing() {
        let fake = TestServer.fakes.credentials(
            username: "nobody", domain: "example.com", hash: .sha256)
        for password in ["", "nobody", "r0m30myr0m30", "0123456789abcdef"] {
            #expect(!fake.verifies(password: Array(password.utf8)))
        }
    }
}
