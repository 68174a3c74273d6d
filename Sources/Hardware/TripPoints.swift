// At which temperatures something happens: the trip points of the kernel's thermal zone (the fan's
// steps, slowing down, the emergency stop) and the highest temperature that the firmware allows.

import Prometheus

/// `rpi_temperature_trip_celsius` and `rpi_temperature_max_celsius`.
struct TripPoints: Reading {
    static let name = "trip_points"
    static let families = [
        FamilyDescription(
            name: "rpi_temperature_trip_celsius", kind: .gauge,
            help: "Temperature at which the kernel cools, slows down or stops the machine."),
        FamilyDescription(
            name: "rpi_temperature_max_celsius", kind: .gauge,
            help: "Temperature that the firmware holds by throttling."),
    ]
    let period = Duration.seconds(600)

    private static let types: Set<String> = ["critical", "hot", "passive", "active"]
    /// The kernel's `THERMAL_TEMP_INVALID`: a trip point that is switched off.
    private static let switchedOff: Int64 = -274_000
    /// The kernel's own limit was 12 for long.
    private static let limit = 16

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        guard try machine.raspberryPiModel() != nil else { return }
        var parts = IndependentParts()
        parts.attempt { () throws(ReadingError) in
            guard let zone = try machine.roots.socThermalZone() else { return }
            for number in 0..<Self.limit {
                guard let sample = try tripPoint(number, of: zone) else { continue }
                samples.append(sample)
            }
        }
        parts.attempt { () throws(ReadingError) in
            let maximum = try machine.mailbox.answer(to: .maximumTemperature) { words in
                Plausible.number(words, of: 0, dividedBy: 1000, in: Plausible.temperature)
            }
            guard let maximum else { return }
            samples.append(Sample("rpi_temperature_max_celsius", value: maximum))
        }
        try parts.finish()
    }

    private func tripPoint(_ number: Int, of zone: String) throws(ReadingError) -> Sample? {
        let path = "\(zone)/trip_point_\(number)"
        guard let type = try SystemFile.text("\(path)_type"),
            let value = try SystemFile.integer("\(path)_temp"), value != Self.switchedOff
        else { return nil }
        guard Self.types.contains(type), Plausible.millidegrees.contains(value) else {
            throw .unknownForm(path, "\(value) of type \(SystemFile.quoted(type)) is no trip point")
        }
        return Sample(
            "rpi_temperature_trip_celsius", labels: [("trip", String(number)), ("type", type)],
            value: Double(value) / 1000)
    }
}
