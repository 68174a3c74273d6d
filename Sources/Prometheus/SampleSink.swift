// Readings whose label values are only known when they are read: sensors, processors, disks.

/// A family that a collector fills, declared before its first scrape.
public struct FamilyDescription: Sendable, Hashable {
    /// The name of its samples, such as `rpi_temperature_celsius`.
    public var name: String
    /// Of a histogram, the samples are added by `SampleSink.addHistogram`.
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

    fileprivate struct Lines: Sendable {
        let kind: MetricKind
        var bytes: [UInt8] = []
        var seen: Set<[UInt8]> = []
        /// Rendered before: nothing may be added.
        var isComplete = false

        mutating func append(_ prefix: [UInt8], _ value: Double) {
            guard !isComplete, seen.count < samplesPerFamily, seen.insert(prefix).inserted else {
                return
            }
            Exposition.append(prefix, value, to: &bytes)
        }
    }

    fileprivate var families: [String: Lines] = [:]

    init(_ descriptions: [FamilyDescription]) {
        families.reserveCapacity(descriptions.count)
        for description in descriptions {
            families[description.name] = Lines(kind: description.kind)
        }
    }

    /// Adds a sample. Label values may be any text up to 128 characters; the rest is cut off.
    public mutating func add(
        _ name: String, labels: [(String, String)] = [], value: Double
    ) {
        guard let kind = families[name]?.kind, kind != .histogram, kind != .counter || value >= 0,
            let labels = Self.canonical(labels)
        else { return }
        families[name]?.append(Exposition.prefix(name, labels), kind == .info ? 1 : value)
    }

    /// Adds a histogram whose counts are kept elsewhere.
    /// - Parameters:
    ///   - bounds: upper bounds, finite, inclusive and increasing.
    ///   - counts: what fell into each bucket alone; the last is what is above all bounds.
    public mutating func addHistogram(
        _ name: String, labels: [(String, String)] = [], bounds: [Double], counts: [UInt64],
        sum: Double
    ) {
        guard families[name]?.kind == .histogram, counts.count == bounds.count + 1, sum >= 0,
            bounds.allSatisfy(\.isFinite), zip(bounds, bounds.dropFirst()).allSatisfy(<),
            let labels = Self.canonical(labels), !labels.contains(where: { $0.0 == "le" })
        else { return }
        var running: UInt64 = 0
        for (bound, count) in zip(bounds + [.infinity], counts) {
            running &+= count
            let labels = labels + [("le", Exposition.bound(bound))]
            families[name]?.append(
                Exposition.prefix("\(name)_bucket", labels), Double(running))
        }
        families[name]?.append(Exposition.prefix("\(name)_sum", labels), sum)
        families[name]?.append(Exposition.prefix("\(name)_count", labels), Double(running))
    }

    /// Adds samples that were rendered before. Of a family that has samples already, none are
    /// added: the lines tell no more which series they are.
    public mutating func add(_ samples: RenderedSamples) {
        for family in samples.families {
            guard let lines = families[family.name], lines.kind == family.kind,
                lines.bytes.isEmpty
            else { continue }
            families[family.name] = Lines(
                kind: family.kind, bytes: family.bytes, isComplete: true)
        }
    }

    /// The labels as a series is known by them; nil when they cannot be shown.
    ///
    /// Prometheus knows no order of labels and no difference between an empty and no value; two
    /// samples that differ only there would be one series twice.
    private static func canonical(_ labels: [(String, String)]) -> [(String, String)]? {
        guard labels.allSatisfy({ NamingRules.isLabelName($0.0) }) else { return nil }
        // Most samples have none or one.
        if labels.count > 1, Set(labels.map(\.0)).count < labels.count { return nil }
        let shown = labels.filter { !$0.1.isEmpty }.map { ($0.0, cut($0.1)) }
        return shown.count > 1 ? shown.sorted { $0.0 < $1.0 } : shown
    }

    private static func cut(_ value: String) -> String {
        // No longer in characters than in bytes.
        value.utf8.count <= labelValueLength
            ? value : String(value.unicodeScalars.prefix(labelValueLength))
    }

    /// The lines of a family; empty when it got no sample.
    func lines(of name: String) -> [UInt8] { families[name]?.bytes ?? [] }
}

/// Samples as the lines that they become: made once, when they are read, and shown by every scrape
/// until there are newer ones.
public struct RenderedSamples: Sendable {
    fileprivate struct Family: Sendable {
        let name: String
        let kind: MetricKind
        let bytes: [UInt8]
    }

    fileprivate let families: [Family]

    /// No samples.
    public init() { families = [] }

    /// Renders what `fill` adds to a sink of these families, with the sink's rules.
    public init(_ descriptions: [FamilyDescription], fill: (inout SampleSink) -> Void) {
        var sink = SampleSink(descriptions)
        fill(&sink)
        families = sink.families
            .filter { !$0.value.bytes.isEmpty }
            .map { Family(name: $0.key, kind: $0.value.kind, bytes: $0.value.bytes) }
    }
}
