// The naming rules of Prometheus, as `promtool check metrics` has them, and a few of OpenMetrics.
// A name that breaks them is refused when it is registered, so no released metric can.

/// What a metric family is.
public enum MetricKind: Sendable, Hashable {
    /// Only grows; its name ends in `_total`.
    case counter
    /// Goes up and down.
    case gauge
    /// Observations counted into buckets.
    case histogram
    /// Facts as labels with the value 1; its name ends in `_info`.
    case info
}

enum NamingRules {
    /// What is wrong with a family, or nil.
    static func problem(name: String, kind: MetricKind, help: String) -> String? {
        if help.isEmpty { return "no help" }
        if !isSnakeCase(name) { return "not in lower snake case" }
        let base = familyName(name, kind)
        switch kind {
        case .counter where !name.hasSuffix("_total"): return "a counter must end in _total"
        case .info where !name.hasSuffix("_info"): return "an info must end in _info"
        default: break
        }
        if let suffix = reservedSuffixes.first(where: base.hasSuffix) {
            return "\(kind) must not end in \(suffix)"
        }
        let words = base.split(separator: "_").map(String.init)
        if let type = words.first(where: typeNames.contains) {
            return "the type '\(type)' is in the name"
        }
        if let short = words.first(where: abbreviations.contains) {
            return "'\(short)' is an abbreviation"
        }
        if let unit = words.first(where: isDerivedUnit) {
            return "'\(unit)' is not a base unit"
        }
        return nil
    }

    /// The name of the family in OpenMetrics: without the suffix of its samples.
    static func familyName(_ name: String, _ kind: MetricKind) -> String {
        switch kind {
        case .counter where name.hasSuffix("_total"): String(name.dropLast(6))
        case .info where name.hasSuffix("_info"): String(name.dropLast(5))
        default: name
        }
    }

    /// Every name that a family uses up: its own in both formats, and those of its samples.
    /// OpenMetrics 1.0, "Metric naming and namespaces": families must not clash through suffixes.
    static func claimedNames(_ name: String, _ kind: MetricKind) -> [String] {
        let base = familyName(name, kind)
        let suffixes =
            switch kind {
            case .counter: ["", "_total", "_created"]
            case .gauge: [""]
            case .histogram: ["", "_bucket", "_sum", "_count", "_created"]
            case .info: ["", "_info"]
            }
        return suffixes.map { base + $0 }
    }

    /// Whether a label may have this name; `le` and `quantile` belong to the formats.
    static func isLabelName(_ name: String) -> Bool {
        isSnakeCase(name) && name != "le" && name != "quantile"
    }

    private static func isSnakeCase(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        guard let first = bytes.first, let last = bytes.last, bytes.count <= 200 else {
            return false
        }
        let lower = UInt8(ascii: "a")...UInt8(ascii: "z")
        let digit = UInt8(ascii: "0")...UInt8(ascii: "9")
        let low = UInt8(ascii: "_")
        return lower.contains(first) && last != low
            && bytes.allSatisfy { lower.contains($0) || digit.contains($0) || $0 == low }
            && !zip(bytes, bytes.dropFirst()).contains { $0 == low && $1 == low }
    }

    private static func isDerivedUnit(_ word: String) -> Bool {
        if derivedUnits.contains(word) { return true }
        return prefixes.contains {
            word.hasPrefix($0)
                && (baseUnits.contains(String(word.dropFirst($0.count)))
                    || derivedUnits.contains(String(word.dropFirst($0.count))))
        }
    }

    private static let reservedSuffixes = [
        "_total", "_info", "_count", "_sum", "_bucket", "_created",
    ]
    private static let typeNames: Set = ["counter", "gauge", "histogram", "summary"]
    private static let abbreviations: Set = [
        "s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d",
    ]
    private static let baseUnits: Set = [
        "amperes", "bytes", "celsius", "grams", "joules", "kelvin", "meters", "metres", "moles",
        "seconds", "volts", "hertz", "watts",
    ]
    private static let derivedUnits: Set = [
        "minutes", "hours", "days", "weeks", "kelvins", "fahrenheit", "rankine", "inches",
        "yards", "miles", "bits", "calories", "pounds", "ounces",
    ]
    private static let prefixes = [
        "pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo", "kibi", "mega",
        "mibi", "mebi", "giga", "gibi", "tera", "tebi", "peta", "pebi",
    ]
}
