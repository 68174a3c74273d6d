import Testing

@testable import DNS

@Suite("Where an address is")
struct ResolvedAddressTests {
    @Test(
        "Every kind of address is known, at the ends of its range",
        arguments: [
            ("0.0.0.0", .other), ("0.255.255.255", .other), ("1.0.0.0", .global),
            ("9.255.255.255", .global), ("10.0.0.0", .privateNetwork),
            ("10.255.255.255", .privateNetwork), ("11.0.0.0", .global),
            ("100.63.255.255", .global), ("100.64.0.0", .privateNetwork),
            ("100.127.255.255", .privateNetwork), ("100.128.0.0", .global),
            ("126.255.255.255", .global), ("127.0.0.0", .loopback), ("127.255.255.255", .loopback),
            ("128.0.0.0", .global), ("169.253.255.255", .global), ("169.254.169.254", .linkLocal),
            ("172.15.255.255", .global), ("172.16.0.0", .privateNetwork),
            ("172.31.255.255", .privateNetwork), ("172.32.0.0", .global), ("192.0.0.170", .other),
            ("192.0.1.0", .global), ("192.167.255.255", .global), ("192.168.0.0", .privateNetwork),
            ("192.168.255.255", .privateNetwork), ("192.169.0.0", .global),
            ("198.18.0.0", .privateNetwork), ("198.20.0.0", .global),
            ("223.255.255.255", .global), ("224.0.0.1", .other), ("239.255.255.255", .other),
            ("240.0.0.0", .other), ("255.255.255.255", .other),
            // For documentation.
            ("192.0.2.1", .global), ("198.51.100.1", .global), ("203.0.113.1", .global),
        ] as [(String, AddressReach)])
    func reach4(_ text: String, _ reach: AddressReach) throws {
        let address = try #require(ResolvedAddress(text))
        #expect(address.reach == reach)
        #expect(!address.isIPv6)
        #expect(address.text == text)
        // The same behind the prefixes that stand for IPv4 addresses.
        for prefix in [
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF],
            [0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0],
        ] as [[UInt8]] {
            #expect(ResolvedAddress(bytes: prefix + address.bytes)?.reach == reach)
        }
        let sixToFour = [0x20, 0x02] + address.bytes + [UInt8](repeating: 1, count: 10)
        #expect(ResolvedAddress(bytes: sixToFour)?.reach == reach)
    }

    @Test(
        "So it is with IPv6",
        arguments: [
            ("::", .other), ("::1", .loopback), ("::2", .other), ("::127.0.0.1", .other),
            ("100::1", .other), ("64:ff9b:1::a00:1", .privateNetwork), ("64:ff9b:2::1", .other),
            ("2001::1", .other), ("2001:db8::1", .global), ("2000::", .global),
            ("2606:4700::1", .global), ("3fff:ffff::1", .global), ("4000::1", .other),
            ("fbff::1", .other), ("fc00::1", .privateNetwork), ("fdff::1", .privateNetwork),
            ("fe00::1", .other), ("fe80::1", .linkLocal), ("febf::1", .linkLocal),
            ("fec0::1", .privateNetwork), ("ff02::1", .other),
        ] as [(String, AddressReach)])
    func reach6(_ text: String, _ reach: AddressReach) throws {
        let address = try #require(ResolvedAddress(text))
        #expect(address.reach == reach)
        #expect(address.isIPv6)
        #expect(address.text == text)
    }

    @Test("An address may have the brackets of a URL; anything else is none")
    func texts() {
        #expect(ResolvedAddress("[2001:DB8::1]")?.text == "2001:db8::1")
        #expect(ResolvedAddress("::ffff:192.0.2.1")?.reach == .global)
        for text in [
            "", "[]", "[192.0.2.1]", "192.0.2", "192.0.2.256", "1.2.3.4.5", "0x7f.1", "127.1",
            "fe80::1%eth0", "2001:db8::1::", "[2001:db8::1", "192.0.2.1\u{0}x", " 192.0.2.1",
            "2130706433",
        ] {
            #expect(ResolvedAddress(text) == nil, "\(text.debugDescription)")
        }
        for count in [0, 3, 5, 15, 17] {
            #expect(ResolvedAddress(bytes: [UInt8](repeating: 1, count: count)) == nil)
        }
    }
}
