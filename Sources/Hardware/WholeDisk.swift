// Which block devices are whole disks, and what tells one medium from another.

/// Rules about the kernel's names of disks, and the identity of the medium behind a name.
enum WholeDisk {
    /// The most disks that are shown.
    static let limit = 8

    /// What else stands in `/sys/block`: memory, files and network in the shape of a disk, disks
    /// made of others, and drives for removable discs.
    private static let others = [
        "dm-", "fd", "loop", "md", "mtdblock", "nbd", "ram", "sr", "zram",
    ]

    /// Whether the name can be that of a whole disk; `/sys/block` knows which of them are.
    static func isCandidate(_ name: String) -> Bool {
        guard isDeviceName(name), !others.contains(where: name.hasPrefix) else { return false }
        // A card's boot, replay-protected and general purpose areas stand beside it: mmcblk0boot0.
        return !name.hasPrefix("mmcblk")
            || name.utf8.dropFirst(6).allSatisfy { (0x30...0x39).contains($0) }
    }

    /// Whether the name is one that the kernel gives to disks, and so can be a label and a path.
    static func isDeviceName(_ name: String) -> Bool {
        name.utf8.first.map { $0 != 0x2D } == true && name.utf8.count <= 32
            && name.utf8.allSatisfy {
                (0x61...0x7A).contains($0) || (0x41...0x5A).contains($0)
                    || (0x30...0x39).contains($0) || $0 == 0x2D || $0 == 0x5F
            }
    }

    /// A key for the medium itself, not for the slot that it is in; nil when it has no number of its
    /// own. Serial numbers are hashed: a key is kept, and nobody needs to read them there.
    static func mediumKey(_ name: String, _ roots: HardwareRoots) throws(ReadingError) -> String? {
        let disk = "\(roots.sys)/block/\(name)"
        for file in ["device/cid", "wwid", "device/wwid"] {
            if let text = try SystemFile.text("\(disk)/\(file)"), !text.isEmpty {
                return "written \(hash(text))"
            }
        }
        guard let serial = try serialNumber(disk), !serial.isEmpty else { return nil }
        let model = try SystemFile.text("\(disk)/device/model") ?? ""
        return "written \(hash("\(model) \(serial)"))"
    }

    private static func serialNumber(_ disk: String) throws(ReadingError) -> String? {
        for file in ["device/serial", "serial"] {
            if let text = try SystemFile.text("\(disk)/\(file)") { return text }
        }
        // SCSI's page of that name: four bytes of header, then the number.
        guard let page = try SystemFile.bytes("\(disk)/device/vpd_pg80"), page.count > 4 else {
            return nil
        }
        return String(decoding: page.dropFirst(4).trimmingASCIISpace, as: UTF8.self)
    }

    /// FNV-1a, 64 bits: the same in every run, unlike Swift's.
    private static func hash(_ text: String) -> String {
        let value = text.utf8.reduce(0xCBF2_9CE4_8422_2325 as UInt64) {
            ($0 ^ UInt64($1)) &* 0x100_0000_01B3
        }
        return String(value, radix: 16)
    }
}
