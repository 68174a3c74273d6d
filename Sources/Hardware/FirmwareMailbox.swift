// What may be asked of the Raspberry Pi's firmware, and the seam through which it is asked.
//
// The mailbox also accepts questions that change or hang the machine (0x00030010 executes code),
// so nothing but the cases below can be expressed: they are the allow-list.

/// A clock of the SoC that the firmware measures.
enum FirmwareClock: String, Sendable, CaseIterable {
    case arm, core, v3d, isp, emmc

    /// Its number in property tags.
    var identifier: UInt32 {
        switch self {
        case .emmc: 1
        case .arm: 3
        case .core: 4
        case .v3d: 5
        case .isp: 7
        }
    }
}

/// A rail whose voltage the firmware of every model knows.
enum FirmwareRail: String, Sendable, CaseIterable {
    case core
    case sdramController = "sdram_c"
    case sdramInputOutput = "sdram_i"
    case sdramPhysical = "sdram_p"

    /// Its number in property tags.
    var identifier: UInt32 {
        switch self {
        case .core: 1
        case .sdramController: 2
        case .sdramPhysical: 3
        case .sdramInputOutput: 4
        }
    }
}

/// A property that may be asked through `/dev/vcio`.
enum PropertyTag: Sendable, Hashable, CaseIterable {
    /// When the firmware was built, in seconds since 1970.
    case firmwareRevision
    /// A rail's voltage; answers with its number and microvolts.
    case voltage(FirmwareRail)
    /// The SoC's temperature; answers with the sensor's number and thousandths of a degree Celsius.
    case temperature
    /// The SoC's highest allowed temperature, in the same form.
    case maximumTemperature
    /// The throttling bits; answers with one word.
    case throttled
    /// A clock's measured frequency; answers with its number and hertz.
    case clockFrequency(FirmwareClock)

    /// All questions.
    static var allCases: [Self] {
        [.firmwareRevision, .temperature, .maximumTemperature, .throttled]
            + FirmwareRail.allCases.map { .voltage($0) }
            + FirmwareClock.allCases.map { .clockFrequency($0) }
    }

    /// The number of the tag.
    var tag: UInt32 {
        switch self {
        case .firmwareRevision: 0x0000_0001
        case .voltage: 0x0003_0003
        case .temperature: 0x0003_0006
        case .maximumTemperature: 0x0003_000A
        case .throttled: 0x0003_0046
        case .clockFrequency: 0x0003_0047
        }
    }

    /// Which of several the tag asks for: the first word of request and answer; nil where there is
    /// only one.
    var identifier: UInt32? {
        switch self {
        case .voltage(let rail): rail.identifier
        case .clockFrequency(let clock): clock.identifier
        case .temperature, .maximumTemperature: 0
        case .firmwareRevision, .throttled: nil
        }
    }

    /// The words of the request, as many as the answer has. Fixed for each tag: the word of
    /// `throttled` is a mask of history bits to clear, which a monitor must never do.
    var request: [UInt32] { identifier.map { [$0, 0] } ?? [0] }
}

extension PropertyTag: CustomStringConvertible {
    /// What is asked for, in an error message.
    var description: String {
        switch self {
        case .firmwareRevision: "firmware revision"
        case .voltage(let rail): "voltage of \(rail.rawValue)"
        case .temperature: "temperature"
        case .maximumTemperature: "maximum temperature"
        case .throttled: "throttled"
        case .clockFrequency(let clock): "frequency of \(clock.rawValue)"
        }
    }
}

/// A command string that may be sent through `/dev/vcio_gencmd`.
enum FirmwareCommand: Sendable, Hashable, CaseIterable {
    /// Answers `temp=47.2'C`.
    case measureTemperature
    /// The same of the power chip. A board without one answers with the SoC's temperature.
    case measurePowerChipTemperature
    /// Answers `throttled=0x50000`.
    case getThrottled
    /// Answers `volt=0.8563V`.
    case measureVoltage(FirmwareRail)
    /// Answers `frequency(48)=600117184`.
    case measureClock(FirmwareClock)
    /// Answers a line for each current and voltage: ` VDD_CORE_V volt(15)=0.72069340V`.
    case readPowerChip
    /// Answers the date and the revision of the firmware, on lines.
    case firmwareVersion
    /// Answers the same of the boot loader.
    case bootloaderVersion

    /// All commands.
    static var allCases: [Self] {
        [.measureTemperature, .measurePowerChipTemperature, .getThrottled]
            + FirmwareRail.allCases.map { .measureVoltage($0) }
            + FirmwareClock.allCases.map { .measureClock($0) }
            + [.readPowerChip, .firmwareVersion, .bootloaderVersion]
    }

    /// What is sent.
    var text: String {
        switch self {
        case .measureTemperature: "measure_temp"
        case .measurePowerChipTemperature: "measure_temp pmic"
        case .getThrottled: "get_throttled"
        case .measureVoltage(let rail): "measure_volts \(rail.rawValue)"
        case .measureClock(let clock): "measure_clock \(clock.rawValue)"
        case .readPowerChip: "pmic_read_adc"
        case .firmwareVersion: "version"
        case .bootloaderVersion: "bootloader_version"
        }
    }

    /// The property that tells the same. Without one, the command goes through `/dev/vcio` where
    /// `/dev/vcio_gencmd` gives no answer.
    var equalProperty: PropertyTag? {
        switch self {
        case .measureTemperature: .temperature
        case .getThrottled: .throttled
        case .measureVoltage(let rail): .voltage(rail)
        case .measureClock(let clock): .clockFrequency(clock)
        case .measurePowerChipTemperature, .readPowerChip, .firmwareVersion, .bootloaderVersion:
            nil
        }
    }
}

/// The firmware's mailbox. Implementations serialise the questions they are asked.
protocol FirmwareMailbox: Sendable {
    /// The answer of the firmware to a command; nil when this machine has no way to send one, or
    /// its firmware does not know it.
    func answer(to command: FirmwareCommand) throws(ReadingError) -> String?
    /// The words that the firmware answered; nil when this machine has no way to ask.
    func answer(to property: PropertyTag) throws(ReadingError) -> [UInt32]?
}
