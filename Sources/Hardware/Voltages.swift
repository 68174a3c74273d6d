// Voltages that the firmware sets or measures. A Pi 5 has a power chip that measures voltage and
// current of its rails, its supply and the clock's battery; the kernel shows none of it.

import Prometheus

/// `rpi_voltage_volts` and, on a Pi 5, currents, power and the battery.
struct Voltages: Reading {
    static let name = "voltage"
    static let families = [
        FamilyDescription(
            name: "rpi_voltage_volts", kind: .gauge,
            help: "Voltage by rail; ext5v is the supply of a Raspberry Pi 5."),
        FamilyDescription(
            name: "rpi_current_amperes", kind: .gauge, help: "Current by rail of the power chip."),
        FamilyDescription(
            name: "rpi_power_watts", kind: .gauge,
            help: "Power of all rails of the power chip; without what USB devices draw."),
        FamilyDescription(
            name: "rpi_rtc_battery_volts", kind: .gauge,
            help: "Voltage of the clock's battery; near 0 without one."),
    ]
    let period = Duration.seconds(15)

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        guard try machine.raspberryPiModel() != nil else { return }
        var parts = IndependentParts()
        for rail in FirmwareRail.allCases {
            parts.attempt { () throws(ReadingError) in
                guard let value = try machine.mailbox.answer(to: Self.question(rail)) else {
                    return
                }
                samples.append(
                    Sample("rpi_voltage_volts", labels: [("rail", rail.rawValue)], value: value))
            }
        }
        parts.attempt { () throws(ReadingError) in
            // One command for all rails, where there is the chip.
            guard try machine.raspberryPiProcessor() == .bcm2712,
                let chip = try machine.mailbox.answer(
                    to: .readPowerChip, read: PowerChipRails.init(_:))
            else { return }
            samples += chip.samples
        }
        try parts.finish()
    }

    static func question(_ rail: FirmwareRail) -> FirmwareQuestion<Double> {
        FirmwareQuestion(
            command: .measureVoltage(rail),
            parseText: { text in
                Plausible.number(text, after: "volt=", before: "V", in: Plausible.volts)
            },
            parseWords: { words in
                Plausible.number(
                    words, of: rail.identifier, dividedBy: 1_000_000, in: Plausible.volts)
            })
    }
}

/// What the power chip of a Pi 5 measured, from lines such as ` VDD_CORE_A current(7)=0.77083000A`
/// and ` VDD_CORE_V volt(15)=0.72069340V`.
struct PowerChipRails {
    /// The battery of the clock has a line like the rails, but is none.
    private static let battery = "batt"
    /// The chip has 12 rails and the supply.
    private static let limit = 24

    private var volts: [(rail: String, value: Double)] = []
    private var amperes: [(rail: String, value: Double)] = []

    /// Nil when a line is of another form: the sum of the other rails would be no sum.
    init?(_ text: String) {
        for line in text.split(separator: "\n") {
            let words = line.split { $0 == " " || $0 == "\t" || $0 == "\r" }
            if words.isEmpty { continue }
            guard words.count == 2, let equals = words[1].firstIndex(of: "="),
                let rail = Self.rail(words[0].dropLast(2))
            else { return nil }
            let number = words[1][words[1].index(after: equals)...]
            if words[0].hasSuffix("_V"), words[1].hasPrefix("volt("),
                let value = Plausible.number(number, after: "", before: "V", in: Plausible.volts)
            {
                volts.append((rail, value))
            } else if words[0].hasSuffix("_A"), words[1].hasPrefix("current("),
                let value = Plausible.number(number, after: "", before: "A", in: Plausible.amperes)
            {
                amperes.append((rail, value))
            } else {
                return nil
            }
        }
        for measured in [volts, amperes] {
            let names = Set(measured.map(\.rail))
            guard names.count == measured.count, names.count <= Self.limit else { return nil }
        }
        if volts.isEmpty { return nil }
    }

    /// A rail's name in the chip's own words, as a label value.
    private static func rail(_ name: Substring) -> String? {
        let isName = name.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || $0 == 0x5F
        }
        let rail = name.lowercased()
        let isTaken = FirmwareRail(rawValue: rail) != nil
        return isName && !name.isEmpty && name.utf8.count <= 16 && !isTaken ? rail : nil
    }

    /// Current times voltage of the rails that have both, in watts; nil when none has.
    var power: Double? {
        let voltages = Dictionary(volts.map { ($0.rail, $0.value) }, uniquingKeysWith: { $1 })
        let watts = amperes.compactMap { current in
            voltages[current.rail].map { $0 * current.value }
        }
        return watts.isEmpty ? nil : watts.reduce(0, +)
    }

    var samples: [Sample] {
        var samples = volts.filter { $0.rail != Self.battery }.map {
            Sample("rpi_voltage_volts", labels: [("rail", $0.rail)], value: $0.value)
        }
        samples += amperes.map {
            Sample("rpi_current_amperes", labels: [("rail", $0.rail)], value: $0.value)
        }
        if let power { samples.append(Sample("rpi_power_watts", value: power)) }
        if let battery = volts.first(where: { $0.rail == Self.battery }) {
            samples.append(Sample("rpi_rtc_battery_volts", value: battery.value))
        }
        return samples
    }
}
