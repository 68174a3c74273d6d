// Services that the owner wants to see, and how many have failed, as systemd tells everybody who
// asks it.

import Prometheus

/// `kinglet_machine_unit_active` and its companions.
struct SystemdUnits: Reading {
    static let name = "systemd"
    static let families = [
        FamilyDescription(
            name: "kinglet_machine_unit_active", kind: .gauge,
            help: "Whether this systemd unit is active."),
        FamilyDescription(
            name: "kinglet_machine_unit_failed", kind: .gauge,
            help: "Whether this systemd unit has failed."),
        FamilyDescription(
            name: "kinglet_machine_unit_restarts_total", kind: .counter,
            help: "Restarts of this service by systemd."),
        FamilyDescription(
            name: "kinglet_machine_failed_units", kind: .gauge,
            help: "Number of systemd units that have failed."),
    ]
    /// Each read starts two processes.
    let period = Duration.seconds(120)
    /// Both may use up their own limit.
    let timeout = Duration.seconds(20)

    private static let states: Set<String> = [
        "active", "reloading", "refreshing", "inactive", "failed", "activating", "deactivating",
        "maintenance",
    ]

    private let units: [String]

    /// Shows the units of the settings that are installed.
    init(_ settings: HardwareSettings) {
        units = Array(settings.units.filter(Self.isUnitName).prefix(HardwareSettings.unitLimit))
    }

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        let manager = try machine.calls.systemctl(["show", "--property=NFailedUnits"])
        guard let manager else { return }
        var parts = IndependentParts()
        parts.attempt { () throws(ReadingError) in
            samples.append(Sample(Self.families[3].name, value: try Self.failedUnits(manager)))
        }
        parts.attempt { () throws(ReadingError) in
            // Without a name it would show the manager again.
            guard !units.isEmpty else { return }
            let shown = try machine.calls.systemctl(
                ["show", "--property=Id,LoadState,ActiveState,NRestarts", "--"] + units)
            try appendUnits(shown ?? "", to: &samples)
        }
        try parts.finish()
    }

    private static func failedUnits(_ text: String) throws(ReadingError) -> Double {
        for line in text.split(separator: "\n") where line.hasPrefix("NFailedUnits=") {
            guard let count = UInt32(line.dropFirst(13)) else { throw malformed(line) }
            return Double(count)
        }
        throw malformed(text.prefix(40))
    }

    /// One block of properties for each unit, divided by empty lines.
    private func appendUnits(_ text: String, to samples: inout [Sample]) throws(ReadingError) {
        var parts = IndependentParts()
        var seen: Set<String> = []
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        for block in lines.split(separator: "") {
            var properties: [Substring: Substring] = [:]
            for line in block.prefix(8) {
                guard let equals = line.firstIndex(of: "=") else { continue }
                properties[line[..<equals]] = line[line.index(after: equals)...]
            }
            // Not a unit's; or two names of one unit.
            guard let id = properties["Id"], seen.count < HardwareSettings.unitLimit,
                seen.insert(String(id)).inserted
            else { continue }
            parts.attempt { () throws(ReadingError) in
                guard Self.isUnitName(String(id)) else { throw Self.malformed(id) }
                try append(String(id), properties, to: &samples)
            }
        }
        try parts.finish()
    }

    private func append(
        _ unit: String, _ properties: [Substring: Substring], to samples: inout [Sample]
    ) throws(ReadingError) {
        // Not installed, or switched off for good.
        guard let load = properties["LoadState"], load != "not-found", load != "masked" else {
            return
        }
        guard let active = properties["ActiveState"], Self.states.contains(String(active)) else {
            throw Self.malformed(properties["ActiveState"] ?? "no ActiveState")
        }
        let label = [("unit", unit)]
        let isActive = ["active", "reloading", "refreshing"].contains(active)
        samples.append(Sample(Self.families[0].name, labels: label, value: isActive ? 1 : 0))
        samples.append(
            Sample(Self.families[1].name, labels: label, value: active == "failed" ? 1 : 0))
        // Only services are restarted.
        guard let restarts = properties["NRestarts"] else { return }
        guard let count = UInt32(restarts) else { throw Self.malformed(restarts) }
        samples.append(Sample(Self.families[2].name, labels: label, value: Double(count)))
    }

    /// Whether a text is the full name of a unit, and nothing that `systemctl` could take for an
    /// option or a pattern.
    static func isUnitName(_ name: String) -> Bool {
        guard (3...128).contains(name.utf8.count), let dot = name.lastIndex(of: "."),
            dot != name.startIndex, !name.hasPrefix("-"), !name.hasSuffix(".")
        else { return false }
        return name.utf8.allSatisfy { byte in
            let character = Character(Unicode.Scalar(byte))
            return character.isASCII
                && (character.isLetter || character.isNumber || ":-_.\\@".contains(character))
        }
    }

    private static func malformed(_ found: Substring) -> ReadingError {
        ReadingError(
            .malformed, subject: "systemctl show",
            message: "cannot understand \(SystemFile.quoted(String(found).printable(40)))",
            advice: "report this with the output of 'systemctl --version'")
    }
}
