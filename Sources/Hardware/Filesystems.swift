// Size and fill of the file systems on disks, and whether one has become read-only, which is how a
// dying card shows itself.
//
// The mounts come from `mountinfo`, not from `mounts`: the sandbox of the systemd unit mounts
// everything read-only for this program, and only `mountinfo` tells that from a file system that is
// read-only itself. It is this program's own list where the machine is its own, because sizes are
// asked by path and paths mean what they mean here; it is the first process's list where another
// machine's files are looked at.

import Prometheus

/// `kinglet_machine_filesystem_size_bytes` and its companions.
struct Filesystems: Reading {
    static let name = "filesystem"
    let period = Duration.seconds(60)
    /// A file system hangs with its medium.
    let timeout = Duration.seconds(10)

    /// The most file systems that are shown.
    static let limit = 16
    /// The types that stand on disks of a small machine.
    private static let types: Set<String> = [
        "ext2", "ext3", "ext4", "vfat", "exfat", "btrfs", "f2fs", "xfs", "ntfs3",
    ]
    /// Block devices that are no disks.
    private static let virtual = ["/dev/loop", "/dev/ram", "/dev/zram"]

    static let families = [
        family("size_bytes", "Size of the file system."),
        family("available_bytes", "Space that users other than root can still fill."),
        family("inodes", "Files that the file system can hold; absent where it knows no limit."),
        family("inodes_free", "Files that can still be made."),
        family("readonly", "Whether the file system is read-only, by choice or after an error."),
    ]

    private static func family(_ name: String, _ help: String) -> FamilyDescription {
        FamilyDescription(
            name: "kinglet_machine_filesystem_\(name)", kind: .gauge, help: help)
    }

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        let process = machine.roots.prefix.isEmpty ? "self" : "1"
        let path = "\(machine.roots.proc)/\(process)/mountinfo"
        guard let lines = try SystemFile.lines(path) else { return }
        var parts = IndependentParts()
        for mount in Self.shown(lines, path, &parts) {
            let label = [("mountpoint", mount.point.printable(128))]
            func append(_ name: String, _ value: Double) {
                samples.append(
                    Sample("kinglet_machine_filesystem_\(name)", labels: label, value: value))
            }
            parts.attempt { () throws(ReadingError) in
                guard let statistics = try Self.statistics(of: mount, machine) else { return }
                append("size_bytes", statistics.size)
                append("available_bytes", statistics.available)
                guard statistics.inodes > 0 else { return }
                append("inodes", statistics.inodes)
                append("inodes_free", statistics.inodesFree)
            }
            append("readonly", mount.isReadOnly ? 1 : 0)
        }
        try parts.finish()
    }

    /// Nil for a mount that is gone by now, and for one in a folder that is closed to us, such as
    /// the stick of somebody who sits at the machine (`/media/<user>`): that is no fault of it.
    private static func statistics(
        of mount: Mount, _ machine: Machine
    ) throws(ReadingError) -> FilesystemStatistics? {
        var found: FilesystemStatistics?
        do throws(ReadingError) {
            found = try machine.calls.filesystem(at: mount.point, below: machine.roots.prefix)
        } catch {
            if error.code == .permission { return nil }
            throw error
        }
        guard let found else { return nil }
        // Larger than any disk; a NaN is not within it either.
        let plausible = 0...9e18
        for value in [found.size, found.available, found.inodes, found.inodesFree] {
            guard plausible.contains(value) else {
                throw ReadingError(
                    .malformed, subject: mount.point, message: "its size cannot be \(value)",
                    advice: "check the file system")
            }
        }
        return found
    }

    /// One line of `mountinfo`, as far as it is needed.
    struct Mount {
        /// Major and minor number.
        var device: String
        /// Which part of the file system is mounted: `/`, unless it is a bind mount or a subvolume.
        var root: String
        var point: String
        var type: String
        var source: String
        var isReadOnly: Bool

        /// Reads `36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/sda1 rw,errors=continue`.
        init?(_ line: some Collection<UInt8>) {
            let words = line.split(separator: 0x20, omittingEmptySubsequences: false)
            guard words.count >= 10,
                let dash = words.dropFirst(6).firstIndex(where: { $0.elementsEqual([0x2D]) }),
                words.count > dash + 3
            else { return nil }
            func text(_ index: Int) -> String { String(decoding: words[index], as: UTF8.self) }
            device = text(2)
            root = text(3)
            point = Self.unescaped(words[4])
            type = text(dash + 1)
            source = text(dash + 2)
            isReadOnly = text(dash + 3).split(separator: ",").contains("ro")
        }

        /// The kernel writes space, tab, line feed and backslash as three octal digits.
        private static func unescaped(_ word: some Collection<UInt8>) -> String {
            var bytes: [UInt8] = []
            var rest = Array(word)[...]
            while let byte = rest.popFirst() {
                let digits = rest.prefix(3)
                if byte == 0x5C, digits.count == 3,
                    let code = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
                {
                    bytes.append(code)
                    rest = rest.dropFirst(3)
                } else {
                    bytes.append(byte)
                }
            }
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    /// The mounts that are shown, in the order of the lines; each file system once.
    private static func shown(
        _ lines: [ArraySlice<UInt8>], _ path: String, _ parts: inout IndependentParts
    ) -> [Mount] {
        var visible: [String: Int] = [:]
        var mounts: [Mount] = []
        for line in lines {
            guard let mount = Mount(line) else {
                parts.attempt { () throws(ReadingError) in
                    throw .unknownForm(
                        path,
                        "cannot understand "
                            + SystemFile.quoted(String(decoding: line.prefix(40), as: UTF8.self)))
                }
                continue
            }
            // Of what is mounted on one another, the last is what the path leads to.
            visible[mount.point] = mounts.count
            mounts.append(mount)
        }
        var shown: [Mount] = []
        var places: [String: Int] = [:]
        var labels: Set<String> = []
        for (index, mount) in mounts.enumerated()
        where types.contains(mount.type) && mount.source.hasPrefix("/dev/")
            && !virtual.contains(where: mount.source.hasPrefix) && visible[mount.point] == index
        {
            if let place = places[mount.device] {
                // The same file system again: the whole of it speaks for its parts.
                if mount.root.utf8.count < shown[place].root.utf8.count,
                    labels.insert(mount.point.printable(128)).inserted
                {
                    shown[place] = mount
                }
            } else if shown.count < limit,
                labels.insert(mount.point.printable(128)).inserted
            {
                places[mount.device] = shown.count
                shown.append(mount)
            }
        }
        return shown
    }
}
