// What is shown of a disk's SMART data, whoever read it.

import Prometheus

/// One fact of a disk's SMART data.
enum SMARTFact: CaseIterable {
    case healthy, temperature, used, spare, reallocatedSectors, pendingSectors, time
    case mediaErrors, unsafeShutdowns, powerOnSeconds, writtenBytes

    /// The family that it is shown as.
    var family: FamilyDescription {
        switch self {
        case .healthy: gauge("healthy", "Whether the disk calls itself healthy.")
        case .temperature: gauge("temperature_celsius", "Temperature of the disk.")
        case .used: gauge("used_ratio", "Life that the disk has used, by its own estimate.")
        case .spare: gauge("spare_ratio", "Spare blocks that are left.")
        case .reallocatedSectors: gauge("reallocated_sectors", "Sectors that were replaced.")
        case .pendingSectors: gauge("pending_sectors", "Sectors that cannot be read now.")
        case .time: gauge("report_timestamp_seconds", "When the disk was last asked.")
        case .mediaErrors: counter("media_errors_total", "Errors that the disk could not correct.")
        case .unsafeShutdowns: counter("unsafe_shutdowns_total", "Times that power was cut.")
        case .powerOnSeconds: counter("power_on_seconds_total", "Time that the disk had power.")
        case .writtenBytes: counter("written_bytes_total", "Bytes ever written, by the disk.")
        }
    }

    /// What it can be; anything else is garbage.
    var bounds: ClosedRange<Double> {
        switch self {
        case .healthy, .spare: 0...1
        case .temperature: -60...200
        // NVMe counts on to 255 % beyond the end that the maker promises.
        case .used: 0...2.55
        case .reallocatedSectors, .pendingSectors, .mediaErrors, .unsafeShutdowns: 0...1e15
        case .time, .powerOnSeconds: 0...1e12
        case .writtenBytes: 0...1e21
        }
    }

    private func gauge(_ name: String, _ help: String) -> FamilyDescription {
        FamilyDescription(name: "kinglet_machine_smart_\(name)", kind: .gauge, help: help)
    }

    private func counter(_ name: String, _ help: String) -> FamilyDescription {
        FamilyDescription(name: "kinglet_machine_smart_\(name)", kind: .counter, help: help)
    }
}

extension [SMARTFact: Double] {
    /// Samples of the facts, in the order of the cases. One that cannot be is left out and thrown
    /// after the others.
    func append(
        device: String, subject: String, to samples: inout [Sample]
    ) throws(ReadingError) {
        var parts = IndependentParts()
        for fact in SMARTFact.allCases {
            guard let value = self[fact] else { continue }
            parts.attempt { () throws(ReadingError) in
                let name = fact.family.name
                guard fact.bounds.contains(value) else {
                    throw ReadingError(
                        .malformed, subject: subject, message: "\(name) cannot be \(value)",
                        advice:
                            "compare with 'smartctl -a', the disk may need an entry in drivedb.h")
                }
                samples.append(Sample(name, labels: [("device", device)], value: value))
            }
        }
        try parts.finish()
    }
}
