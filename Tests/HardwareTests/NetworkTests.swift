// Network interfaces: which are shown, their traffic, link, and Wi-Fi.

import Testing

@testable import Hardware

@Suite("Network")
struct NetworkTests {
    private let tree = ScratchTree()

    private func interface(
        _ name: String, state: String? = nil, speed: String? = nil, carrier: String? = nil
    ) {
        let folder = "sys/class/net/\(name)"
        tree.write("\(folder)/device/uevent", "DRIVER=bcmgenet\n")
        if let state { tree.write("\(folder)/operstate", "\(state)\n") }
        if let speed { tree.write("\(folder)/speed", "\(speed)\n") }
        if let carrier { tree.write("\(folder)/carrier", "\(carrier)\n") }
    }

    private func traffic(_ lines: String...) {
        let header = "Inter-|   Receive  |  Transmit\n face |bytes    packets\n"
        tree.write("proc/net/dev", header + lines.map { "\($0)\n" }.joined())
    }

    private func wireless(_ line: String) {
        tree.write("proc/net/wireless", "Inter-| sta-|   Quality\n face | tus | link\n\(line)\n")
    }

    @Test("Of an interface's line, bytes, errors and drops in both directions are shown")
    func counters() {
        interface("eth0")
        traffic("  eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", "eth01: 1 1 1 1 1 1 1 1 1 1 1 1")
        let result = tree.read(once: Network())
        #expect(
            result.lines == [
                "network_received_bytes_total eth0 1.0", "network_receive_errors_total eth0 3.0",
                "network_receive_dropped_total eth0 4.0",
                "network_transmitted_bytes_total eth0 9.0",
                "network_transmit_errors_total eth0 11.0",
                "network_transmit_dropped_total eth0 12.0",
            ])
        #expect(result.failure == nil)
    }

    @Test("What has no device is not hardware: bridges, VLANs, the loopback, files beside them")
    func hardwareOnly() {
        for name in ["lo", "docker0", "eth0.5"] {
            tree.write("sys/class/net/\(name)/operstate", "up\n")
        }
        tree.write("sys/class/net/bonding_masters", "bond0\n")
        traffic("lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16")
        interface("wlan0", state: "dormant")
        #expect(tree.read(once: Network()).lines == ["network_up wlan0 0.0"])
    }

    @Test("At most 16 interfaces are shown, and none whose name is no printable ASCII")
    func names() {
        interface("e\u{e9}0", state: "up")
        interface("e\u{7}", state: "up")
        for number in 0..<20 { interface("eth\(number)", state: "up") }
        #expect(tree.read(once: Network()).lines.count == 16)
        #expect(tree.read(once: Network()).failure == nil)
    }

    @Test(
        "A link is up by its state; where the driver keeps none, by its carrier",
        arguments: [
            ("up", nil, 1), ("down", "1", 0), ("dormant", "1", 0), ("lowerlayerdown", nil, 0),
            ("unknown", "1", 1), ("unknown", "0", 0), ("unknown", nil, 0),
        ])
    func state(_ state: String, _ carrier: String?, _ value: Int) {
        interface("usb0", state: state, carrier: carrier)
        let result = tree.read(once: Network())
        #expect(result.lines == ["network_up usb0 \(value).0"])
        #expect(result.failure == nil)
    }

    @Test("Speed is in bytes per second, and of links that are up only")
    func speed() {
        interface("eth0", state: "up", speed: "1000")
        interface("eth1", state: "down", speed: "1000")
        let result = tree.read(once: Network())
        #expect(
            result.lines == [
                "network_up eth0 1.0", "network_speed_bytes_per_second eth0 125000000.0",
                "network_up eth1 0.0",
            ])
    }

    @Test("An unknown speed is absent", arguments: ["-1", "4294967295", "0"])
    func unknownSpeed(_ speed: String) {
        interface("eth0", state: "up", speed: speed)
        let result = tree.read(once: Network())
        #expect(result.lines == ["network_up eth0 1.0"])
        #expect(result.failure == nil)
    }

    @Test(
        "A speed that no interface has is malformed",
        arguments: ["-2", "10000001", "fast", "", "9223372036854775808"])
    func brokenSpeed(_ speed: String) {
        interface("eth0", state: "up", speed: speed)
        let result = tree.read(once: Network())
        #expect(result.lines == ["network_up eth0 1.0"])
        #expect(result.failure?.code == .malformed)
    }

    @Test("An interface that vanished since it was listed is absent")
    func vanished() {
        interface("eth1")
        traffic("eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16")
        wireless(" wlan0: 0000   58.  -52.  -256  0 0 0 0 0 0")
        let result = tree.read(once: Network())
        #expect(result.lines.isEmpty)
        #expect(result.failure == nil)
    }

    @Test(
        "A broken line of traffic is a failure that leaves the other interfaces",
        arguments: [
            "", "x", "-1 0 0 0", "18446744073709551616 0 0 0 0 0 0 0 0 0 0 0", "\u{0}\u{ff}",
        ])
    func brokenTraffic(_ numbers: String) {
        interface("eth0", state: "sideways")
        interface("eth1", state: "up")
        traffic("eth0: \(numbers)", "eth1: 1 2 3 4 18446744073709551615 6 7 8 9 10 11 12")
        let result = tree.read(once: Network())
        #expect(result.lines.filter { $0.contains("eth1") }.count == 7)
        #expect(!result.lines.contains { $0.contains("network_up eth0") })
        #expect(result.failure?.code == .malformed)
        #expect(result.failure?.subject.hasSuffix("/proc/net/dev") == true)
    }

    @Test("Of a state that is none, the counter beside it is still shown")
    func brokenState() {
        interface("eth0", state: "sideways")
        tree.write("sys/class/net/eth0/carrier_changes", "3\n")
        let result = tree.read(once: Network())
        #expect(result.lines == ["network_carrier_changes_total eth0 3.0"])
        #expect(result.failure?.code == .malformed)
    }

    @Test("Signal is in dBm, quality a share of 70")
    func signal() {
        interface("wlan0")
        wireless(" wlan0: 0000   35.  -75.  -256        0      0      0      0      0        0")
        let result = tree.read(once: Network())
        #expect(
            result.lines == ["wireless_signal_dbm wlan0 -75.0", "wireless_quality_ratio wlan0 0.5"])
        #expect(result.failure == nil)
    }

    @Test("A quality on a scale that is not known is left out, and nothing has failed")
    func unknownQuality() {
        interface("wlan0")
        wireless("wlan0: 0000   71.  -50.  -256")
        let result = tree.read(once: Network())
        #expect(result.lines == ["wireless_signal_dbm wlan0 -50.0"])
        #expect(result.failure == nil)
    }

    @Test(
        "A driver that is not connected, or measures on a scale of its own, has no signal",
        arguments: ["0000    0  -256  -256", "0000   0.  0.  0.", "0000  80.  80.  0."])
    func noSignal(_ measures: String) {
        interface("wlan0")
        wireless("wlan0: \(measures)")
        let result = tree.read(once: Network())
        #expect(result.lines.isEmpty)
        #expect(result.failure == nil)
    }

    @Test(
        "A line about Wi-Fi of another form is malformed",
        arguments: ["", "0000", "0000 x -50.", "0000 50. --5", "0000 50. -50000"])
    func brokenSignal(_ measures: String) {
        interface("wlan0")
        wireless("wlan0: \(measures)")
        let result = tree.read(once: Network())
        #expect(!result.lines.contains { $0.contains("quality") })
        #expect(result.failure?.code == .malformed)
    }

    @Test("Without interfaces nothing is asked; what cannot be read is a failure")
    func sources() {
        tree.write("proc/net/dev/folder", "")
        #expect(tree.read(once: Network()).failure == nil)
        interface("eth0", state: "up")
        let result = tree.read(once: Network())
        #expect(result.lines == ["network_up eth0 1.0"])
        #expect(result.failure?.code == .inputOutput)
    }
}
