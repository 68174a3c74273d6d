// The network interfaces that are hardware (they have a `device`; bridges, VLANs and the loopback
// have none): traffic and errors from one table, link and speed from `/sys`, and how well Wi-Fi is
// received from another table.
//
// `/proc/net/wireless` is the old interface of Wi-Fi, which Raspberry Pi's and Debian's kernels still
// have; the kernel notes its first use in its log, once.

import Prometheus

/// `kinglet_machine_network_…` and `kinglet_machine_wireless_…`.
struct Network: Reading {
    static let name = "network"
    let period = Duration.seconds(15)

    /// More interfaces than this are not looked at.
    static let interfaceLimit = 16
    private static let prefix = "kinglet_machine_network_"

    /// The fields of `/proc/net/dev` that are shown: how many fields stand between it and the one
    /// before, and its family.
    private static let counters = [
        counter(0, "received_bytes", "Bytes received."),
        counter(1, "receive_errors", "Packets received with errors."),
        counter(0, "receive_dropped", "Received packets that were dropped."),
        counter(4, "transmitted_bytes", "Bytes sent."),
        counter(1, "transmit_errors", "Packets that could not be sent for errors."),
        counter(0, "transmit_dropped", "Packets dropped instead of sent."),
    ]

    private static func counter(
        _ skipped: Int, _ name: String, _ help: String
    ) -> (skipped: Int, family: FamilyDescription) {
        let name = "\(prefix)\(name)_total"
        return (skipped, FamilyDescription(name: name, kind: .counter, help: help))
    }

    static let families =
        counters.map(\.family) + [
            FamilyDescription(
                name: "\(prefix)carrier_changes_total", kind: .counter,
                help: "How often the link came or went."),
            FamilyDescription(
                name: "\(prefix)up", kind: .gauge, help: "Whether the interface has a link."),
            FamilyDescription(
                name: "\(prefix)speed_bytes_per_second", kind: .gauge,
                help: "Speed of the link that is up."),
            FamilyDescription(
                name: "kinglet_machine_wireless_signal_dbm", kind: .gauge,
                help: "Strength of the Wi-Fi signal; below -75 is weak."),
            FamilyDescription(
                name: "kinglet_machine_wireless_quality_ratio", kind: .gauge,
                help: "Quality of the Wi-Fi link, 1 at best."),
        ]

    /// What `operstate` may say.
    private static let states: Set = [
        "up", "unknown", "dormant", "testing", "lowerlayerdown", "notpresent", "down",
    ]
    /// In Mbit/s; faster than any network interface.
    private static let speedLimit: Int64 = 10_000_000
    /// In dBm. A driver that does not measure says 0 or -256, or a positive number on its own scale.
    private static let signalRange: ClosedRange<Int64> = -150 ... -1
    /// The quality that drivers give at -40 dBm and above.
    private static let bestQuality: Int64 = 70

