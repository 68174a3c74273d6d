// Local time and universal time. Foundation's zones are not used: our program is linked statically,
// and without ICU (40 MB, most of it data) `TimeZone(identifier: "Europe/Berlin")` is nil in it. The
// system has the same rules in files of 2 KB.

internal import Glibc

/// A time zone.
struct TimeZoneRules: Sendable, Equatable {
    /// A stretch of time with one offset.
    struct Stretch: Equatable {
        /// Its first second.
        var begin: Int64
        /// The first second after it.
        var end: Int64
        /// Seconds east of Greenwich.
        var offset: Int
    }

    /// Where the system has its zones.
    static let folder = "/usr/share/zoneinfo"
    /// Times outside of these, some thousand years from now, are taken for the nearer of them.
    private static let times = Int64(-80_000_000_000)...Int64(300_000_000_000)

    /// The name, such as `Europe/Berlin`.
    let name: String
    private let transitions: [Int64]
    private let offsets: [Int32]
    private let first: Int
    private let footer: POSIXTimeZone?

    /// Universal time, which needs no file.
    static let utc = TimeZoneRules(name: "UTC", POSIXTimeZone(standard: 0, daylight: nil))

    init(name: String, _ file: TimeZoneFile) {
        self.name = name
        transitions = file.transitions
        offsets = file.offsets
        first = Int(file.first)
        footer = file.footer
    }

    init(name: String, _ rules: POSIXTimeZone) {
        self.name = name
        transitions = []
        offsets = []
        first = rules.standard
        footer = rules
    }

    // MARK: Times

    /// The stretch that a time lies in.
    func stretch(at time: Int64) -> Stretch {
        let time = min(max(time, Self.times.lowerBound), Self.times.upperBound)
        guard let last = transitions.last, time < last else {
            var stretch =
                footer?.stretch(at: time)
                ?? Stretch(begin: .min, end: .max, offset: offsets.last.map { Int($0) } ?? first)
            if let last = transitions.last { stretch.begin = max(stretch.begin, last) }
            return stretch
        }
        // The first transition after it.
        var low = 0
        var high = transitions.count - 1
        while low < high {
            let middle = (low + high) / 2
            if transitions[middle] <= time { low = middle + 1 } else { high = middle }
        }
        return Stretch(
            begin: low == 0 ? .min : transitions[low - 1], end: transitions[low],
            offset: low == 0 ? first : Int(offsets[low - 1]))
    }

    /// Seconds east of Greenwich.
    func offset(at time: Int64) -> Int { stretch(at: time).offset }

    /// What the clocks show, as seconds since 1970-01-01 00:00 of the clocks.
    func local(_ time: Int64) -> Int64 {
        let time = min(max(time, Self.times.lowerBound), Self.times.upperBound)
        return time + Int64(offset(at: time))
    }

    /// The first moment at which the clocks show `local` or more: for a time that comes twice its
    /// first coming, for one that is skipped the moment after the jump.
    func utc(_ local: Int64) -> Int64 {
        let local = min(max(local, Self.times.lowerBound), Self.times.upperBound)
        var stretch = stretch(at: local - Int64(TimeZoneFile.offsets.upperBound))
        // No offset is longer than a day, so the answer is at most three days further.
        for _ in 0..<(transitions.count + 20) {
            let time = local - Int64(stretch.offset)
            if time < stretch.end { return max(time, stretch.begin) }
            stretch = self.stretch(at: stretch.end)
        }
        return local - Int64(stretch.offset)
    }
}

