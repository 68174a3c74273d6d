// What a UPS tells: NUT's variables and flags, and the metrics that they become.

import Prometheus

extension UPS {
    /// A flag of `ups.status`.
    struct Flag: Sendable {
        let word: String
        let family: String
    }

    /// A variable that is a number.
    struct Quantity: Sendable {
        /// The first of these that is there.
        let variables: [String]
        let family: String
        /// What the value may be, in NUT's unit.
        let bounds: ClosedRange<Double>
        /// From NUT's unit to the base unit. A division, which leaves 17.5 % at 0.175.
        var divisor = 1.0
    }

    private static let prefix = "kinglet_machine_ups_"

    static let flags = [
        Flag(word: "LB", family: "\(prefix)low_battery"),
        Flag(word: "RB", family: "\(prefix)replace_battery"),
        Flag(word: "OVER", family: "\(prefix)overloaded"),
    ]

    static let quantities = [
        Quantity(
            variables: ["battery.charge"], family: "\(prefix)charge_ratio", bounds: 0...100,
            divisor: 100),
        Quantity(
            variables: ["battery.runtime"], family: "\(prefix)runtime_seconds",
            bounds: 0...10_000_000),
        Quantity(
            variables: ["ups.load"], family: "\(prefix)load_ratio", bounds: 0...1000, divisor: 100),
        Quantity(variables: ["input.voltage"], family: "\(prefix)input_volts", bounds: 0...1000),
        Quantity(
            variables: ["battery.voltage"], family: "\(prefix)battery_volts", bounds: 0...1000),
        Quantity(
            variables: ["ups.temperature", "battery.temperature"],
            family: "\(prefix)temperature_celsius", bounds: -60...200),
    ]

    static let families =
        [
            gauge("up", "Whether the UPS answers its driver."),
            gauge("on_battery", "Whether the UPS runs on its battery."),
            gauge("low_battery", "Whether the battery is nearly empty."),
            gauge("replace_battery", "Whether the UPS wants a new battery."),
            gauge("overloaded", "Whether more is connected than the UPS can supply."),
            gauge("charge_ratio", "Charge of the battery, 0 to 1."),
            gauge("runtime_seconds", "Time that the battery lasts at this load."),
            gauge("load_ratio", "Load by what the UPS can supply; above 1 it is too much."),
            gauge("input_volts", "Voltage of the mains."),
            gauge("battery_volts", "Voltage of the battery."),
            gauge("temperature_celsius", "Temperature of the UPS or its battery."),
        ] + [
            FamilyDescription(
                name: "\(prefix)info", kind: .info, help: "Manufacturer and model of the UPS.")
        ]

    private static func gauge(_ name: String, _ help: String) -> FamilyDescription {
        FamilyDescription(name: prefix + name, kind: .gauge, help: help)
    }
}

/// The variables of one UPS; none when its driver has no current ones.
struct UPSVariables {
    var name: String
    var values: [String: String]

    /// Appends what is there. A value that is none is a failure of its own.
    func append(to samples: inout [Sample], _ parts: inout IndependentParts) {
        let label = [("ups", name)]
        func add(_ family: String, _ value: Double) {
            samples.append(Sample(family, labels: label, value: value))
        }
        add("kinglet_machine_ups_up", values.isEmpty ? 0 : 1)
        let status = Set((values["ups.status"] ?? "").split(separator: " ").map(String.init))
        // Neither of the two while its output is off or its driver only starts.
        if status.contains("OB") || status.contains("OL") {
            add("kinglet_machine_ups_on_battery", status.contains("OB") ? 1 : 0)
            for flag in UPS.flags { add(flag.family, status.contains(flag.word) ? 1 : 0) }
        }
        for quantity in UPS.quantities {
            guard let text = quantity.variables.compactMap({ values[$0] }).first else { continue }
            if let value = NUTWords.number(text), quantity.bounds.contains(value) {
                add(quantity.family, value / quantity.divisor)
            } else {
                parts.attempt { () throws(ReadingError) in
                    throw ReadingError(
                        .malformed, subject: "\(name) \(quantity.variables[0])",
                        message: "\(SystemFile.quoted(text.printable(40))) cannot be",
                        advice: "compare with 'upsc \(name)'; the driver may not fit this UPS")
                }
            }
        }
        var labels = label
        for (key, variable) in [("manufacturer", "mfr"), ("model", "model")] {
            if let text = values["device.\(variable)"] ?? values["ups.\(variable)"] {
                labels.append((key, text.printable(64)))
            }
        }
        if labels.count > 1 {
            samples.append(Sample("kinglet_machine_ups_info", labels: labels, value: 1))
        }
    }
}
