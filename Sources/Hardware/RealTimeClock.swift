// The clocks that go on without power. A Pi 5 has one, with a battery that it can charge; a Pi 4
// learns the time from the network, unless a board with a clock sits on it.

import Prometheus

/// `kinglet_machine_rtc_info` and, on a Pi 5, the voltage that charges the battery.
struct RealTimeClock: Reading {
    static let name = "rtc"
    static let families = [
        FamilyDescription(
            name: "kinglet_machine_rtc_info", kind: .info,
            help: "A real-time clock and its driver."),
        FamilyDescription(
            name: "rpi_rtc_charging_volts", kind: .gauge,
            help: "Voltage to which the clock's battery is charged; 0 is off."),
        FamilyDescription(
            name: "rpi_rtc_charging_max_volts", kind: .gauge,
            help: "Highest voltage to which the clock's battery can be charged."),
    ]
    let period = Duration.seconds(60)

    private static let limit = 8
    /// In microvolts.
    private static let plausible: ClosedRange<Int64> = 0...20_000_000

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        let directory = "\(machine.roots.sys)/class/rtc"
        let clocks = try SystemFile.entries(directory, prefix: "rtc")
            .filter { UInt16($0.dropFirst(3)) != nil }.prefix(Self.limit)
        var parts = IndependentParts()
        for clock in clocks {
            parts.attempt { () throws(ReadingError) in
                guard let name = try SystemFile.text("\(directory)/\(clock)/name") else { return }
                samples.append(
                    Sample(
                        "kinglet_machine_rtc_info",
                        labels: [("device", clock), ("name", name.printable(80))], value: 1)
                )
            }
        }
        parts.attempt { () throws(ReadingError) in
            guard try machine.raspberryPiModel() != nil else { return }
            for (family, file) in [
                ("rpi_rtc_charging_volts", "charging_voltage"),
                ("rpi_rtc_charging_max_volts", "charging_voltage_max"),
            ] {
                // Only the clock inside the Pi can charge; there is one at most.
                for clock in clocks {
                    let path = "\(directory)/\(clock)/\(file)"
                    guard let value = try SystemFile.integer(path, in: Self.plausible) else {
                        continue
                    }
                    samples.append(Sample(family, value: Double(value) / 1_000_000))
                    break
                }
            }
        }
        try parts.finish()
    }
}