extension TimeZoneRules {
    /// Reads one of the system's zones.
    ///
    /// - Parameter name: as in the IANA database; not a path.
    static func named(_ name: String, folder: String = folder) throws(BackupError)
        -> TimeZoneRules
    {
        if ["UTC", "Etc/UTC", "GMT", "Z"].contains(name) { return .utc }
        let advice =
            "write a name such as Europe/Berlin or UTC; `timedatectl list-timezones` prints them"
        guard isName(name) else {
            throw BackupError(
                .permanent, subject: "time zone", "\"\(Excerpt.of(name))\" is no time zone's name",
                advice: advice)
        }
        guard let bytes = bytes(folder + "/" + name) else {
            throw BackupError(
                .permanent, subject: "time zone",
                "there is no time zone \"\(name)\" in \(folder)",
                advice: exists(folder) ? advice : "install the package tzdata, or write UTC")
        }
        do {
            return TimeZoneRules(name: name, try TimeZoneFile(bytes))
        } catch {
            throw BackupError(
                .permanent, subject: "time zone", "cannot use \(folder)/\(name): \(error.message)",
                advice: advice)
        }
    }

    /// The machine's zone: TZ, else /etc/localtime, else /etc/timezone; UTC when none is of use.
    ///
    /// - Parameters:
    ///   - variable: the value of TZ; nil when it is not set.
    ///   - root: a folder that stands for `/`.
    static func ofMachine(variable: String?, root: String = "") -> TimeZoneRules {
        let folder = root + folder
        if let variable, !variable.isEmpty {
            let name = variable.hasPrefix(":") ? String(variable.dropFirst()) : variable
            if let zone = try? named(name, folder: folder) { return zone }
            if name.hasPrefix("/"), let zone = file(root + name, name: nil) { return zone }
            if let rules = POSIXTimeZone(name) { return TimeZoneRules(name: name, rules) }
            // As the C library has it.
            return .utc
        }
        var names: [String] = []
        if let bytes = bytes(root + "/etc/timezone", limit: 256) {
            let name = String(decoding: bytes, as: UTF8.self)
            names.append(String(name.prefix { !$0.isWhitespace }))
        }
        if let zone = file(root + "/etc/localtime", name: names.first { isName($0) }) {
            return zone
        }
        for name in names {
            if let zone = try? named(name, folder: folder) { return zone }
        }
        return .utc
    }

    /// Letters, digits, `+`, `-`, `_` in parts; nothing that leads out of the folder.
    private static func isName(_ name: String) -> Bool {
        guard (1...100).contains(name.utf8.count), let first = name.utf8.first,
            (0x41...0x5A).contains(first & 0xDF)
        else { return false }
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        return parts.allSatisfy { part in
            !part.isEmpty
                && part.utf8.allSatisfy { byte in
                    (0x41...0x5A).contains(byte & 0xDF) || (0x30...0x39).contains(byte)
                        || byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-")
                        || byte == UInt8(ascii: "_")
                }
        }
    }

    /// A file whose name is that of the zone its link leads to, if it can be told.
    private static func file(_ path: String, name: String?) -> TimeZoneRules? {
        guard let bytes = bytes(path), let file = try? TimeZoneFile(bytes) else { return nil }
        var link = [UInt8](repeating: 0, count: 1024)
        let count = link.withUnsafeMutableBytes { buffer in
            buffer.bindMemory(to: CChar.self).baseAddress.map { readlink(path, $0, 1024) } ?? 0
        }
        let target = String(decoding: link.prefix(max(0, count)), as: UTF8.self)
        let parts = target.split(separator: "/")
        if let index = parts.lastIndex(of: "zoneinfo") {
            let linked = parts[(index + 1)...].joined(separator: "/")
            if isName(linked) { return TimeZoneRules(name: linked, file) }
        }
        return TimeZoneRules(name: name ?? "local", file)
    }

    /// Zones are links to one another, so links are followed.
    private static func bytes(_ path: String, limit: Int = TimeZoneFile.largest) -> [UInt8]? {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
            (1...off_t(limit)).contains(status.st_size)
        else { return nil }
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        let count = bytes.withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress, $0.count) }
        return count == bytes.count ? bytes : nil
    }

    private static func exists(_ path: String) -> Bool { access(path, R_OK) == 0 }
}
