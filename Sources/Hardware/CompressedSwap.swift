// Swap that is compressed memory (zram): what went into it and what it takes up. A device of size 0
// was made by the module and is not used.

import Prometheus

/// `kinglet_machine_zram_…_bytes`.
struct CompressedSwap: Reading {
    static let name = "zram"
    let period = Duration.seconds(60)

    /// More devices than this are not looked at.
    private static let deviceLimit = 16
    /// 1 PiB.
    private static let sizeLimit: UInt64 = 1 << 50

    /// The first fields of `mm_stat`, in order.
    private static let fields = [
        "kinglet_machine_zram_original_bytes", "kinglet_machine_zram_compressed_bytes",
        "kinglet_machine_zram_used_bytes",
    ]

    static let families = [
        FamilyDescription(
            name: "kinglet_machine_zram_size_bytes", kind: .gauge,
            help: "How much the compressed swap may hold."),
        FamilyDescription(
            name: fields[0], kind: .gauge, help: "What the compressed swap holds, uncompressed."),
        FamilyDescription(
            name: fields[1], kind: .gauge, help: "What the compressed swap holds, compressed."),
        FamilyDescription(
            name: fields[2], kind: .gauge, help: "Memory that the compressed swap takes up."),
    ]

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        let directory = "\(machine.roots.sys)/block"
        var parts = IndependentParts()
        let devices = try SystemFile.entries(directory, prefix: "zram")
            .compactMap { UInt16($0.dropFirst(4)) }.sorted()
        for device in devices.prefix(Self.deviceLimit) {
            parts.attempt { () throws(ReadingError) in
                try sample("\(directory)/zram\(device)", "zram\(device)", &samples)
            }
        }
        try parts.finish()
    }

    private func sample(
        _ path: String, _ device: String, _ samples: inout [Sample]
    ) throws(ReadingError) {
        let bounds = 0...Int64(Self.sizeLimit)
        guard let size = try SystemFile.integer("\(path)/disksize", in: bounds), size > 0 else {
            return
        }
        let labels = [("device", device)]
        samples.append(
            Sample("kinglet_machine_zram_size_bytes", labels: labels, value: Double(size)))
        guard var table = try KernelTable("\(path)/mm_stat"), table.nextLine() else { return }
        for name in Self.fields {
            let bytes = try table.number(upTo: Self.sizeLimit)
            samples.append(Sample(name, labels: labels, value: Double(bytes)))
        }
    }
}
