// The device tree that the boot loader handed to the kernel, as files.

/// A Raspberry Pi's processor, where it decides what there is to read.
enum RaspberryPiProcessor: String, CaseIterable {
    /// Raspberry Pi 4, 400 and Compute Module 4.
    case bcm2711 = "brcm,bcm2711"
    /// Raspberry Pi 5, 500 and Compute Module 5.
    case bcm2712 = "brcm,bcm2712"
}

extension Machine {
    /// The processor; nil on an older Raspberry Pi or another machine.
    func raspberryPiProcessor() throws(ReadingError) -> RaspberryPiProcessor? {
        // A list of strings, each with NUL behind it.
        let list = try SystemFile.bytes("\(roots.proc)/device-tree/compatible") ?? []
        let names = list.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        return RaspberryPiProcessor.allCases.first { names.contains($0.rawValue) }
    }

    /// A property that is one big-endian word, within `bounds`; nil when it is absent.
    func deviceTreeWord(
        _ property: String, in bounds: ClosedRange<UInt32> = .min ... .max
    ) throws(ReadingError) -> UInt32? {
        let path = "\(roots.proc)/device-tree/\(property)"
        guard let bytes = try SystemFile.bytes(path) else { return nil }
        let word = bytes.prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        guard bytes.count == 4, bounds.contains(word) else {
            throw ReadingError(
                .malformed, subject: path,
                message: bytes.count == 4
                    ? "\(word) is not within \(bounds.lowerBound) to \(bounds.upperBound)"
                    : "expected 4 bytes, found \(bytes.count)",
                advice: "update the boot loader ('sudo rpi-eeprom-update')")
        }
        return word
    }
}
