// Readings whose label values are only known when they are read: sensors, processors, disks.

/// A family that a collector fills, declared before its first scrape.
public struct FamilyDescription: Sendable, Hashable {
    /// The name of its samples, such as `rpi_temperature_celsius`.
    public var name: String
    /// Anything but a histogram.
    public var kind: MetricKind
    /// One sentence for the reader of a dashboard.
    public var help: String

    /// Declares a family.
    public init(name: String, kind: MetricKind, help: String) {
        self.name = name
        self.kind = kind
        self.help = help
    }
}

/// Takes the samples of one collector during one scrape.
///
/// One bad line makes a scraper refuse all of them, so the sink drops what would be one: an
/// undeclared family, a bad label name, a label set that was there before, a counter that is
/// negative or not a number.
public struct SampleSink {
    /// Bounds for what a machine with odd hardware can make of a scrape.
    static let samplesPerFamily = 1_000
    static let labelValueLength = 128

    private struct Lines {
        let kind: MetricKind
        var bytes: [UInt8] = []
        var seen: Set<[UInt8]> = []

        mutating func append(_ prefix: [UInt8], _ value: Double) {
            guard seen.count < samplesPerFamily, seen.insert(prefix).inserted else { return }
            Exposition.append(prefix, value, to: &bytes)
        }
    }

    private var families: [String: Lines] = [:]

    init(_ descriptions: [FamilyDescription]) {
        for description in descriptions {
            families[description.name] = Lines(kind: description.kind)
        }
    }

    /// Adds a sample. Label values may be any text up to 128 characters; the rest is cut off.
    public mutating func add(
        _ name: String, labels: [(String, String)] = [], value: Double
    ) {
        guard let kind = families[name]?.kind,
            labels.allSatisfy({ NamingRules.isLabelName($0.0) }),
            Set(labels.map(\.0)).count == labels.count,
            kind != .counter || value >= 0
        else { return }
        // Prometheus knows no order of labels and no difference between an empty and no value;
        // two samples that differ only there would be one series twice.
        let canonical =
            labels
            .filter { !$0.1.isEmpty }
            .map { ($0.0, String($0.1.unicodeScalars.prefix(Self.labelValueLength))) }
            .sorted { $0.0 < $1.0 }
        let prefix = Exposition.prefix(name, canonical)
        families[name]?.append(prefix, kind == .info ? 1 : value)
    }

    /// The lines of a family; empty when it got no sample.
    func lines(of name: String) -> [UInt8] { families[name]?.bytes ?? [] }
}
