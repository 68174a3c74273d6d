// What the disks have done since boot, by `/proc/diskstats`, and what was ever written to each
// medium while this program watched: the wear of an SD card can be told by nothing else.

import Prometheus

/// `kinglet_machine_disk_…`.
struct Disks: Reading {
    static let name = "disk"
    static let remembers = true
    let period = Duration.seconds(15)

    static let families = [
        family("read_bytes_total", "Bytes read from the disk since boot."),
        family("written_bytes_total", "Bytes written to the disk since boot."),
        family("reads_total", "Reads that the disk completed since boot."),
        family("writes_total", "Writes that the disk completed since boot."),
        family("read_seconds_total", "Time that all reads took together."),
        family("write_seconds_total", "Time that all writes took together."),
        family("busy_seconds_total", "Time during which the disk had something to do."),
        family(
            "lifetime_written_bytes_total",
            "Bytes written to this medium, over all boots since Kinglet first saw it."),
        family("errors_total", "Commands that the SCSI disk ended with an error since boot."),
    ]

    private static func family(_ name: String, _ help: String) -> FamilyDescription {
        FamilyDescription(name: "kinglet_machine_disk_\(name)", kind: .counter, help: help)
    }

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        let path = "\(machine.roots.proc)/diskstats"
        guard let lines = try SystemFile.lines(path) else { return }
        var parts = IndependentParts()
        var names: Set<String> = []
        var media: Set<String> = []
        for line in lines where names.count < WholeDisk.limit {
            let words = line.split(separator: 0x20, maxSplits: 19)
            guard words.count > 2 else { continue }
            let name = String(decoding: words[2], as: UTF8.self)
            guard WholeDisk.isCandidate(name),
                SystemFile.exists("\(machine.roots.sys)/block/\(name)"),
                names.insert(name).inserted
            else { continue }
            func append(_ family: String, _ value: Double) {
                samples.append(
                    Sample(
                        "kinglet_machine_disk_\(family)", labels: [("device", name)], value: value))
            }
            parts.attempt { () throws(ReadingError) in
                guard let counts = Counts(words) else {
                    throw .unknownForm(path, "cannot understand the line of \(name)")
                }
                append("read_bytes_total", Double(counts.bytesRead))
                append("written_bytes_total", Double(counts.bytesWritten))
                append("reads_total", Double(counts.reads))
                append("writes_total", Double(counts.writes))
                append("read_seconds_total", Double(counts.readMilliseconds) / 1000)
                append("write_seconds_total", Double(counts.writeMilliseconds) / 1000)
                append("busy_seconds_total", Double(counts.busyMilliseconds) / 1000)
                // Two media that call themselves the same cannot be told from one another.
                guard let key = try WholeDisk.mediumKey(name, machine.roots),
                    media.insert(key).inserted,
                    let total = machine.memory.total(key, kernelCounter: counts.bytesWritten)
                else { return }
                append("lifetime_written_bytes_total", Double(total))
            }
            parts.attempt { () throws(ReadingError) in
                guard let errors = try Self.errors(name, machine.roots) else { return }
                append("errors_total", Double(errors))
            }
        }
        try parts.finish()
    }

    /// What one line says.
    private struct Counts {
        var reads: UInt64
        var bytesRead: UInt64
        var readMilliseconds: UInt64
        var writes: UInt64
        var bytesWritten: UInt64
        var writeMilliseconds: UInt64
        var busyMilliseconds: UInt64

        /// A sector is 512 bytes here, whatever the disk's own are.
        private static let sector: UInt64 = 512
        /// What a sample can hold exactly; more is no count of anything.
        private static let limit: UInt64 = 1 << 53

        /// Nil when a number is missing, is none, or is larger than anything that can be.
        init?(_ words: [ArraySlice<UInt8>]) {
            guard words.count >= 14 else { return nil }
            var numbers: [UInt64] = []
            for word in words[3..<14] {
                guard let number = KernelTable.number(word), number <= Self.limit else {
                    return nil
                }
                numbers.append(number)
            }
            guard numbers[2] <= Self.limit / Self.sector, numbers[6] <= Self.limit / Self.sector
            else { return nil }
            reads = numbers[0]
            bytesRead = numbers[2] * Self.sector
            readMilliseconds = numbers[3]
            writes = numbers[4]
            bytesWritten = numbers[6] * Self.sector
            writeMilliseconds = numbers[7]
            busyMilliseconds = numbers[9]
        }
    }

    /// SCSI's count of failed commands, in hexadecimal; other disks have none.
    private static func errors(
        _ name: String, _ roots: HardwareRoots
    ) throws(ReadingError) -> UInt32? {
        let path = "\(roots.sys)/block/\(name)/device/ioerr_cnt"
        guard let text = try SystemFile.text(path) else { return nil }
        guard let count = UInt32(hexadecimal: text) else {
            throw .unknownForm(
                path, "expected a hexadecimal number, found \(SystemFile.quoted(text))")
        }
        return count
    }
}
