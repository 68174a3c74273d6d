// Numbers, sizes and durations as text, both ways. Every spelling that YAML readers disagree on
// (underscores, octal, hexadecimal, base 60) is refused with the reason.

/// Parsing and printing of quantities.
enum Quantity {
    // MARK: Numbers

    /// A whole number: an optional minus and decimal digits without leading zeros.
    static func integer(_ text: String) -> Int? {
        let digits = text.hasPrefix("-") ? text.dropFirst() : text[...]
        return isDigits(digits) ? Int(text) : nil
    }

    /// A number: as `integer`, then optionally a fraction and an exponent.
    static func number(_ text: String) -> Double? {
        let parts = text.split(
            maxSplits: 1, omittingEmptySubsequences: false, whereSeparator: { "eE".contains($0) })
        if parts.count == 2 {
            let exponent = parts[1].drop { $0 == "-" || $0 == "+" }
            guard parts[1].count - exponent.count <= 1, isDecimal(exponent) else { return nil }
        }
        let mantissa = parts[0].split(
            separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        let whole = mantissa[0].hasPrefix("-") ? mantissa[0].dropFirst() : mantissa[0]
        guard isDigits(whole), mantissa.count == 1 || isDecimal(mantissa[1]) else { return nil }
        guard let value = Double(text), value.isFinite else { return nil }
        return value
    }

    /// Writes a number, without a fraction where there is none.
    static func number(_ value: Double) -> String {
        Int(exactly: value).map { abs($0) < 1 << 53 ? "\($0)" : "\(value)" } ?? "\(value)"
    }

    /// The advice for a number that some would read, but in different ways.
    static func spelling(_ text: String) -> String? {
        let digits = text.drop { $0 == "-" || $0 == "+" }
        guard let first = digits.utf8.first, decimal ~= first else { return nil }
        if text.contains("_") { return "write the number without underscores" }
        let leading = digits.prefix { $0.utf8.allSatisfy { decimal ~= $0 } || $0 == "x" }
        return leading.count > 1 && first == UInt8(ascii: "0")
            ? "write the number in decimal digits without leading zeros" : nil
    }

    // MARK: Sizes

    private static let sizeUnits: [(name: String, bytes: Int)] = [
        ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1),
    ]

    /// A size in bytes: a whole number, alone or directly followed by a unit.
    static func size(_ text: String) -> Int? {
        guard let (count, unit) = split(text) else { return nil }
        if unit.isEmpty { return count }
        guard let factor = sizeUnits.first(where: { $0.name == unit })?.bytes else { return nil }
        let (bytes, overflow) = count.multipliedReportingOverflow(by: factor)
        return overflow ? nil : bytes
    }

    /// Writes a size in the largest unit that gives a whole number.
    static func size(_ bytes: Int) -> String {
        let unit = sizeUnits.first { bytes != 0 && bytes % $0.bytes == 0 && $0.bytes > 1 }
        return unit.map { "\(bytes / $0.bytes)\($0.name)" } ?? "\(bytes)"
    }

    /// The advice for a size that cannot be read.
    static func sizeAdvice(_ text: String) -> String? {
        if let advice = spelling(text) { return advice }
        guard let (_, unit) = split(text), !unit.isEmpty,
            !sizeUnits.contains(where: { $0.name == unit })
        else { return nil }
        return "the units are B, KiB, MiB, GiB and TiB, directly behind the number"
    }

    // MARK: Durations

    private static let durationUnits: [(name: String, milliseconds: Int)] = [
        ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1),
    ]

    /// A duration: a whole number directly followed by a unit, or a plain 0.
    static func duration(_ text: String) -> Duration? {
        guard let (count, unit) = split(text) else { return nil }
        if unit.isEmpty { return count == 0 ? .zero : nil }
        guard let factor = durationUnits.first(where: { $0.name == unit })?.milliseconds
        else { return nil }
        let (milliseconds, overflow) = count.multipliedReportingOverflow(by: factor)
        return overflow ? nil : .milliseconds(milliseconds)
    }

    /// Writes a duration in the largest unit that gives a whole number. What is finer than a
    /// millisecond cannot be written in the configuration and is left out.
    static func duration(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let fraction = Int(attoseconds / 1_000_000_000_000_000)
        let (whole, overflow) = Int(seconds).multipliedReportingOverflow(by: 1_000)
        // Too long for milliseconds is far too long for a fraction to matter.
        guard !overflow else { return "\(seconds / 86_400)d" }
        let milliseconds = whole + fraction
        guard milliseconds != 0 else { return "0s" }
        let unit = durationUnits.first { milliseconds % $0.milliseconds == 0 }
        return unit.map { "\(milliseconds / $0.milliseconds)\($0.name)" } ?? "\(milliseconds)ms"
    }

    /// The advice for a duration that cannot be read.
    static func durationAdvice(_ text: String) -> String? {
        if let advice = spelling(text) { return advice }
        guard duration(text) == nil, let (_, unit) = split(text),
            !durationUnits.contains(where: { $0.name == unit })
        else { return nil }
        return "the units are ms, s, m, h and d, directly behind the number"
    }

    // MARK: Digits

    private static let decimal = UInt8(ascii: "0")...UInt8(ascii: "9")

    private static func isDecimal(_ text: Substring) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { decimal ~= $0 }
    }

    private static func isDigits(_ text: Substring) -> Bool {
        isDecimal(text) && (text.utf8.count == 1 || text.utf8.first != UInt8(ascii: "0"))
    }

    /// A whole number that is not negative, and what follows it.
    private static func split(_ text: String) -> (Int, Substring)? {
        let digits = text.prefix { $0.utf8.allSatisfy { decimal ~= $0 } }
        guard isDigits(digits), let count = Int(digits) else { return nil }
        return (count, text[digits.endIndex...])
    }
}

/// Text written as YAML.
enum YAMLText {
    /// A scalar that reads back as the same text: plain where that is safe, else double-quoted.
    static func scalar(_ text: String) -> String {
        isPlain(text) ? text : quoted(text)
    }

    private static func isPlain(_ text: String) -> Bool {
        guard let first = text.utf8.first, let last = text.utf8.last, isWord(first) || first == 0x2F
        else { return false }
        return !YAMLReader.isNull(text) && last != UInt8(ascii: ":")
            && text.utf8.allSatisfy { isWord($0) || "./@+:-".utf8.contains($0) }
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            default:
                if scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
                    || (0x2028...0x2029).contains(scalar.value) || scalar.value == 0xFEFF
                {
                    let digits = String(scalar.value, radix: 16)
                    result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return result + "\""
    }
}

/// A duration as the configuration writes it, for arguments of commands.
public enum DurationText {
    /// A whole number directly followed by `ms`, `s`, `m`, `h` or `d`, or a plain 0; nil for anything
    /// else.
    public static func parse(_ text: String) -> Duration? { Quantity.duration(text) }
}