    /// An interface, by its name in both forms.
    private struct Interface {
        let name: String
        let bytes: [UInt8]
        var labels: [(String, String)] { [("interface", name)] }
    }

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        let directory = "\(machine.roots.sys)/class/net"
        let interfaces = try interfaces(directory)
        guard !interfaces.isEmpty else { return }
        let tables = "\(machine.roots.proc)/net"
        var parts = IndependentParts()
        parts.attempt { () throws(ReadingError) in
            try traffic("\(tables)/dev", interfaces, &samples)
        }
        for interface in interfaces {
            parts.attempt { () throws(ReadingError) in
                try link("\(directory)/\(interface.name)", interface, &samples)
            }
        }
        parts.attempt { () throws(ReadingError) in
            try wireless("\(tables)/wireless", interfaces, &samples)
        }
        try parts.finish()
    }

    private func interfaces(_ directory: String) throws(ReadingError) -> [Interface] {
        var interfaces: [Interface] = []
        for name in try SystemFile.entries(directory, prefix: "")
        where interfaces.count < Self.interfaceLimit {
            // The kernel allows other bytes too, but no name that anybody gives has them.
            let bytes = Array(name.utf8)
            guard bytes.allSatisfy({ (0x21...0x7E).contains($0) }), bytes.first != 0x2E,
                SystemFile.exists("\(directory)/\(name)/device")
            else { continue }
            interfaces.append(Interface(name: name, bytes: bytes))
        }
        return interfaces
    }

    /// Goes to the next line of one of the interfaces, behind its name; nil at the end.
    private static func next(
        _ table: inout KernelTable, of interfaces: [Interface]
    ) -> Interface? {
        while table.nextLine() {
            guard let key = table.key() else { continue }
            if let interface = interfaces.first(where: { key.elementsEqual($0.bytes) }) {
                return interface
            }
        }
        return nil
    }

    private func traffic(
        _ path: String, _ interfaces: [Interface], _ samples: inout [Sample]
    ) throws(ReadingError) {
        guard var table = try KernelTable(path) else { return }
        var parts = IndependentParts()
        while let interface = Self.next(&table, of: interfaces) {
            parts.attempt { () throws(ReadingError) in
                for (skipped, family) in Self.counters {
                    table.skip(skipped)
                    let value = Double(try table.number())
                    samples.append(Sample(family.name, labels: interface.labels, value: value))
                }
            }
        }
        try parts.finish()
    }

    /// The state of the link. An interface that vanished since it was listed has no files.
    ///
    /// `carrier` and `speed` cannot be read (EINVAL) of an interface that is switched off, so they are
    /// asked only where `operstate` does not tell.
    private func link(
        _ path: String, _ interface: Interface, _ samples: inout [Sample]
    ) throws(ReadingError) {
        let labels = interface.labels
        if let changes = try SystemFile.integer("\(path)/carrier_changes", in: 0 ... .max) {
            samples.append(
                Sample(
                    "\(Self.prefix)carrier_changes_total", labels: labels, value: Double(changes)))
        }
        guard let state = try SystemFile.text("\(path)/operstate") else { return }
        guard Self.states.contains(state) else {
            throw .unknownForm(
                "\(path)/operstate", "expected a state, found \(SystemFile.quoted(state))")
        }
        var isUp = state == "up"
        if state == "unknown" {
            // Drivers that keep no state (some USB modems) still have a carrier.
            isUp = try SystemFile.integer("\(path)/carrier", in: 0...1) == 1
        }
        samples.append(Sample("\(Self.prefix)up", labels: labels, value: isUp ? 1 : 0))
        // An unknown speed is -1, or the same as an unsigned number; Wi-Fi has none.
        guard isUp, let speed = try SystemFile.integer("\(path)/speed"),
            speed != -1, speed != 0, speed != Int64(UInt32.max)
        else { return }
        guard (1...Self.speedLimit).contains(speed) else {
            throw .unknownForm("\(path)/speed", "\(speed) Mbit/s is no speed")
        }
        samples.append(
            Sample(
                "\(Self.prefix)speed_bytes_per_second", labels: labels,
                value: Double(speed) * 125_000))
    }

    private func wireless(
        _ path: String, _ interfaces: [Interface], _ samples: inout [Sample]
    ) throws(ReadingError) {
        guard var table = try KernelTable(path) else { return }
        var parts = IndependentParts()
        while let interface = Self.next(&table, of: interfaces) {
            parts.attempt { () throws(ReadingError) in
                table.skip(1)
                let link = try table.measure()
                let level = try table.measure()
                // A level on another scale goes with a quality on another scale.
                guard Self.signalRange.contains(level) else { return }
                let signal = Double(level)
                samples.append(
                    Sample(
                        "kinglet_machine_wireless_signal_dbm", labels: interface.labels,
                        value: signal))
                // Some drivers outside of the kernel count it to 100, and do not say so.
                guard (0...Self.bestQuality).contains(link) else { return }
                samples.append(
                    Sample(
                        "kinglet_machine_wireless_quality_ratio", labels: interface.labels,
                        value: Double(link) / Double(Self.bestQuality)))
            }
        }
        try parts.finish()
    }
}

extension KernelTable {
    /// The next word as a measure of `/proc/net/wireless`: a whole number of up to three digits, with
    /// a point behind it when it is new since the last read.
    fileprivate mutating func measure() throws(ReadingError) -> Int64 {
        var digits = word()
        let isNegative = digits.first == 0x2D
        if isNegative { digits.removeFirst() }
        if digits.last == 0x2E { digits.removeLast() }
        guard digits.count <= 3, let value = Self.number(digits) else { throw malformed() }
        return isNegative ? -Int64(value) : Int64(value)
    }
}
