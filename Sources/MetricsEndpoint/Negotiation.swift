// Which format a scraper gets: its Accept header (RFC 9110 section 12.5.1), as Prometheus 2 and 3
// send it.

import Prometheus

/// The format to answer in and how to name it.
struct Negotiation: Sendable, Hashable {
    var format: ExpositionFormat
    /// The scraper's wish for names that are not legal in old versions of Prometheus. All names
    /// here are, so every scheme is the same; it is only said back.
    var escaping: String?

    var contentType: String {
        escaping.map { "\(format.contentType); escaping=\($0)" } ?? format.contentType
    }

    /// Picks the format that the scraper likes best among those known. Of equal ones the more
    /// specific goes first, then the first. With none, text 0.0.4, which every scraper reads,
    /// instead of 406.
    init(accept: String?) {
        self.init(format: .text004)
        var best = (quality: 0, specificity: 0)
        // More than this many is no scraper; the header's length is bounded by the connection.
        for range in (accept ?? "").split(separator: ",").prefix(32) {
            guard let range = MediaRange(range), range.quality > 0, let offer = range.offer
            else { continue }
            if (range.quality, offer.specificity) > best {
                best = (range.quality, offer.specificity)
                self = offer.negotiation
            }
        }
    }

    private init(format: ExpositionFormat, escaping: String? = nil) {
        self.format = format
        self.escaping = escaping
    }

    /// One element of an Accept header.
    private struct MediaRange {
        var type: String
        var parameters: [String: String] = [:]
        /// In thousandths; 0 means "not this".
        var quality = 1000

        init?(_ text: Substring) {
            let parts = text.split(separator: ";").map(Self.trimmed)
            guard let type = parts.first, !type.isEmpty else { return nil }
            self.type = type.lowercased()
            for part in parts.dropFirst().prefix(16) {
                let pair = part.split(separator: "=", maxSplits: 1).map(Self.trimmed)
                guard pair.count == 2 else { continue }
                parameters[pair[0].lowercased()] = String(Self.unquoted(pair[1]))
            }
            if let q = parameters["q"] {
                guard let value = Double(q), (0...1).contains(value) else { return nil }
                quality = Int(value * 1000)
            }
        }

        /// What there is to give for this range.
        var offer: (negotiation: Negotiation, specificity: Int)? {
            let version = parameters["version"]
            switch type {
            case "application/openmetrics-text" where version == nil || version == "1.0.0":
                let schemes: Set = ["allow-utf-8", "underscores", "dots", "values"]
                let escaping = parameters["escaping"].flatMap { schemes.contains($0) ? $0 : nil }
                return (Negotiation(format: .openMetrics100, escaping: escaping), 3)
            // Text 1.0.0 differs from 0.0.4 only in how it writes names that do not occur here.
            case "text/plain" where version == nil || version == "0.0.4" || version == "1.0.0":
                return (Negotiation(format: .text004), 3)
            case "application/*": return (Negotiation(format: .openMetrics100), 2)
            case "text/*": return (Negotiation(format: .text004), 2)
            case "*/*": return (Negotiation(format: .text004), 1)
            default: return nil
            }
        }

        private static func trimmed(_ text: Substring) -> Substring {
            var text = text.drop { $0 == " " || $0 == "\t" }
            while text.last == " " || text.last == "\t" { text.removeLast() }
            return text
        }

        private static func unquoted(_ text: Substring) -> Substring {
            text.count >= 2 && text.first == "\"" && text.last == "\""
                ? text.dropFirst().dropLast() : text
        }
    }
}
