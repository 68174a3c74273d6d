// What a metric may be divided by: labels whose values are known when the program is built.

/// A label with a closed set of values: an enum of strings.
///
/// Closed, because every combination is a time series that Prometheus keeps for ever; an account,
/// an address or a token can therefore never become a label by mistake.
public protocol MetricLabel: CaseIterable, Hashable, Sendable, RawRepresentable
where RawValue == String {
    /// The label's name, in lower snake case.
    static var labelName: String { get }
}

/// Finds the place of a label value among `allCases` without hashing.
///
/// An enum of strings hashes and compares by its string, which would cost more than the counting
/// itself. An enum without payloads is one byte in memory (none with a single case), so a table
/// by that byte answers at once.
@usableFromInline
struct LabelSlots<Label: MetricLabel>: Sendable {
    /// By the byte that stands for a value; the last slot for values that `allCases` leaves out,
    /// which are counted and never exposed.
    @usableFromInline let slots: [UInt8]
    /// How many slots there are, the last one included.
    @usableFromInline let count: Int
    /// The label's values, in the order of their slots.
    let values: [String]

    init() {
        let cases = Array(Label.allCases)
        precondition(
            MemoryLayout<Label>.size <= 1 && (1...255).contains(cases.count),
            "\(Label.self) is not an enum of 1 to 255 cases without payloads")
        precondition(
            NamingRules.isLabelName(Label.labelName), "bad label name '\(Label.labelName)'")
        values = cases.map(\.rawValue)
        count = cases.count + 1
        precondition(
            Set(values).count == values.count && !values.contains(""),
            "\(Label.self) has an empty or repeated value")
        var slots = [UInt8](repeating: UInt8(cases.count), count: 256)
        for (slot, value) in cases.enumerated() {
            slots[Self.byte(value)] = UInt8(slot)
        }
        self.slots = slots
    }

    @inlinable
    func slot(of label: Label) -> Int { Int(slots[Self.byte(label)]) }

    @inlinable
    static func byte(_ label: Label) -> Int {
        withUnsafeBytes(of: label) { Int($0.first ?? 0) }
    }
}
