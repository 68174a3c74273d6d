// Frequency of each CPU as cpufreq sees it: what it runs at, and the bounds that the governor may
// choose between. A firmware that caps the frequency does so below what the kernel asks for; see
// `rpi_frequency_capped_active` for that.

import Prometheus

/// `rpi_cpu_frequency_hertz` and its bounds.
struct CPUFrequency: Reading {
    static let name = "cpu_frequency"
    let period = Duration.seconds(5)

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

    static let families = attributes.map(\.family)

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        guard try machine.raspberryPiModel() != nil else { return }
        let directory = "\(machine.roots.sys)/devices/system/cpu"
        // "cpu0" and its siblings stand beside "cpufreq", "cpuidle" and the like.
        let cpus = try SystemFile.entries(directory, prefix: "cpu")
            .compactMap { UInt16($0.dropFirst(3)) }.sorted()
        var parts = IndependentParts()
        for attribute in Self.attributes {
            for cpu in cpus {
                parts.attempt { () throws(ReadingError) in
                    let path = "\(directory)/cpu\(cpu)/cpufreq/\(attribute.file)"
                    guard let kilohertz = try SystemFile.integer(path) else { return }
                    samples.append(
                        Sample(
                            attribute.family.name, labels: [("cpu", String(cpu))],
                            value: Double(kilohertz) * 1000))
                }
            }
        }
        try parts.finish()
    }
}
