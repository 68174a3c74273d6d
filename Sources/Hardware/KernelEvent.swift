// What is worth counting in the kernel's log, and by which words it is known.
//
// The words are those of the kernel's sources from 5.10 to 6.12; where a message was reworded, both
// forms are here.

/// A kind of event that the kernel reports in its log.
enum KernelEvent: String, CaseIterable, Sendable {
    case undervoltage
    case voltageNormalised = "voltage_normalised"
    case throttling
    case storageError = "storage_error"
    case filesystemError = "filesystem_error"
    case remountReadOnly = "remount_readonly"
    case outOfMemory = "out_of_memory"
    case usbOverCurrent = "usb_over_current"
    case hungTask = "hung_task"

    /// Alternatives; of one, all parts have to occur in the text, in lower case.
    private var phrases: [[String]] {
        switch self {
        case .undervoltage:
            [["under-voltage detected"], ["undervoltage detected"]]
        case .voltageNormalised:
            [["voltage normalised"]]
        case .throttling:
            // Not "RT throttling activated", which is about real-time tasks.
            [
                ["cpu clock throttled"], ["cpu clock is throttled"],
                ["critical temperature reached"],
            ]
        case .storageError:
            [
                // Any block device. Not "operation not supported error", which refuses a discard.
                ["i/o error, dev "], ["critical medium error, dev "], ["timeout error, dev "],
                ["transport error, dev "], ["protection error, dev "], ["buffer i/o error"],
                // SD cards and eMMC: -110 is a time-out, -84 a wrong checksum.
                ["mmc", "error -110"], ["mmc", "error -84"], ["mmc", "card stuck"],
                ["mmc", "timeout waiting for hardware"],
                ["nvme", " timeout, "], ["nvme", "controller is down"],
                ["nvme", "device not ready"],
                ["ata", "failed command: "],
                // USB bridges that stop answering.
                ["uas_eh_abort_handler"],
            ]
        case .filesystemError:
            [
                ["ext4-fs error"], ["fat-fs (", "error"], ["btrfs", "error (device"],
                ["btrfs critical (device"], ["btrfs", "csum failed"],
                ["xfs (", "corruption"], ["aborting journal on device"],
            ]
        case .remountReadOnly:
            [
                ["remounting filesystem read-only"], ["filesystem has been set read-only"],
                ["forced readonly"],
            ]
        case .outOfMemory:
            [["out of memory: kill"]]
        case .usbOverCurrent:
            [["usb", "over-current c"], ["hub", "over-current c"]]
        case .hungTask:
            [["task ", "blocked for more than"], ["task ", "blocked in i/o wait for more than"]]
        }
    }

    private static let patterns: [(event: KernelEvent, parts: [[UInt8]])] = allCases.flatMap {
        event in
        event.phrases.map { (event: event, parts: $0.map { Array($0.utf8) }) }
    }

    /// The most that is looked at of one message, in bytes.
    private static let textLimit = 1024

    /// The kinds that a message tells of, each once.
    static func events(in text: ArraySlice<UInt8>) -> Set<KernelEvent> {
        let lowered = text.prefix(textLimit).map { (0x41...0x5A) ~= $0 ? $0 | 0x20 : $0 }
        var found: Set<KernelEvent> = []
        for pattern in patterns where pattern.parts.allSatisfy({ contains(lowered, $0) }) {
            found.insert(pattern.event)
        }
        return found
    }

    private static func contains(_ text: [UInt8], _ part: [UInt8]) -> Bool {
        guard let first = part.first, text.count >= part.count else { return false }
        return text.withUnsafeBufferPointer { text in
            for start in 0...(text.count - part.count)
            where text[start] == first && text[start..<(start + part.count)].elementsEqual(part) {
                return true
            }
            return false
        }
    }
}
