// How metrics are written: the text format 0.0.4 of Prometheus and OpenMetrics 1.0.0. They differ
// in the lines about a family and in the end; a sample's line is the same in both.

/// A format that scrapers read.
public enum ExpositionFormat: Sendable, Hashable, CaseIterable {
    /// Prometheus text format, version 0.0.4.
    case text004
    /// OpenMetrics text format, version 1.0.0.
    case openMetrics100

    /// The media type to send it with. Prometheus 3 refuses a scrape without a correct one.
    public var contentType: String {
        switch self {
        case .text004: "text/plain; version=0.0.4; charset=utf-8"
        case .openMetrics100: "application/openmetrics-text; version=1.0.0; charset=utf-8"
        }
    }
}

enum Exposition {
    /// The lines that introduce a family.
    static func head(
        _ name: String, _ kind: MetricKind, help: String, _ format: ExpositionFormat
    ) -> [UInt8] {
        switch format {
        case .text004:
            // The format has no info type; by custom it is a gauge.
            let type = kind == .info ? MetricKind.gauge : kind
            return Array(
                "# HELP \(name) \(escape(help, quotes: false))\n# TYPE \(name) \(type)\n".utf8)
        case .openMetrics100:
            let family = NamingRules.familyName(name, kind)
            // Without its optional UNIT line: each name ends in its unit already.
            return Array(
                "# TYPE \(family) \(kind)\n# HELP \(family) \(escape(help, quotes: true))\n".utf8)
        }
    }

    /// What stands before the value in a sample's line.
    static func prefix(_ name: String, _ labels: [(String, String)]) -> [UInt8] {
        guard !labels.isEmpty else { return Array("\(name) ".utf8) }
        let pairs = labels.map { "\($0)=\"\(escape($1, quotes: true))\"" }
        return Array("\(name){\(pairs.joined(separator: ","))} ".utf8)
    }

    static func append(_ prefix: [UInt8], _ value: UInt64, to out: inout [UInt8]) {
        out += prefix
        out += String(value).utf8
        out.append(UInt8(ascii: "\n"))
    }

    static func append(_ prefix: [UInt8], _ value: Double, to out: inout [UInt8]) {
        out += prefix
        out += number(value).utf8
        out.append(UInt8(ascii: "\n"))
    }

    /// Label values escape backslash, quote and line feed in both formats; help escapes the quote
    /// in OpenMetrics only.
    static func escape(_ text: String, quotes: Bool) -> String {
        guard text.utf8.contains(where: { $0 == 0x5C || $0 == 0x0A || $0 == 0x22 }) else {
            return text
        }
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": escaped += "\\\\"
            case "\n": escaped += "\\n"
            case "\"" where quotes: escaped += "\\\""
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    /// A value as Go's ParseFloat reads it; whole numbers without a point or an exponent.
    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if let whole = Int64(exactly: value) { return String(whole) }
        return value.description
    }

    /// A bucket's bound: OpenMetrics 1.0, "Canonical Numbers": what Go prints with %g, and `.0`
    /// when that has neither point nor exponent. Used in both formats, since Prometheus before
    /// version 3 takes `le="1"` and `le="1.0"` for two series.
    static func bound(_ value: Double) -> String {
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        let text = value.description
        // Swift writes an exponent below 1e-4 as Go does, but above only from 2^54 on; Go from 1e6.
        guard value.magnitude >= 1e6, !text.contains("e") else { return text }
        let sign = value < 0 ? "-" : ""
        let parts = text.drop { $0 == "-" }.split(separator: ".")
        guard let whole = parts.first, let fraction = parts.last else { return text }
        var digits = whole + fraction
        while digits.last == "0" { digits.removeLast() }
        let exponent = whole.count - 1
        let mantissa = digits.prefix(1) + (digits.count > 1 ? "." : "") + digits.dropFirst()
        return "\(sign)\(mantissa)e+\(exponent < 10 ? "0" : "")\(exponent)"
    }
}
