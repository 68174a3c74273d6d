// Which file system and which disk a path is on.

internal import Glibc

/// Where the system tells about disks; a test has its own.
struct MediumRoots: Sendable {
    var byUUID = "/dev/disk/by-uuid"
    var mounts = "/proc/self/mountinfo"
    var devices = "/sys/dev/block"
}

/// The file system that a path is on.
struct Medium: Sendable {
    /// The number of its device, as `stat` tells it.
    let device: dev_t
    var roots = MediumRoots()

    /// Nil when the path is not there.
    init?(of path: String, roots: MediumRoots = MediumRoots()) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        device = status.st_dev
        self.roots = roots
    }

    /// Throws unless the file system has a UUID.
    ///
    /// - Parameter path: for messages.
    func check(uuid: String, _ path: String) throws(BackupError) {
        let isPlain =
            (1...64).contains(uuid.utf8.count)
            && uuid.utf8.allSatisfy { byte in
                (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte)
                    || (0x61...0x7A).contains(byte) || byte == UInt8(ascii: "-")
            }
        guard isPlain else {
            throw BackupError(
                .permanent, subject: path, "the UUID of its file system cannot be one",
                advice: "see `lsblk -o NAME,UUID`")
        }
        var status = stat()
        guard stat("\(roots.byUUID)/\(uuid)", &status) == 0 else {
            throw BackupError(
                .absent, subject: path, "the disk with the file system \(uuid) is not there",
                advice: "plug it in")
        }
        guard blockDevices.contains(status.st_rdev) else {
            throw BackupError(
                .absent, subject: path, "the file system \(uuid) is not mounted there",
                advice: "mount it")
        }
    }

    /// Whether both are on one disk, as far as can be told.
    func isOnSameDisk(as other: Medium) -> Bool {
        device == other.device || !disks.isDisjoint(with: other.disks)
    }

    /// The block devices that hold it. A file system of several disks (btrfs) has a number of its
    /// own; what is mounted tells one of its disks.
    private var blockDevices: Set<dev_t> {
        var devices: Set<dev_t> = [device]
        let number = Self.text(device)
        guard let bytes = try? readSystemFile(roots.mounts) else { return devices }
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            let words = String(decoding: line, as: UTF8.self).split(separator: " ")
            guard words.count > 5, words[2] == number,
                let end = words.firstIndex(of: "-"), words.count > end + 2
            else { continue }
            var status = stat()
            let source = String(words[end + 2])
            if source.hasPrefix("/"), stat(source, &status) == 0,
                status.st_mode & S_IFMT == S_IFBLK
            {
                devices.insert(status.st_rdev)
            }
        }
        return devices
    }

    /// The names of the whole disks below it: the one that a partition is of, and those that a
    /// volume is made of.
    private var disks: Set<String> {
        var disks: Set<String> = []
        for device in blockDevices {
            let link = "\(roots.devices)/\(Self.text(device))"
            guard let resolved = realpath(link, nil) else { continue }
            defer { free(resolved) }
            Self.addDisks(String(cString: resolved), depth: 0, to: &disks)
        }
        return disks
    }

    private static func addDisks(_ place: String, depth: Int, to disks: inout Set<String>) {
        guard depth < 8 else { return }
        if Files.exists(place + "/partition") {
            return addDisks(Files.parent(of: place), depth: depth + 1, to: &disks)
        }
        let below = (try? Files.names(in: place + "/slaves")) ?? []
        for name in below {
            let link = "\(place)/slaves/\(String(decoding: name, as: UTF8.self))"
            guard let resolved = realpath(link, nil) else { continue }
            defer { free(resolved) }
            addDisks(String(cString: resolved), depth: depth + 1, to: &disks)
        }
        if below.isEmpty { disks.insert(place) }
    }

    /// `major:minor`, by glibc's layout of `dev_t`.
    private static func text(_ device: dev_t) -> String {
        let device = UInt64(device)
        let major = (device >> 8 & 0xFFF) | (device >> 32 & 0xFFFF_F000)
        let minor = (device & 0xFF) | (device >> 12 & 0xFFFF_FF00)
        return "\(major):\(minor)"
    }

    /// Files of /proc have no size.
    private func readSystemFile(_ path: String) throws(BackupError) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw Files.error(path, "read") }
        defer { close(file) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 16_384)
        while bytes.count < 1 << 20 {
            let count = read(file, &piece, piece.count)
            guard count > 0 else { break }
            bytes += piece[..<count]
        }
        return bytes
    }
}
