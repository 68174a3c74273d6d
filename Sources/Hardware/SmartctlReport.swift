// What `smartctl --json --all` prints about a disk, as far as it is shown (smartmontools 7, ATA and
// NVMe).

internal import Foundation

/// One report of smartctl. Names are its own, in Swift's spelling.
struct SmartctlReport: Decodable {
    struct Run: Decodable {
        /// Bits: 0 the question was not understood, 1 the disk could not be opened, others about
        /// the disk's health.
        var exitStatus: UInt8
        var messages: [Message]?
    }
    struct Message: Decodable { var string: String? }
    struct Time: Decodable { var timeT: Double }
    struct Status: Decodable { var passed: Bool? }
    struct Support: Decodable { var available: Bool? }
    struct Temperature: Decodable { var current: Double? }
    struct PowerOnTime: Decodable {
        var hours: Double
        var minutes: Double?
    }
    struct Percentage: Decodable { var currentPercent: Double? }
    struct Attributes: Decodable { var table: [Attribute] }
    struct Attribute: Decodable {
        struct Raw: Decodable {
            var value: Double
            var string: String?
        }
        var id: UInt8
        var name: String
        var value: Double
        var raw: Raw

        /// The number that smartctl shows first: some disks keep others in the same six bytes.
        var shown: Double {
            raw.string.flatMap { Double($0.prefix { $0.isASCII && $0.isNumber }) } ?? raw.value
        }
    }
    struct HealthLog: Decodable {
        var temperature: Double?
        var availableSpare: Double?
        var percentageUsed: Double?
        var dataUnitsWritten: Double?
        var powerOnHours: Double?
        var unsafeShutdowns: Double?
        var mediaErrors: Double?
    }

    var smartctl: Run
    var localTime: Time?
    var smartSupport: Support?
    var smartStatus: Status?
    var temperature: Temperature?
    var powerOnTime: PowerOnTime?
    var enduranceUsed: Percentage?
    var spareAvailable: Percentage?
    var logicalBlockSize: Double?
    var ataSmartAttributes: Attributes?
    var nvmeSmartHealthInformationLog: HealthLog?

    /// Nil for what is no report.
    init?(_ json: [UInt8]) {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        guard let report = try? decoder.decode(SmartctlReport.self, from: Data(json)) else {
            return nil
        }
        self = report
    }

    /// Whether smartctl does not know how to ask this disk, or the disk has nothing to say: a
    /// stick, or a bridge on USB that lets no question through. There is nothing to be mended.
    var isWithoutSMART: Bool {
        smartctl.exitStatus & 1 != 0 || smartSupport?.available == false
    }

    /// Whether the disk was there and did not answer.
    var isUnanswered: Bool { smartctl.exitStatus & 2 != 0 }

    /// Why there is no answer, in smartctl's words.
    var complaint: String {
        smartctl.messages?.compactMap(\.string).first
            ?? "smartctl ended with \(smartctl.exitStatus)"
    }

    /// What it tells about the disk, but for the time.
    var facts: [SMARTFact: Double] {
        var facts: [SMARTFact: Double] = [:]
        facts[.healthy] = smartStatus?.passed.map { $0 ? 1 : 0 }
        facts[.temperature] = temperature?.current ?? nvmeSmartHealthInformationLog?.temperature
        facts[.used] = enduranceUsed?.currentPercent.map { $0 / 100 }
        facts[.spare] = spareAvailable?.currentPercent.map { $0 / 100 }
        facts[.powerOnSeconds] = powerOnTime.map { $0.hours * 3600 + ($0.minutes ?? 0) * 60 }
        if let log = nvmeSmartHealthInformationLog { addNVMe(log, to: &facts) }
        if let table = ataSmartAttributes?.table { addATA(table, to: &facts) }
        return facts
    }

    private func addNVMe(_ log: HealthLog, to facts: inout [SMARTFact: Double]) {
        facts[.used] = log.percentageUsed.map { $0 / 100 } ?? facts[.used]
        facts[.spare] = log.availableSpare.map { $0 / 100 } ?? facts[.spare]
        facts[.mediaErrors] = log.mediaErrors
        facts[.unsafeShutdowns] = log.unsafeShutdowns
        facts[.powerOnSeconds] = facts[.powerOnSeconds] ?? log.powerOnHours.map { $0 * 3600 }
        // NVM Express 2.0, figure 207: thousands of 512 bytes.
        facts[.writtenBytes] = log.dataUnitsWritten.map { $0 * 512_000 }
    }

    // Beyond a few, the numbers of attributes mean something else with each maker; smartctl's
    // drive database knows, and its names tell.

    private static let mediaErrors: Set = ["Reported_Uncorrect", "Uncorrectable_Error_Cnt"]
    private static let powerLosses: Set = [
        "Unexpect_Power_Loss_Ct", "Unsafe_Shutdown_Count", "POR_Recovery_Count",
        "Power_Loss_Count", "Unexpected_Power_Loss",
    ]
    /// Those whose normalised value is the percentage of life that is left, the plainest first.
    private static let lifeLeft = [
        "SSD_Life_Left", "Percent_Lifetime_Remain", "Remaining_Lifetime_Perc",
        "Media_Wearout_Indicator", "Wear_Leveling_Count",
    ]
    private static let spareLeft = "Available_Reservd_Space"

    private func addATA(_ table: [Attribute], to facts: inout [SMARTFact: Double]) {
        for attribute in table {
            switch attribute.id {
            case 5: facts[.reallocatedSectors] = attribute.shown
            case 197: facts[.pendingSectors] = attribute.shown
            default: break
            }
            if Self.mediaErrors.contains(attribute.name) {
                facts[.mediaErrors] = attribute.shown
            } else if Self.powerLosses.contains(attribute.name) {
                facts[.unsafeShutdowns] = attribute.shown
            } else if attribute.name == Self.spareLeft, attribute.value <= 100 {
                facts[.spare] = facts[.spare] ?? attribute.value / 100
            } else if facts[.writtenBytes] == nil, let unit = writtenUnit(attribute.name) {
                facts[.writtenBytes] = attribute.raw.value * unit
            }
        }
        for name in Self.lifeLeft where facts[.used] == nil {
            guard let left = table.first(where: { $0.name == name })?.value, left <= 100 else {
                continue
            }
            facts[.used] = (100 - left) / 100
        }
    }

    /// What one of the attribute's raw value is in bytes.
    private func writtenUnit(_ name: String) -> Double? {
        switch name {
        case "Total_LBAs_Written": logicalBlockSize ?? 512
        case "Host_Writes_MiB": 1_048_576
        case "Host_Writes_32MiB": 33_554_432
        case "Host_Writes_GiB", "Lifetime_Writes_GiB", "Total_Writes_GiB": 1_073_741_824
        default: nil
        }
    }
}
