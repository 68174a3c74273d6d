// Which addresses of a name may be connected to.

import DNS
import Engine
import Testing

@testable import Listeners

@Suite struct AllowedAddressesTests {
    private static func allowed(_ texts: [String], allowsPrivate: Bool) -> Result<
        [String], FederationFailure
    > {
        do throws(FederationFailure) {
            let addresses = texts.compactMap { ResolvedAddress($0) }
            return .success(
                try AllowedAddresses.of(
                    addresses, host: "xmpp.example", allowsPrivate: allowsPrivate
                ).map(\.text))
        } catch {
            return .failure(error)
        }
    }

    @Test(
        "Private, loopback and link-local addresses are refused unless the option allows them",
        arguments: [
            "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "127.0.0.1", "169.254.1.1",
            "::1", "fe80::1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
        ])
    func privateAddress(_ text: String) {
        guard case .failure(let failure) = Self.allowed([text], allowsPrivate: false) else {
            Issue.record("\(text) is allowed")
            return
        }
        #expect(failure.reason == .forbiddenAddress)
        #expect(failure.isPermanent)
        #expect(failure.text.contains("federation.allow_private_addresses"))
        #expect((try? Self.allowed([text], allowsPrivate: true).get())?.count == 1)
    }

    @Test(
        "What is no single machine's address is refused always",
        arguments: ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "240.0.0.1"])
    func nobody(_ text: String) {
        for allowsPrivate in [false, true] {
            guard
                case .failure(let failure) = Self.allowed([text], allowsPrivate: allowsPrivate)
            else {
                Issue.record("\(text) is allowed")
                continue
            }
            #expect(failure.reason == .forbiddenAddress)
        }
    }

    @Test("Of several addresses those that are allowed remain, in their order")
    func some() throws {
        let texts = ["fd00::1", "2001:db8::1", "192.168.0.1", "192.0.2.1"]
        #expect(
            try Self.allowed(texts, allowsPrivate: false).get() == ["2001:db8::1", "192.0.2.1"])
        #expect(try Self.allowed(texts, allowsPrivate: true).get() == texts)
    }

    @Test("The failure names the host and the address")
    func text() {
        guard case .failure(let failure) = Self.allowed(["192.168.1.4"], allowsPrivate: false)
        else {
            Issue.record("allowed")
            return
        }
        #expect(failure.text.hasPrefix("xmpp.example has the address 192.168.1.4"))
    }
}
