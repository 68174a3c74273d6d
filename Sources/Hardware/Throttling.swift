// Under-voltage and throttling, as the firmware reports them: four conditions, each now and since
// boot, in one word (bits 0 to 3 and 16 to 19).
//
// The kernel's attribute `get_throttled` under the firmware device is not used: it was deprecated,
// filled the kernel log with warnings, and is gone from current kernels. Where the mailbox does not
// answer, the hwmon device `rpi_volt` still tells of under-voltage; of the rest nothing is known
// then, and nothing is shown.

import Prometheus

/// `rpi_undervoltage_active`, `rpi_throttled_active` and their companions.
struct Throttling: Reading {
    static let name = "throttling"
    /// The rhythm of the kernel's own under-voltage driver. A dip between two reads or two scrapes is
    /// left to the history bits.
    let period = Duration.seconds(2)

    /// A condition, by its bit in the firmware's word; its history is 16 bits above.
    enum Condition: UInt32, CaseIterable {
        case undervoltage, frequencyCapped, throttled, softTemperatureLimit

        /// The value of label `kind`, and the middle of the metric's name.
        var kind: String {
            switch self {
            case .undervoltage: "undervoltage"
            case .frequencyCapped: "frequency_capped"
            case .throttled: "throttled"
            case .softTemperatureLimit: "soft_temperature_limit"
            }
        }

        var activeName: String { "rpi_\(kind)_active" }

        var help: String {
            switch self {
            case .undervoltage: "Whether the supply is below 4.63 V now."
            case .frequencyCapped: "Whether the firmware caps the CPU frequency now."
            case .throttled: "Whether the firmware throttles the SoC now."
            case .softTemperatureLimit: "Whether the soft temperature limit is active now."
            }
        }

        func isActive(in word: UInt32) -> Bool { word >> rawValue & 1 == 1 }
        func hasOccurred(in word: UInt32) -> Bool { word >> (rawValue + 16) & 1 == 1 }
    }

    static let families =
        Condition.allCases.map {
            FamilyDescription(name: $0.activeName, kind: .gauge, help: $0.help)
        }
        + [
            FamilyDescription(
                name: "rpi_throttled_history", kind: .gauge,
                help: "Whether the condition has occurred since boot, by the firmware's memory.")
        ]

    static let question = FirmwareQuestion<UInt32>(
        command: .getThrottled, property: .throttled,
        parseText: { text in
            text.hasPrefix("throttled=") ? UInt32(hexadecimal: text.dropFirst(10)) : nil
        },
        parseWords: { words in words.count == 1 ? words[0] : nil })

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        guard try machine.raspberryPiModel() != nil else { return }
        var parts = IndependentParts()
        var word: UInt32?
        parts.attempt { () throws(ReadingError) in
            word = try machine.mailbox.answer(to: Self.question)
        }
        if let word {
            samples += Self.samples(word)
        } else {
            parts.attempt { () throws(ReadingError) in
                guard let alarm = try undervoltageAlarm(machine.roots) else { return }
                samples.append(Self.sample(Condition.undervoltage.activeName, alarm))
            }
        }
        try parts.finish()
    }

    private static func samples(_ word: UInt32) -> [Sample] {
        Condition.allCases.map { sample($0.activeName, $0.isActive(in: word)) }
            + Condition.allCases.map {
                sample(
                    "rpi_throttled_history", labels: [("kind", $0.kind)], $0.hasOccurred(in: word))
            }
    }

    private static func sample(
        _ name: String, labels: [(String, String)] = [], _ value: Bool
    ) -> Sample {
        Sample(name, labels: labels, value: value ? 1 : 0)
    }

    /// The alarm of the kernel's driver: under-voltage since its previous poll, two seconds ago.
    private func undervoltageAlarm(_ roots: HardwareRoots) throws(ReadingError) -> Bool? {
        let directory = "\(roots.sys)/class/hwmon"
        for device in try SystemFile.entries(directory, prefix: "hwmon")
        where try SystemFile.text("\(directory)/\(device)/name") == "rpi_volt" {
            return try SystemFile.integer("\(directory)/\(device)/in0_lcrit_alarm").map { $0 != 0 }
        }
        return nil
    }
}
