// Which Raspberry Pi this is: device tree `model`, and the revision code that decodes to memory
// size, manufacturer and board version. The serial number beside them is never read.

import Prometheus

/// `rpi_info`: model and revision of the board.
struct BoardModel: Reading {
    static let name = "model"
    static let families = [
        FamilyDescription(
            name: "rpi_info", kind: .info, help: "Model and revision code of the Raspberry Pi.")
    ]
    /// A board does not change while it runs; a read that failed is repeated in the same rhythm.
    let period = Duration.seconds(600)

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        guard let model = try machine.raspberryPiModel() else { return }
        var labels = [("model", model.printable(80))]
        if let revision = try revision(machine.roots) { labels.append(("revision", revision)) }
        samples.append(Sample("rpi_info", labels: labels, value: 1))
    }

    /// The revision code in hexadecimal. `/proc/cpuinfo` has it on Raspberry Pi's kernels, the
    /// device tree (a big-endian word set by the boot loader) on all.
    private func revision(_ roots: HardwareRoots) throws(ReadingError) -> String? {
        if let text = try SystemFile.text("\(roots.proc)/cpuinfo") {
            for line in text.split(separator: "\n") {
                let parts = line.split(separator: ":", maxSplits: 1)
                guard parts.count == 2, Array(parts[0].utf8).trimmingASCIISpace == revisionKey
                else { continue }
                return String(decoding: parts[1].utf8.trimmingASCIISpace, as: UTF8.self)
                    .printable(80)
            }
        }
        let bytes = try SystemFile.bytes("\(roots.proc)/device-tree/system/linux,revision")
        guard let bytes, bytes.count == 4 else { return nil }
        return String(bytes.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }, radix: 16)
    }

    private var revisionKey: ArraySlice<UInt8> { Array("Revision".utf8)[...] }
}
