// Mains adapters and batteries that a kernel driver knows: laptops, and HATs with a fuel gauge.

import Prometheus

/// `kinglet_machine_power_supply_online` and its companions.
struct PowerSupplies: Reading {
    static let name = "power_supply"
    static let families = [
        FamilyDescription(
            name: "kinglet_machine_power_supply_online", kind: .gauge,
            help: "Whether this adapter supplies power."),
        FamilyDescription(
            name: "kinglet_machine_power_supply_charge_ratio", kind: .gauge,
            help: "Charge of the battery, 0 to 1."),
        FamilyDescription(
            name: "kinglet_machine_power_supply_discharging", kind: .gauge,
            help: "Whether the machine runs on this battery."),
        FamilyDescription(
            name: "kinglet_machine_power_supply_voltage_volts", kind: .gauge,
            help: "Voltage of the supply."),
        FamilyDescription(
            name: "kinglet_machine_power_supply_current_amperes", kind: .gauge,
            help: "Current of the supply; its sign is the driver's."),
    ]
    let period = Duration.seconds(15)

    /// The most supplies that are shown.
    static let supplyLimit = 8
    private static let statuses: Set<String> = [
        "Charging", "Discharging", "Not charging", "Full",
    ]

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        let folder = "\(machine.roots.sys)/class/power_supply"
        var parts = IndependentParts()
        var shown = 0
        for name in try SystemFile.entries(folder, prefix: "")
        where !name.hasPrefix(".") && shown < Self.supplyLimit {
            var found: [Sample] = []
            parts.attempt { () throws(ReadingError) in
                try read("\(folder)/\(name)", labels: [("supply", name.printable(32))], &found)
            }
            if !found.isEmpty { shown += 1 }
            samples += found
        }
        try parts.finish()
    }

    private func read(
        _ path: String, labels: [(String, String)], _ samples: inout [Sample]
    ) throws(ReadingError) {
        // A mouse or a keyboard; and a battery that was taken out.
        guard try SystemFile.text("\(path)/scope") != "Device",
            try SystemFile.integer("\(path)/present") != 0
        else { return }
        func add(_ family: Int, _ value: Double) {
            samples.append(Sample(Self.families[family].name, labels: labels, value: value))
        }
        var parts = IndependentParts()
        parts.attempt { () throws(ReadingError) in
            // 2: online at a voltage that was agreed upon.
            if let online = try SystemFile.integer("\(path)/online", in: 0...2) {
                add(0, online > 0 ? 1 : 0)
            }
        }
        parts.attempt { () throws(ReadingError) in
            if let charge = try SystemFile.integer("\(path)/capacity", in: 0...100) {
                add(1, Double(charge) / 100)
            }
        }
        parts.attempt { () throws(ReadingError) in
            guard let status = try SystemFile.text("\(path)/status"), status != "Unknown" else {
                return
            }
            guard Self.statuses.contains(status) else {
                throw .unknownForm("\(path)/status", "unknown status \(SystemFile.quoted(status))")
            }
            add(2, status == "Discharging" ? 1 : 0)
        }
        parts.attempt { () throws(ReadingError) in
            let bounds: ClosedRange<Int64> = 0...1_000_000_000
            if let voltage = try SystemFile.integer("\(path)/voltage_now", in: bounds) {
                add(3, Double(voltage) / 1_000_000)
            }
        }
        parts.attempt { () throws(ReadingError) in
            let bounds: ClosedRange<Int64> = -100_000_000...100_000_000
            if let current = try SystemFile.integer("\(path)/current_now", in: bounds) {
                add(4, Double(current) / 1_000_000)
            }
        }
        try parts.finish()
    }
}
