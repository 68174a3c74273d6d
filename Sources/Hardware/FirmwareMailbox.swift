// What may be asked of the Raspberry Pi's firmware, and the seam through which it is asked.
//
// The mailbox also accepts questions that change or hang the machine (0x00030010 executes code),
// so nothing but the cases below can be expressed: they are the allow-list.

/// A property tag that may be sent through `/dev/vcio`.
public enum PropertyTag: UInt32, Sendable, CaseIterable {
    /// The SoC's temperature; answers with the sensor's number and thousandths of a degree Celsius.
    case temperature = 0x0003_0006
    /// The throttling bits; answers with one word.
    case throttled = 0x0003_0046

    /// The words of the request, as many as the answer has. Fixed for each tag: the word of
    /// `throttled` is a mask of history bits to clear, which a monitor must never do.
    var request: [UInt32] {
        switch self {
        case .temperature: [0, 0]
        case .throttled: [0]
        }
    }
}

/// A command string that may be sent through `/dev/vcio_gencmd`.
public enum FirmwareCommand: String, Sendable, CaseIterable {
    /// Answers `temp=47.2'C`.
    case measureTemperature = "measure_temp"
    /// Answers `throttled=0x50000`.
    case getThrottled = "get_throttled"
}

/// The firmware's mailbox. Implementations serialise the questions they are asked.
public protocol FirmwareMailbox: Sendable {
    /// The answer of the firmware to a command; nil when this machine has no way to send one.
    func answer(to command: FirmwareCommand) throws(ReadingError) -> String?
    /// The words that the firmware answered; nil when this machine has no way to ask.
    func answer(to property: PropertyTag) throws(ReadingError) -> [UInt32]?
}

/// One fact of the firmware and the two ways to ask for it.
struct FirmwareQuestion<Value: Sendable>: Sendable {
    /// Asked first: `/dev/vcio_gencmd` can do nothing else, so it needs the least privilege.
    let command: FirmwareCommand
    /// Asked when the command has no answer.
    let property: PropertyTag
    /// Reads the answer to the command; nil when it is not of the documented form.
    let parseText: @Sendable (String) -> Value?
    /// Reads the answer to the property tag; nil when it is not of the documented form.
    let parseWords: @Sendable ([UInt32]) -> Value?
}

extension FirmwareMailbox {
    /// Asks by command, then by property tag; nil when the machine offers neither. Throws only
    /// when no way gave an answer and one of them failed.
    func answer<Value>(to question: FirmwareQuestion<Value>) throws(ReadingError) -> Value? {
        var ways = IndependentParts()
        var value: Value?
        ways.attempt { () throws(ReadingError) in
            guard let text = try answer(to: question.command) else { return }
            value = question.parseText(text)
            if value == nil { throw malformed("gencmd \(question.command.rawValue)", text) }
        }
        if let value { return value }
        ways.attempt { () throws(ReadingError) in
            guard let words = try answer(to: question.property) else { return }
            value = question.parseWords(words)
            if value == nil { throw malformed("\(question.property)", "\(words)") }
        }
        if let value { return value }
        try ways.finish()
        return nil
    }

    private func malformed(_ subject: String, _ answer: String) -> ReadingError {
        ReadingError(
            .malformed, subject: subject,
            message: "the firmware answered \(SystemFile.quoted(answer))",
            advice: "update the firmware ('sudo rpi-eeprom-update', 'sudo apt full-upgrade')")
    }
}
