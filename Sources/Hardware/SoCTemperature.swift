// Temperature of the SoC, twice: the kernel's thermal zone, which also steers the fan and the
// cpufreq cooling, and the firmware's own measure, which is what throttling goes by. The kernel's
// value can lag. Beside it, the power chip (Pi 4 and later) and the I/O chip of a Pi 5.

import Prometheus

/// `rpi_temperature_celsius`.
struct SoCTemperature: Reading {
    static let name = "temperature"
    static let families = [
        FamilyDescription(
            name: "rpi_temperature_celsius", kind: .gauge,
            help: "Temperature by sensor: soc is the kernel's thermal zone, soc_firmware the "
                + "firmware's measure.")
    ]
    let period = Duration.seconds(10)

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        guard try machine.raspberryPiModel() != nil else { return }
        var parts = IndependentParts()
        parts.attempt { () throws(ReadingError) in
            let zone = try machine.roots.socThermalZone()
            if let value = try kernelValue(zone, "temp") { samples.append(sample("soc", value)) }
        }
        parts.attempt { () throws(ReadingError) in
            guard let value = try machine.mailbox.answer(to: Self.question) else { return }
            samples.append(sample("soc_firmware", value))
        }
        parts.attempt { () throws(ReadingError) in
            // Older boards have no such sensor and answer with the SoC's temperature.
            guard try machine.raspberryPiProcessor() != nil,
                let value = try machine.mailbox.answer(
                    to: .measurePowerChipTemperature, read: Self.celsius)
            else { return }
            samples.append(sample("pmic", value))
        }
        parts.attempt { () throws(ReadingError) in
            let device = try machine.roots.hwmon(["rp1_adc"])
            if let value = try kernelValue(device, "temp1_input") {
                samples.append(sample("rp1", value))
            }
        }
        try parts.finish()
    }

    static let question = FirmwareQuestion<Double>(
        command: .measureTemperature, parseText: celsius,
        parseWords: { Plausible.number($0, of: 0, dividedBy: 1000, in: Plausible.temperature) })

    @Sendable private static func celsius(_ text: String) -> Double? {
        Plausible.number(text, after: "temp=", before: "'C", in: Plausible.temperature)
    }

    private func kernelValue(_ directory: String?, _ file: String) throws(ReadingError) -> Double? {
        guard let directory else { return nil }
        return try SystemFile.integer("\(directory)/\(file)", in: Plausible.millidegrees)
            .map { Double($0) / 1000 }
    }

    private func sample(_ sensor: String, _ value: Double) -> Sample {
        Sample("rpi_temperature_celsius", labels: [("sensor", sensor)], value: value)
    }
}
