// What disks say of their own health (SMART). Only root may ask a disk, so a timer of root's does
// (`kinglet-smart.timer`) and leaves smartctl's report of each disk below `/run/kinglet-smart`; where
// there is no report, the attribute logs of smartd are read, which know ATA disks only.

import Prometheus

/// `kinglet_machine_smart_…`.
struct SMARTReports: Reading {
    static let name = "smart"
    static let families = SMARTFact.allCases.map(\.family)
    let period = Duration.seconds(300)

    /// The most that is read of one report; a real one has 10 to 30 KiB.
    static let sizeLimit = 256 * 1024
    /// The timer runs every hour; in seconds.
    static let ageLimit: Double = 86_400

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        var parts = IndependentParts()
        let directory = "\(machine.roots.run)/kinglet-smart"
        // Names that begin with a dot are reports that are being written.
        let devices = try SystemFile.entries(directory, prefix: "")
            .filter { $0.hasSuffix(".json") }.map { String($0.dropLast(5)) }
            .filter(WholeDisk.isDeviceName)
        for device in devices.prefix(WholeDisk.limit) {
            parts.attempt { () throws(ReadingError) in
                try Self.readReport(device, "\(directory)/\(device).json", machine, &samples)
            }
        }
        if devices.isEmpty {
            try Self.readLogs(machine, &parts, &samples)
        }
        try parts.finish()
    }

    private static func readReport(
        _ device: String, _ path: String, _ machine: Machine, _ samples: inout [Sample]
    ) throws(ReadingError) {
        guard let json = try SystemFile.bytes(path, limit: sizeLimit + 1) else { return }
        guard json.count <= sizeLimit, let report = SmartctlReport(json) else {
            throw ReadingError(
                .malformed, subject: path, message: "this is no report of smartctl",
                advice: "see 'systemctl status kinglet-smart.service'")
        }
        guard !report.isWithoutSMART else { return }
        var facts: [SMARTFact: Double] = [:]
        facts[.time] = report.localTime?.timeT
        // A sleeping disk is not asked: its report is touched and keeps its time.
        if let age = try machine.calls.age(of: path, below: machine.roots.prefix), age > ageLimit {
            try facts.append(device: device, subject: path, to: &samples)
            throw ReadingError(
                .timeout, subject: path,
                message: "this report is older than a day: the timer does not run",
                advice: "see 'systemctl status kinglet-smart.timer kinglet-smart.service'")
        }
        let health = report.facts
        guard !health.isEmpty || !report.isUnanswered else {
            throw ReadingError(
                .inputOutput, subject: "/dev/\(device)",
                message: report.complaint.printable(120),
                advice: "try 'smartctl -a /dev/\(device)' as root")
        }
        try facts.merging(health) { own, _ in own }
            .append(device: device, subject: path, to: &samples)
    }

    private static func readLogs(
        _ machine: Machine, _ parts: inout IndependentParts, _ samples: inout [Sample]
    ) throws(ReadingError) {
        let directory = "\(machine.roots.lib)/smartmontools"
        var count = 0
        var models: [String: Int] = [:]
        for file in try SystemFile.entries(directory, prefix: SmartdLog.prefix)
        where count < WholeDisk.limit {
            guard let model = SmartdLog.model(file) else { continue }
            parts.attempt { () throws(ReadingError) in
                let path = "\(directory)/\(file)"
                // smartd keeps the logs of disks that are gone.
                let age = try machine.calls.age(of: path, below: machine.roots.prefix)
                if let age, age > ageLimit { return }
                guard let tail = try SystemFile.tail(path, limit: SmartdLog.tail) else { return }
                count += 1
                let number = (models[model] ?? 0) + 1
                models[model] = number
                guard let facts = SmartdLog.facts(tail) else {
                    throw ReadingError(
                        .malformed, subject: "\(directory)/\(SmartdLog.prefix)\(model)",
                        message: "its last line is no line of smartd's attribute log",
                        advice: "remove the file and restart smartd")
                }
                let device = number == 1 ? model : "\(model) \(number)"
                try facts.append(device: device, subject: directory, to: &samples)
            }
        }
    }
}
