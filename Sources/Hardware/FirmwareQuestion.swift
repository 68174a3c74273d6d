// Facts that the firmware tells in two ways, and how its answers are read.

/// One fact of the firmware and the ways to ask for it.
struct FirmwareQuestion<Value: Sendable>: Sendable {
    /// Asked first: `/dev/vcio_gencmd` can do nothing else, so it needs the least privilege. Its
    /// equal property, if there is one, is asked when it has no answer.
    let command: FirmwareCommand
    /// Reads the answer to the command; nil when it is not of the documented form, or means what
    /// cannot be.
    let parseText: @Sendable (String) -> Value?
    /// Reads the answer to the property; nil likewise.
    var parseWords: @Sendable ([UInt32]) -> Value? = { _ in nil }
}

extension FirmwareMailbox {
    /// Asks by command, then by property tag; nil when the machine offers neither. Throws only
    /// when no way gave an answer and one of them failed.
    func answer<Value>(to question: FirmwareQuestion<Value>) throws(ReadingError) -> Value? {
        var ways = IndependentParts()
        var value: Value?
        ways.attempt { () throws(ReadingError) in
            value = try answer(to: question.command, read: question.parseText)
        }
        if let value { return value }
        if let property = question.command.equalProperty {
            ways.attempt { () throws(ReadingError) in
                value = try answer(to: property, read: question.parseWords)
            }
            if let value { return value }
        }
        try ways.finish()
        return nil
    }

    /// Asks by command only.
    func answer<Value>(
        to command: FirmwareCommand, read: (String) -> Value?
    ) throws(ReadingError) -> Value? {
        guard let text = try answer(to: command) else { return nil }
        guard let value = read(text) else {
            throw .malformedAnswer("gencmd \(command.text)", text)
        }
        return value
    }

    /// Asks by property tag only.
    func answer<Value>(
        to property: PropertyTag, read: ([UInt32]) -> Value?
    ) throws(ReadingError) -> Value? {
        guard let words = try answer(to: property) else { return nil }
        guard let value = read(words) else { throw .malformedAnswer("\(property)", "\(words)") }
        return value
    }
}

extension ReadingError {
    /// The firmware answered what it must not.
    static func malformedAnswer(_ subject: String, _ answer: String) -> ReadingError {
        ReadingError(
            .malformed, subject: subject,
            message: "the firmware answered \(SystemFile.quoted(answer))",
            advice: "update the firmware ('sudo rpi-eeprom-update', 'sudo apt full-upgrade')")
    }
}

/// What a measured value can be. A value beyond is a broken sensor's, or not one at all.
enum Plausible {
    /// In degrees Celsius: beyond what the chips are specified for, on both sides.
    static let temperature = -40.0...150.0
    /// The same as the kernel has it, in thousandths of a degree.
    static let millidegrees =
        Int64(temperature.lowerBound * 1000)...Int64(temperature.upperBound * 1000)
    static let volts = 0.0...20.0
    static let amperes = 0.0...50.0
    static let hertz = 0.0...10e9
    /// Seconds since 1970 at which something can have been built: 2010 to 2100.
    static let buildTime = 1_262_304_000.0...4_102_444_800.0

    /// The value, if it can be.
    static func value(_ value: Double?, in bounds: ClosedRange<Double>) -> Double? {
        value.flatMap { bounds.contains($0) ? $0 : nil }
    }

    /// The decimal number that stands between `prefix` and `suffix`, if it can be.
    static func number(
        _ text: some StringProtocol, after prefix: String, before suffix: String,
        in bounds: ClosedRange<Double>
    ) -> Double? {
        guard text.hasPrefix(prefix), text.hasSuffix(suffix),
            text.utf8.count > prefix.utf8.count + suffix.utf8.count
        else { return nil }
        let digits = text.dropFirst(prefix.count).dropLast(suffix.count)
        // The standard parser also takes exponents, hexadecimal digits and "nan".
        guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x2E || $0 == 0x2D })
        else { return nil }
        return value(Double(digits), in: bounds)
    }

    /// The second word of an answer of number and value, divided by `divisor`, if it can be.
    static func number(
        _ words: [UInt32], of identifier: UInt32, dividedBy divisor: Double,
        in bounds: ClosedRange<Double>
    ) -> Double? {
        guard words.count == 2, words[0] == identifier else { return nil }
        return value(Double(Int32(bitPattern: words[1])) / divisor, in: bounds)
    }
}
