// The hardware watchdogs, which restart a machine that hangs: whether somebody feeds them, and what
// they are set to. Which of the attributes there are depends on the driver, and all of them on the
// kernel (WATCHDOG_SYSFS). The device node is never opened: that would arm it.

import Prometheus

/// `kinglet_machine_watchdog_…`.
struct Watchdog: Reading {
    static let name = "watchdog"
    let period = Duration.seconds(60)

    /// More devices than this are not looked at.
    private static let deviceLimit = 8
    /// `WDIOF_CARDRESET` in `bootstatus`: the watchdog restarted the machine.
    private static let cardReset: Int64 = 0x20

    private static let prefix = "kinglet_machine_watchdog_"

    static let families = [
        FamilyDescription(
            name: "\(prefix)info", kind: .info, help: "What the watchdog calls itself."),
        FamilyDescription(
            name: "\(prefix)active", kind: .gauge, help: "Whether the watchdog is armed."),
        FamilyDescription(
            name: "\(prefix)timeout_seconds", kind: .gauge,
            help: "Time without a sign of life until it restarts the machine."),
        FamilyDescription(
            name: "\(prefix)timeleft_seconds", kind: .gauge, help: "Time left until then."),
        FamilyDescription(
            name: "\(prefix)nowayout", kind: .gauge,
            help: "Whether the watchdog, once armed, stays armed."),
        FamilyDescription(
            name: "\(prefix)caused_reset", kind: .gauge,
            help: "Whether it caused the last restart, where its driver can tell."),
    ]

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        let directory = "\(machine.roots.sys)/class/watchdog"
        let devices = try SystemFile.entries(directory, prefix: "watchdog")
            .compactMap { UInt16($0.dropFirst(8)) }.sorted()
        var parts = IndependentParts()
        for device in devices.prefix(Self.deviceLimit) {
            parts.attempt { () throws(ReadingError) in
                try read("\(directory)/watchdog\(device)", "watchdog\(device)", &samples)
            }
        }
        try parts.finish()
    }

    private func read(
        _ path: String, _ device: String, _ samples: inout [Sample]
    ) throws(ReadingError) {
        let labels = [("device", device)]
        var parts = IndependentParts()
        parts.attempt { () throws(ReadingError) in
            guard let identity = try SystemFile.text("\(path)/identity") else { return }
            samples.append(
                Sample(
                    "\(Self.prefix)info",
                    labels: labels + [("identity", identity.printable(80))], value: 1))
        }
        parts.attempt { () throws(ReadingError) in
            guard let state = try SystemFile.text("\(path)/state") else { return }
            guard ["active", "inactive"].contains(state) else {
                throw .unknownForm(
                    "\(path)/state", "expected a state, found \(SystemFile.quoted(state))")
            }
            samples.append(
                Sample("\(Self.prefix)active", labels: labels, value: state == "active" ? 1 : 0))
        }
        func number(_ file: String, _ name: String, upTo limit: UInt32, _ value: (Int64) -> Int64) {
            parts.attempt { () throws(ReadingError) in
                guard let number = try SystemFile.integer("\(path)/\(file)", in: 0...Int64(limit))
                else { return }
                samples.append(
                    Sample("\(Self.prefix)\(name)", labels: labels, value: Double(value(number))))
            }
        }
        number("timeout", "timeout_seconds", upTo: .max) { $0 }
        number("timeleft", "timeleft_seconds", upTo: .max) { $0 }
        number("nowayout", "nowayout", upTo: 1) { $0 }
        number("bootstatus", "caused_reset", upTo: .max) { $0 & Self.cardReset == 0 ? 0 : 1 }
        try parts.finish()
    }
}
