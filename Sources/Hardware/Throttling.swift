// Under-voltage and throttling, as the firmware reports them: four conditions, each now and since
// boot, in one word (bits 0 to 3 and 16 to 19); and how often each has occurred, which is counted
// here, over all boots.
//
// Beside the firmware's word, the hwmon device `rpi_volt` tells whether the voltage was too low since
// the kernel looked two seconds before: it sees dips that are too short for the word. Where the
// mailbox does not answer, it is all that is known. The kernel's attribute `get_throttled` under the
// firmware device is not used: it was deprecated, filled the kernel log with warnings, and is gone
// from current kernels.

import Prometheus

/// `rpi_undervoltage_active`, `rpi_throttled_active` and their companions.
struct Throttling: Reading {
    static let name = "throttling"
    static let remembers = true
    /// The rhythm of the kernel's own under-voltage driver. A dip between two reads is left to its
    /// alarm and to the history bits.
    let period = Duration.seconds(2)

    static let families =
        ThrottlingCondition.allCases.map {
            FamilyDescription(name: $0.activeName, kind: .gauge, help: $0.help)
        }
        + [
            FamilyDescription(
                name: "rpi_throttled_history", kind: .gauge,
                help: "Whether the condition has occurred since boot, by the firmware's memory.")
        ]
        + ThrottlingCondition.allCases.map {
            FamilyDescription(name: $0.eventsName, kind: .counter, help: $0.eventsHelp)
        }

    static let question = FirmwareQuestion<UInt32>(
        command: .getThrottled,
        parseText: { text in
            text.hasPrefix("throttled=") ? word(UInt32(hexadecimal: text.dropFirst(10))) : nil
        },
        parseWords: { words in words.count == 1 ? word(words[0]) : nil })

    /// Bits that are not known may mean something one day; all of them at once mean nothing.
    @Sendable private static func word(_ word: UInt32?) -> UInt32? { word == .max ? nil : word }

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        guard try machine.raspberryPiModel() != nil else { return }
        var parts = IndependentParts()
        var word: UInt32?
        parts.attempt { () throws(ReadingError) in
            word = try machine.mailbox.answer(to: Self.question)
        }
        var alarm: Bool?
        parts.attempt { () throws(ReadingError) in
            alarm = try undervoltageAlarm(machine.roots)
        }
        var states: [(condition: ThrottlingCondition, state: ConditionState)] = []
        for condition in ThrottlingCondition.allCases {
            let alarm = condition == .undervoltage ? alarm : nil
            guard word != nil || alarm != nil else { continue }
            states.append((condition, ConditionState(condition, in: word, alarm: alarm)))
        }
        for (condition, state) in states {
            samples.append(
                Sample(condition.activeName, value: state.isActive || state.isAlarmed ? 1 : 0))
        }
        for (condition, state) in states {
            guard let hasOccurred = state.hasOccurred else { continue }
            samples.append(
                Sample(
                    "rpi_throttled_history", labels: [("kind", condition.kind)],
                    value: hasOccurred ? 1 : 0))
        }
        for (condition, state) in states {
            guard let total = state.count(of: condition, in: machine.memory) else { continue }
            samples.append(Sample(condition.eventsName, value: Double(total)))
        }
        try parts.finish()
    }

    /// The alarm of the kernel's driver: under-voltage since its previous poll, two seconds ago.
    private func undervoltageAlarm(_ roots: HardwareRoots) throws(ReadingError) -> Bool? {
        guard let device = try roots.hwmon(["rpi_volt"]) else { return nil }
        return try SystemFile.integer("\(device)/in0_lcrit_alarm", in: 0...1).map { $0 != 0 }
    }
}

/// A condition, by its bit in the firmware's word; its history is 16 bits above.
enum ThrottlingCondition: UInt32, CaseIterable {
    case undervoltage, frequencyCapped, throttled, softTemperatureLimit

    /// The value of label `kind`, and the middle of the metrics' names.
    var kind: String {
        switch self {
        case .undervoltage: "undervoltage"
        case .frequencyCapped: "frequency_capped"
        case .throttled: "throttled"
        case .softTemperatureLimit: "soft_temperature_limit"
        }
    }

    var activeName: String { "rpi_\(kind)_active" }
    var eventsName: String { "rpi_\(kind)_events_total" }

    var help: String {
        switch self {
        case .undervoltage: "Whether the supply is below 4.63 V now."
        case .frequencyCapped: "Whether the firmware caps the CPU frequency now."
        case .throttled: "Whether the firmware throttles the SoC now."
        case .softTemperatureLimit: "Whether the soft temperature limit is active now."
        }
    }

    var eventsHelp: String {
        switch self {
        case .undervoltage: "Times that the supply fell below 4.63 V, over all boots."
        case .frequencyCapped: "Times that the CPU frequency was capped, over all boots."
        case .throttled: "Times that the SoC was throttled, over all boots."
        case .softTemperatureLimit: "Times that the soft limit was reached, over all boots."
        }
    }
}

/// What is known of one condition at one time.
struct ConditionState: Equatable {
    /// The firmware's bit.
    var isActive: Bool
    /// The kernel's alarm: the condition was there since its previous poll.
    var isAlarmed: Bool
    /// The firmware's history bit; nil when the firmware did not answer.
    var hasOccurred: Bool?
    /// An event was counted by its history bit alone. The alarm that follows is the same event.
    var awaitsAlarm = false

    /// The state that the firmware's word and the kernel's alarm tell, each if it is known.
    init(_ condition: ThrottlingCondition, in word: UInt32?, alarm: Bool?) {
        isActive = word.map { $0 >> condition.rawValue & 1 == 1 } ?? false
        hasOccurred = word.map { $0 >> (condition.rawValue + 16) & 1 == 1 }
        isAlarmed = alarm ?? false
    }

    // The state as a remembered position. In a new boot that is 0, a state in which nothing has
    // occurred: history bits that are already set then count as one event each.

    init(position: UInt64) {
        isActive = position & 1 != 0
        isAlarmed = position & 2 != 0
        hasOccurred = position & 4 != 0
        awaitsAlarm = position & 8 != 0
    }

    var position: UInt64 {
        (isActive ? 1 : 0) | (isAlarmed ? 2 : 0) | (hasOccurred == true ? 4 : 0)
            | (awaitsAlarm ? 8 : 0)
    }

    /// Whether the condition occurred anew since `before`: it became active, or its history bit rose
    /// without its having been seen active.
    mutating func isNewEvent(since before: ConditionState) -> Bool {
        // A firmware that did not answer has told nothing of its memory.
        let hadOccurred = before.hasOccurred ?? false
        let history = hasOccurred ?? hadOccurred
        hasOccurred = history
        if isActive || isAlarmed {
            let wasThere = before.isActive || before.isAlarmed
            return !wasThere && (isActive || !before.awaitsAlarm)
        }
        awaitsAlarm = history && !hadOccurred && !before.isActive && !before.isAlarmed
        return awaitsAlarm
    }

    /// Counts the event if there is one, remembers the state, and says the total over all boots;
    /// nil until the memory is there.
    func count(of condition: ThrottlingCondition, in memory: MachineMemory) -> UInt64? {
        let key = "\(condition.kind)_events"
        guard let position = memory.position(key) else { return nil }
        var state = self
        let isNew = state.isNewEvent(since: ConditionState(position: position))
        return memory.add(isNew ? 1 : 0, to: key, position: state.position)
    }
}
