// Temperature of the SoC, twice: the kernel's thermal zone, which also steers the fan and the
// cpufreq cooling, and the firmware's own measure, which is what throttling goes by. The kernel's
// value can lag.

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
    let period = Duration.seconds(5)

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        guard try machine.raspberryPiModel() != nil else { return }
        var parts = IndependentParts()
        parts.attempt { () throws(ReadingError) in
            guard let value = try thermalZone(machine.roots) else { return }
            samples.append(sample("soc", value))
        }
        parts.attempt { () throws(ReadingError) in
            guard let value = try machine.mailbox.answer(to: Self.question) else { return }
            samples.append(sample("soc_firmware", value))
        }
        try parts.finish()
    }

    static let question = FirmwareQuestion<Double>(
        command: .measureTemperature, property: .temperature,
        parseText: { text in
            guard text.hasPrefix("temp="), text.hasSuffix("'C") else { return nil }
            return Double(text.dropFirst(5).dropLast(2)).flatMap { $0.isFinite ? $0 : nil }
        },
        parseWords: { words in
            guard words.count == 2 else { return nil }
            return Double(Int32(bitPattern: words[1])) / 1000
        })

    /// The thermal zone of type `cpu-thermal`, in degrees Celsius.
    private func thermalZone(_ roots: HardwareRoots) throws(ReadingError) -> Double? {
        let directory = "\(roots.sys)/class/thermal"
        for zone in try SystemFile.entries(directory, prefix: "thermal_zone")
        where try SystemFile.text("\(directory)/\(zone)/type") == "cpu-thermal" {
            return try SystemFile.integer("\(directory)/\(zone)/temp").map { Double($0) / 1000 }
        }
        return nil
    }

    private func sample(_ sensor: String, _ value: Double) -> Sample {
        Sample("rpi_temperature_celsius", labels: [("sensor", sensor)], value: value)
    }
}
