// Errors that ext4 has written into its superblock: they outlive a boot, until a check of the file
// system clears them.

import Prometheus

/// `kinglet_machine_ext4_errors_total` and the time of the last one.
struct Ext4Errors: Reading {
    static let name = "ext4"
    let period = Duration.seconds(60)

    static let families = [
        FamilyDescription(
            name: "kinglet_machine_ext4_errors_total", kind: .counter,
            help: "Errors that ext4 found in itself since its last check."),
        FamilyDescription(
            name: "kinglet_machine_ext4_last_error_timestamp_seconds", kind: .gauge,
            help: "When ext4 last found an error."),
    ]

    /// ext4 keeps 40 bits of seconds.
    private static let times: ClosedRange<Int64> = 0...(1 << 40)

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        let directory = "\(machine.roots.sys)/fs/ext4"
        // A folder `features` stands beside those of the file systems; it has no counter.
        let devices = try SystemFile.entries(directory, prefix: "")
            .filter {
                WholeDisk.isDeviceName($0) && SystemFile.exists("\(directory)/\($0)/errors_count")
            }
        var parts = IndependentParts()
        for device in devices.prefix(Filesystems.limit) {
            parts.attempt { () throws(ReadingError) in
                let path = "\(directory)/\(device)/errors_count"
                guard let count = try SystemFile.integer(path, in: 0...Int64(UInt32.max)) else {
                    return
                }
                samples.append(
                    Sample(
                        "kinglet_machine_ext4_errors_total", labels: [("device", device)],
                        value: Double(count)))
            }
            parts.attempt { () throws(ReadingError) in
                let path = "\(directory)/\(device)/last_error_time"
                guard let time = try SystemFile.integer(path, in: Self.times), time != 0 else {
                    return
                }
                samples.append(
                    Sample(
                        "kinglet_machine_ext4_last_error_timestamp_seconds",
                        labels: [("device", device)], value: Double(time)))
            }
        }
        try parts.finish()
    }
}
