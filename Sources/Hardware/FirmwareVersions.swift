// Which firmware runs beside the kernel, and which boot loader is in the EEPROM. Both are updated
// apart from the operating system's packages, and forgotten.

import Prometheus

/// `rpi_firmware_…` and `rpi_bootloader_…`.
struct FirmwareVersions: Reading {
    static let name = "firmware"
    static let families = [
        FamilyDescription(
            name: "rpi_firmware_info", kind: .info, help: "Revision of the firmware."),
        FamilyDescription(
            name: "rpi_firmware_build_timestamp_seconds", kind: .gauge,
            help: "When the firmware was built."),
        FamilyDescription(
            name: "rpi_bootloader_info", kind: .info, help: "Revision of the boot loader."),
        FamilyDescription(
            name: "rpi_bootloader_build_timestamp_seconds", kind: .gauge,
            help: "When the boot loader was built."),
    ]
    let period = Duration.seconds(600)

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        guard try machine.raspberryPiModel() != nil else { return }
        var parts = IndependentParts()
        parts.attempt { () throws(ReadingError) in
            let built = try machine.mailbox.answer(to: .firmwareVersion, read: BuiltVersion.init)
            if let built { samples += built.samples("firmware") }
            if built?.time != nil { return }
            let time = try machine.mailbox.answer(to: .firmwareRevision) { words in
                words.count == 1
                    ? Plausible.value(Double(words[0]), in: Plausible.buildTime) : nil
            }
            if let time { samples += BuiltVersion(time: time).samples("firmware") }
        }
        parts.attempt { () throws(ReadingError) in
            if let built = try bootloader(machine) { samples += built.samples("bootloader") }
        }
        try parts.finish()
    }

    /// From the device tree; older boot loaders leave nothing there, and are asked for.
    private func bootloader(_ machine: Machine) throws(ReadingError) -> BuiltVersion? {
        let directory = "chosen/bootloader"
        let path = "\(machine.roots.proc)/device-tree/\(directory)/version"
        let bounds = UInt32(Plausible.buildTime.lowerBound)...UInt32.max
        let time = try machine.deviceTreeWord("\(directory)/build-timestamp", in: bounds)
        if let text = try SystemFile.text(path) {
            guard let revision = BuiltVersion.revision(text) else {
                throw ReadingError(
                    .malformed, subject: path,
                    message: "\(SystemFile.quoted(text)) is no revision",
                    advice: "update the boot loader ('sudo rpi-eeprom-update')")
            }
            return BuiltVersion(revision: revision, time: time.map { Double($0) })
        }
        // Boards before the Pi 4 have no boot loader of their own.
        guard try machine.raspberryPiProcessor() != nil else { return nil }
        return try machine.mailbox.answer(to: .bootloaderVersion, read: BuiltVersion.init)
    }
}

/// A revision and when it was built, from lines such as
///
///     Aug 30 2024 19:17:39            or 2024/09/23 14:02:56
///     Copyright (c) 2012 Broadcom
///     version 2808975b80149bbfe86844655fe45c7de66fc078 (clean) (release) (start)
///     timestamp 1727096576            of boot loaders
struct BuiltVersion: Equatable {
    var revision: String?
    /// Seconds since 1970.
    var time: Double?

    init(revision: String? = nil, time: Double? = nil) {
        self.revision = revision
        self.time = time
    }

    /// Nil when there is no line with a revision.
    init?(_ text: String) {
        var date: Double?
        for line in text.split(whereSeparator: \.isNewline).prefix(16) {
            let words = line.split(separator: " ")
            switch words.first {
            case "version" where revision == nil:
                revision = words.dropFirst().first.flatMap { Self.revision($0) }
            case "timestamp":
                time = Plausible.value(
                    words.dropFirst().first.flatMap { UInt32($0) }.map { Double($0) },
                    in: Plausible.buildTime)
            default:
                date = date ?? Self.date(words)
            }
        }
        guard revision != nil else { return nil }
        time = time ?? Plausible.value(date, in: Plausible.buildTime)
    }

    /// A revision is one word, mostly of hexadecimal digits.
    static func revision(_ text: some StringProtocol) -> String? {
        let isWord = text.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0)
                || [0x2D, 0x2E, 0x5F].contains($0)
        }
        return isWord && (1...64).contains(text.utf8.count) ? String(text) : nil
    }

    /// `Aug 30 2024 19:17:39` or `2024/09/23 14:02:56`, in universal time.
    private static func date(_ words: [Substring]) -> Double? {
        func numbers(_ text: Substring, _ separator: Character) -> [Int] {
            text.split(separator: separator).compactMap { UInt16($0).map(Int.init) }
        }
        guard let last = words.last else { return nil }
        let time = numbers(last, ":")
        var day: [Int] = []
        if words.count == 2 {
            day = numbers(words[0], "/")
        } else if words.count == 4,
            let month = months.firstIndex(where: { $0 == words[0] }),
            let year = UInt16(words[2]), let number = UInt16(words[1])
        {
            day = [Int(year), month + 1, Int(number)]
        }
        guard day.count == 3, time.count == 3 else { return nil }
        return CivilDate.seconds(
            day[0], day[1], day[2], hour: time[0], minute: time[1], second: time[2])
    }

    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// The samples of `rpi_<name>_info` and its timestamp.
    func samples(_ name: String) -> [Sample] {
        var samples: [Sample] = []
        if let revision {
            samples.append(Sample("rpi_\(name)_info", labels: [("version", revision)], value: 1))
        }
        if let time {
            samples.append(Sample("rpi_\(name)_build_timestamp_seconds", value: time))
        }
        return samples
    }
}
