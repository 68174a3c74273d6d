// What the boot loader of a Pi 5 says of its supply.

import Prometheus
import Testing

@testable import Hardware

@Suite("Power negotiation")
struct PowerNegotiationTests {
    private let tree = piTree()

    private func property(_ name: String, _ bytes: String) {
        tree.write("proc/device-tree/chosen/power/\(name)", bytes)
    }

    @Test("Words are big-endian, currents are in milliamperes")
    func supply() {
        property("max_current", "\0\0\u{0B}8")
        property("usb_max_current_enable", "\0\0\0\0")
        property("usb_over_current_detected", "\0\0\0\u{1}")
        property("power_reset", "\0\0\u{4}\u{2}")
        let result = read(PowerNegotiation(), tree)
        #expect(result.failure == nil)
        // 0x0b38 is 2872 milliamperes.
        #expect(result.samples.value("rpi_supply_max_current_amperes") == 2.872)
        #expect(result.samples.value("rpi_usb_max_current_enabled") == 0)
        #expect(result.samples.value("rpi_usb_over_current_detected") == 1)
        #expect(result.samples.value("rpi_power_reset_info", "0x402") == 1)
    }

    @Test(
        "Another size, or a value that cannot be, is a failure that leaves the others",
        arguments: ["", "\0\0\u{13}", "\0\0\u{13}\u{1}\0", "\u{7F}\0\0\0"])
    func garbage(_ bytes: String) {
        property("max_current", bytes)
        property("usb_max_current_enable", "\0\0\0\u{1}")
        let result = read(PowerNegotiation(), tree)
        #expect(result.samples == [Sample("rpi_usb_max_current_enabled", value: 1)])
        #expect(result.failure?.code == .malformed)
    }

    @Test("A flag is 0 or 1")
    func flag() {
        property("usb_max_current_enable", "\0\0\0\u{2}")
        #expect(read(PowerNegotiation(), tree).failure?.code == .malformed)
    }

    @Test("A model whose boot loader says nothing shows nothing")
    func absent() {
        #expect(read(PowerNegotiation(), tree).samples.isEmpty)
        #expect(read(PowerNegotiation(), tree).failure == nil)
    }
}
