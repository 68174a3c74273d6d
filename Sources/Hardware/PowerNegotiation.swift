// What a Pi 5 agreed upon with its supply when it started, and why it started: the boot loader
// leaves it in the device tree.

import Prometheus

/// `rpi_supply_max_current_amperes` and its companions.
struct PowerNegotiation: Reading {
    static let name = "supply"
    static let families = [
        FamilyDescription(
            name: "rpi_supply_max_current_amperes", kind: .gauge,
            help: "Current that the supply says it can deliver."),
        FamilyDescription(
            name: "rpi_usb_max_current_enabled", kind: .gauge,
            help: "Whether USB devices may draw 1.6 A together, not 0.6 A."),
        FamilyDescription(
            name: "rpi_usb_over_current_detected", kind: .gauge,
            help: "Whether USB drew too much current before this boot."),
        FamilyDescription(
            name: "rpi_power_reset_info", kind: .info,
            help: "Events of the power chip that led to this boot."),
    ]
    /// Nothing of it changes before the next boot.
    let period = Duration.seconds(600)

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        guard try machine.raspberryPiModel() != nil else { return }
        var parts = IndependentParts()
        parts.attempt { () throws(ReadingError) in
            // In milliamperes.
            let path = "chosen/power/max_current"
            guard let current = try machine.deviceTreeWord(path, in: 0...50_000) else { return }
            samples.append(
                Sample("rpi_supply_max_current_amperes", value: Double(current) / 1000))
        }
        for (family, property) in [
            ("rpi_usb_max_current_enabled", "usb_max_current_enable"),
            ("rpi_usb_over_current_detected", "usb_over_current_detected"),
        ] {
            parts.attempt { () throws(ReadingError) in
                let path = "chosen/power/\(property)"
                guard let flag = try machine.deviceTreeWord(path, in: 0...1) else { return }
                samples.append(Sample(family, value: Double(flag)))
            }
        }
        parts.attempt { () throws(ReadingError) in
            guard let code = try machine.deviceTreeWord("chosen/power/power_reset") else { return }
            samples.append(
                Sample(
                    "rpi_power_reset_info", labels: [("code", "0x" + String(code, radix: 16))],
                    value: 1))
        }
        try parts.finish()
    }
}
