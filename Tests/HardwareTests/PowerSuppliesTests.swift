// Adapters and batteries of the kernel's drivers.

import Prometheus
import Testing

@testable import Hardware

private func read(_ tree: ScratchTree) -> (samples: [Sample], failure: ReadingError?) {
    var samples: [Sample] = []
    do throws(ReadingError) {
        try PowerSupplies().read(Machine(roots: tree.roots), into: &samples)
        return (samples, nil)
    } catch {
        return (samples, error)
    }
}

private func supply(_ tree: ScratchTree, _ name: String, _ attributes: [String: String]) {
    for (attribute, value) in attributes {
        tree.write("sys/class/power_supply/\(name)/\(attribute)", value + "\n")
    }
}

private func sample(_ family: String, _ supply: String, _ value: Double) -> Sample {
    Sample("kinglet_machine_power_supply_\(family)", labels: [("supply", supply)], value: value)
}

@Suite("Power supplies")
struct PowerSuppliesTests {
    @Test("A machine without supplies shows none")
    func absent() {
        #expect(read(ScratchTree()).samples.isEmpty)
        #expect(read(ScratchTree()).failure == nil)
    }

    @Test("Micro-volts and micro-amperes become volts and amperes, a percentage a ratio")
    func units() {
        let tree = ScratchTree()
        supply(
            tree, "BAT0",
            [
                "type": "Battery", "present": "1", "status": "Discharging", "capacity": "79",
                "voltage_now": "12154000", "current_now": "-1250000",
            ])
        #expect(
            read(tree).samples == [
                sample("charge_ratio", "BAT0", 0.79), sample("discharging", "BAT0", 1),
                sample("voltage_volts", "BAT0", 12.154),
                sample("current_amperes", "BAT0", -1.25),
            ])
    }

    @Test("A programmable adapter is online, too; an unknown status says nothing")
    func onlineAndUnknown() {
        let tree = ScratchTree()
        supply(tree, "usb", ["type": "USB", "online": "2", "status": "Unknown"])
        #expect(read(tree).samples == [sample("online", "usb", 1)])
    }

    @Test("Batteries of mice and keyboards, and bays without a battery, are left out")
    func leftOut() {
        let tree = ScratchTree()
        supply(tree, "hidpp_battery_0", ["scope": "Device", "capacity": "50"])
        supply(tree, "BAT1", ["present": "0", "capacity": "0"])
        #expect(read(tree).samples.isEmpty)
        #expect(read(tree).failure == nil)
    }

    @Test(
        "A value that cannot be is a failure and hides no other",
        arguments: [
            ("online", "3"), ("online", "-1"), ("capacity", "101"), ("capacity", "full"),
            ("status", "Exploding"), ("voltage_now", "-5"), ("voltage_now", "99999999999999999999"),
            ("current_now", "-9000000000"), ("voltage_now", ""),
        ])
    func garbage(_ attribute: String, _ value: String) {
        let tree = ScratchTree()
        var attributes = [
            "online": "1", "capacity": "10", "status": "Full", "voltage_now": "5000000",
            "current_now": "1",
        ]
        attributes[attribute] = value
        supply(tree, "x", attributes)
        let result = read(tree)
        #expect(result.failure?.code == .malformed)
        #expect(result.samples.count == 4)
    }

    @Test("A broken supply does not hide the next one")
    func brokenSupply() {
        let tree = ScratchTree()
        supply(tree, "a", ["capacity": "x"])
        supply(tree, "b", ["capacity": "5"])
        #expect(read(tree).samples == [sample("charge_ratio", "b", 0.05)])
        #expect(read(tree).failure != nil)
    }

    @Test("There are never more than eight, with short printable names")
    func bounded() {
        let tree = ScratchTree()
        for number in 10..<30 { supply(tree, "\u{e9}\(number)", ["online": "0"]) }
        supply(tree, String(repeating: "a", count: 100), ["online": "0"])
        let labels = read(tree).samples.map { $0.labels[0].1 }
        #expect(labels.count == PowerSupplies.supplyLimit)
        #expect(labels.allSatisfy { $0.utf8.count <= 32 })
        #expect(labels.contains("?10"))
    }
}
