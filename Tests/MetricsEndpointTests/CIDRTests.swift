// Networks as text and as sets of addresses.

import Testing

@testable import MetricsEndpoint

@Suite("CIDR")
struct CIDRTests {
    @Test(
        "An address is in a network when their first bits agree",
        arguments: [
            ("192.168.0.0/16", "192.168.255.1", true), ("192.168.0.0/16", "192.169.0.1", false),
            ("192.168.7.9/16", "192.168.0.1", true), ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false), ("10.1.2.3/31", "10.1.2.2", true),
            ("0.0.0.0/0", "8.8.8.8", true), ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true), ("::/0", "8.8.8.8", false),
            ("fd00::/8", "fdff::1", true), ("fd00::/8", "fe80::1", false),
            ("2001:db8::1", "2001:db8::1", true), ("2001:db8::1", "2001:db8::2", false),
            ("10.0.0.0/8", "::ffff:10.9.9.9", true), ("::ffff:10.0.0.0/104", "10.9.9.9", true),
            ("::ffff:10.0.0.0/104", "11.0.0.1", false),
        ])
    func contains(network: String, address: String, expected: Bool) throws {
        let cidr = try #require(CIDR(network))
        let address = try #require(IPAddress(address))
        #expect(cidr.contains(address) == expected)
        #expect(cidr.description == network)
    }

    @Test(
        "What is not a network is refused",
        arguments: [
            "", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8",
            "10.0.0.0/8/8", "10.0.0.0/0x8", "10.0.0.0/0008", "10.0.0/8", "10.0.0.256", "::/129",
            "fe80::1%lo", "localhost", "10.0.0.0 /8", "10.0.0.0/٨", "10.0.0.0\u{0}1",
            "10.0.0.0\u{0}",
        ])
    func refused(text: String) {
        #expect(CIDR(text) == nil)
    }

    @Test(
        "An address as text reads back as itself",
        arguments: [
            "10.1.2.3", "0.0.0.0", "255.255.255.255", "::", "::1", "2001:db8::1", "fd00::5",
        ]
    )
    func text(text: String) throws {
        #expect(try #require(IPAddress(text)).text == text)
        #expect(try #require(IPAddress("::ffff:10.1.2.3")).text == "10.1.2.3")
    }

    @Test("Loopback is 127.0.0.0/8 and ::1, mapped or not")
    func loopback() throws {
        for text in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            #expect(try #require(IPAddress(text)).isLoopback)
        }
        for text in ["0.0.0.0", "::", "10.0.0.127", "fe80::1", "128.0.0.1"] {
            #expect(try !#require(IPAddress(text)).isLoopback)
        }
    }
}
