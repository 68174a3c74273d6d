// The fan, and how hard the kernel cools. A tachometer of 0 is no failure: fans stop when it is cool,
// and those of a Pi 5 are known to report 0 while they turn.

import Prometheus

/// `rpi_fan_…` and `rpi_cooling_…`.
struct Fan: Reading {
    static let name = "fan"
    static let families = [
        FamilyDescription(
            name: "rpi_fan_speed_rpm", kind: .gauge, help: "Revolutions of the fan per minute."),
        FamilyDescription(
            name: "rpi_fan_duty_ratio", kind: .gauge, help: "Power given to the fan, 0 to 1."),
        FamilyDescription(
            name: "rpi_cooling_state", kind: .gauge,
            help: "How hard the device cools now; 0 is not at all."),
        FamilyDescription(
            name: "rpi_cooling_max_state", kind: .gauge, help: "How hard the device can cool."),
    ]
    let period = Duration.seconds(15)

    /// The official fans of the Pi 5 and the PoE boards, and a fan that is only switched.
    private static let drivers: Set<String> = ["pwmfan", "rpipoefan", "gpio_fan"]
    private static let limit = 16

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        guard try machine.raspberryPiModel() != nil else { return }
        var parts = IndependentParts()
        var fan: String?
        parts.attempt { () throws(ReadingError) in
            fan = try machine.roots.hwmon(Self.drivers)
        }
        if let fan {
            parts.attempt { () throws(ReadingError) in
                guard let speed = try SystemFile.integer("\(fan)/fan1_input", in: 0...100_000)
                else { return }
                samples.append(Sample("rpi_fan_speed_rpm", value: Double(speed)))
            }
            parts.attempt { () throws(ReadingError) in
                guard let duty = try SystemFile.integer("\(fan)/pwm1", in: 0...255) else { return }
                samples.append(Sample("rpi_fan_duty_ratio", value: Double(duty) / 255))
            }
        }
        var devices: [(path: String, labels: [(String, String)])] = []
        parts.attempt { () throws(ReadingError) in devices = try coolingDevices(machine.roots) }
        for (family, file) in [
            ("rpi_cooling_state", "cur_state"), ("rpi_cooling_max_state", "max_state"),
        ] {
            for device in devices {
                parts.attempt { () throws(ReadingError) in
                    let path = "\(device.path)/\(file)"
                    guard let state = try SystemFile.integer(path, in: 0...1000) else { return }
                    samples.append(Sample(family, labels: device.labels, value: Double(state)))
                }
            }
        }
        try parts.finish()
    }

    /// The kernel's cooling devices by their numbers: fans, and the CPUs' frequency.
    private func coolingDevices(
        _ roots: HardwareRoots
    ) throws(ReadingError) -> [(path: String, labels: [(String, String)])] {
        let directory = "\(roots.sys)/class/thermal"
        let prefix = "cooling_device"
        let numbers = try SystemFile.entries(directory, prefix: prefix)
            .compactMap { UInt16($0.dropFirst(prefix.count)) }.sorted().prefix(Self.limit)
        var devices: [(path: String, labels: [(String, String)])] = []
        for number in numbers {
            let path = "\(directory)/\(prefix)\(number)"
            guard let type = try SystemFile.text("\(path)/type") else { continue }
            // The kernel keeps 20 characters of it.
            devices.append(
                (path, [("device", String(number)), ("type", type.printable(80))]))
        }
        return devices
    }
}
