// What the disks are: SD card, eMMC, NVMe, USB or SATA, who made them and when, and the wear that
// eMMC tells by itself (JEDEC JESD84-B51, registers DEVICE_LIFE_TIME_EST and PRE_EOL_INFO). An SD
// card tells nothing of its wear. Serial numbers stand beside these files and are not shown.

import Glibc
import Prometheus

/// `kinglet_machine_storage_info` and what eMMC says of its wear.
struct StorageIdentity: Reading {
    static let name = "storage"
    let period = Duration.seconds(600)

    static let families = [
        FamilyDescription(
            name: "kinglet_machine_storage_info", kind: .info,
            help: "Kind, model and manufacturer of the disk."),
        FamilyDescription(
            name: "kinglet_machine_storage_manufactured_timestamp_seconds", kind: .gauge,
            help: "First second of the month in which the card was made."),
        FamilyDescription(
            name: "kinglet_machine_emmc_life_used_ratio", kind: .gauge,
            help: "Life that eMMC has used at most, in steps of 0.1; 1.1 is beyond its end."),
        FamilyDescription(
            name: "kinglet_machine_emmc_reserve_state", kind: .gauge,
            help: "State of eMMC's reserve blocks: warning when 80 % are used."),
    ]

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        let directory = "\(machine.roots.sys)/block"
        let disks = try SystemFile.entries(directory, prefix: "").filter(WholeDisk.isCandidate)
        var parts = IndependentParts()
        for disk in disks.prefix(WholeDisk.limit) {
            if disk.hasPrefix("mmcblk") {
                Self.readCard(disk, "\(directory)/\(disk)/device", &parts, into: &samples)
            } else {
                parts.attempt { () throws(ReadingError) in
                    guard let type = try Self.busType(disk, "\(directory)/\(disk)") else { return }
                    let device = "\(directory)/\(disk)/device"
                    let model = try SystemFile.text("\(device)/model")
                    // "ATA" is what the kernel says of every SATA disk.
                    let vendor = try SystemFile.text("\(device)/vendor").flatMap {
                        $0 == "ATA" || $0.hasPrefix("0x") ? nil : $0
                    }
                    samples.append(Self.info(disk, type, model, vendor))
                }
            }
        }
        try parts.finish()
    }

    private static func info(
        _ disk: String, _ type: String, _ model: String?, _ manufacturer: String?
    ) -> Sample {
        var labels = [("device", disk), ("type", type)]
        if let model { labels.append(("model", model.printable(64))) }
        if let manufacturer { labels.append(("manufacturer", manufacturer.printable(64))) }
        return Sample("kinglet_machine_storage_info", labels: labels, value: 1)
    }

    /// How the disk is attached, by its own place in the tree of devices; nil for what is no disk
    /// of its own, such as a virtual machine's.
    private static func busType(
        _ disk: String, _ path: String
    ) throws(ReadingError) -> String? {
        if disk.hasPrefix("nvme") { return "nvme" }
        var buffer = [UInt8](repeating: 0, count: SystemFile.sizeLimit)
        let count = readlink(path, &buffer, buffer.count)
        guard count >= 0 else {
            let code = errno
            // EINVAL: no link.
            if [ENOENT, ENOTDIR, EINVAL].contains(code) { return nil }
            throw ReadingError(systemError: code, subject: path)
        }
        let folders = String(decoding: buffer.prefix(count), as: UTF8.self).split(separator: "/")
        func has(_ kind: String) -> Bool {
            folders.contains { $0.hasPrefix(kind) && UInt16($0.dropFirst(kind.count)) != nil }
        }
        // A bridge on USB may have an ATA disk behind it; what is attached here is the bridge.
        return has("usb") ? "usb" : has("ata") ? "sata" : nil
    }

    // MARK: - Cards

    private static func readCard(
        _ disk: String, _ device: String, _ parts: inout IndependentParts,
        into samples: inout [Sample]
    ) {
        parts.attempt { () throws(ReadingError) in
            guard let type = try SystemFile.text("\(device)/type") else { return }
            guard type == "MMC" || type.hasPrefix("SD") else {
                throw malformed("\(device)/type", type)
            }
            let kind = type == "MMC" ? "emmc" : "sd"
            var manufacturer: String?
            if let text = try SystemFile.text("\(device)/manfid") {
                guard let number = UInt32(hexadecimal: text) else {
                    throw malformed("\(device)/manfid", text)
                }
                let names = kind == "emmc" ? eMMCManufacturers : cardManufacturers
                manufacturer = names[number] ?? "0x\(String(number, radix: 16))"
            }
            let model = try SystemFile.text("\(device)/name")
            samples.append(info(disk, kind, model, manufacturer))
        }
        parts.attempt { () throws(ReadingError) in
            guard let text = try SystemFile.text("\(device)/date") else { return }
            guard let time = try manufactured(text, "\(device)/date") else { return }
            samples.append(
                Sample(
                    "kinglet_machine_storage_manufactured_timestamp_seconds",
                    labels: [("device", disk)], value: time))
        }
        parts.attempt { () throws(ReadingError) in
            let path = "\(device)/life_time"
            guard let text = try SystemFile.text(path) else { return }
            let steps = text.split(separator: " ").map { UInt32(hexadecimal: $0) }
            guard steps.count == 2 else { throw malformed(path, text) }
            for (step, type) in zip(steps, ["a", "b"]) {
                guard let step, step <= 0x0B else { throw malformed(path, text) }
                // 0 is "not defined": this type of memory is not in the chip.
                guard step > 0 else { continue }
                samples.append(
                    Sample(
                        "kinglet_machine_emmc_life_used_ratio",
                        labels: [("device", disk), ("type", type)], value: Double(step) / 10))
            }
        }
        parts.attempt { () throws(ReadingError) in
            let path = "\(device)/pre_eol_info"
            guard let text = try SystemFile.text(path) else { return }
            let states = ["normal", "warning", "urgent"]
            guard let number = UInt32(hexadecimal: text), number <= states.count else {
                throw malformed(path, text)
            }
            guard number > 0 else { return }
            for (index, state) in states.enumerated() {
                samples.append(
                    Sample(
                        "kinglet_machine_emmc_reserve_state",
                        labels: [("device", disk), ("state", state)],
                        value: index + 1 == number ? 1 : 0))
            }
        }
    }

    /// The start of a month given as `MM/YYYY`, in UTC; nil for the month 0 of cards that do not say.
    private static func manufactured(
        _ text: String, _ path: String
    ) throws(ReadingError) -> Double? {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let month = Int(parts[0]), (0...12).contains(month),
            let year = Int(parts[1]), (1990...2155).contains(year)
        else { throw malformed(path, text) }
        return month == 0 ? nil : CivilDate.seconds(year, month, 1)
    }

    private static func malformed(_ path: String, _ text: String) -> ReadingError {
        ReadingError(
            .malformed, subject: path, message: "cannot understand \(SystemFile.quoted(text))",
            advice: "the card is broken or forged, or report this with the output of 'uname -r'")
    }

    /// Numbers that the SD Association gave; as the kernel's own tables and many cards have them.
    private static let cardManufacturers: [UInt32: String] = [
        0x01: "Panasonic", 0x02: "Kioxia", 0x03: "SanDisk", 0x09: "ATP", 0x1B: "Samsung",
        0x1D: "ADATA", 0x27: "Phison", 0x28: "Lexar", 0x31: "Silicon Power", 0x41: "Kingston",
        0x5D: "Swissbit", 0x74: "Transcend", 0x76: "Patriot", 0x82: "Sony", 0x9F: "Kingston",
        0xAD: "Lexar",
    ]

    /// Numbers that JEDEC gave, in another list than those of SD cards.
    private static let eMMCManufacturers: [UInt32: String] = [
        0x02: "SanDisk", 0x11: "Kioxia", 0x13: "Micron", 0x15: "Samsung", 0x45: "SanDisk",
        0x70: "Kingston", 0x90: "SK hynix", 0xD6: "Foresee", 0xFE: "Micron",
    ]
}
