// Frequency of each CPU as cpufreq sees it: what it runs at, the governor that chooses, and the
// bounds between which it may. A firmware that caps the frequency does so below what the kernel
// asks for; see `rpi_frequency_capped_active` for that.

import Prometheus

/// `rpi_cpu_frequency_hertz`, its bounds, and the governor.
struct CPUFrequency: Reading {
    static let name = "cpu_frequency"
    let period = Duration.seconds(10)

    private struct Attribute {
        let file: String
        let family: FamilyDescription
    }

    /// The attributes in kHz and the families they become in Hz.
    private static let attributes = [
        Attribute(
            file: "scaling_cur_freq",
            family: FamilyDescription(
                name: "rpi_cpu_frequency_hertz", kind: .gauge,
                help: "Current frequency of the CPU.")),
        Attribute(
            file: "scaling_min_freq",
            family: FamilyDescription(
                name: "rpi_cpu_frequency_min_hertz", kind: .gauge,
                help: "Lowest frequency that the CPU's governor may choose.")),
        Attribute(
            file: "scaling_max_freq",
            family: FamilyDescription(
                name: "rpi_cpu_frequency_max_hertz", kind: .gauge,
                help: "Highest frequency that the CPU's governor may choose.")),
    ]

    private static let governor = FamilyDescription(
        name: "rpi_cpu_governor_info", kind: .info,
        help: "What chooses the CPU's frequency.")

    static let families = attributes.map(\.family) + [governor]

    /// In kHz: up to 10 GHz.
    private static let plausible: ClosedRange<Int64> = 0...10_000_000
    private static let limit = 64

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        guard try machine.raspberryPiModel() != nil else { return }
        let directory = "\(machine.roots.sys)/devices/system/cpu"
        // "cpu0" and its siblings stand beside "cpufreq", "cpuidle" and the like.
        let cpus = try SystemFile.entries(directory, prefix: "cpu")
            .compactMap { UInt16($0.dropFirst(3)) }.sorted().prefix(Self.limit)
        var parts = IndependentParts()
        for attribute in Self.attributes {
            for cpu in cpus {
                parts.attempt { () throws(ReadingError) in
                    let path = "\(directory)/cpu\(cpu)/cpufreq/\(attribute.file)"
                    guard let kilohertz = try SystemFile.integer(path, in: Self.plausible)
                    else { return }
                    samples.append(
                        Sample(
                            attribute.family.name, labels: [("cpu", String(cpu))],
                            value: Double(kilohertz) * 1000))
                }
            }
        }
        for cpu in cpus {
            parts.attempt { () throws(ReadingError) in
                let path = "\(directory)/cpu\(cpu)/cpufreq/scaling_governor"
                guard let governor = try SystemFile.text(path), !governor.isEmpty else { return }
                // The kernel's names for them have at most 15 characters.
                let labels = [("cpu", String(cpu)), ("governor", governor.printable(80))]
                samples.append(Sample(Self.governor.name, labels: labels, value: 1))
            }
        }
        try parts.finish()
    }
}
