// One metric for each value of a label, or of two.
//
// Looking one up is on the hot path, so it neither hashes nor counts references: a reference count
// that all loops change would cost ten times what the counting does. Hence lookup and counting are
// inlinable; together the compiler sees that no reference outlives the call.

/// A metric for each value of a label: `metric[.value]`.
public final class Labelled<Label: MetricLabel, Metric: Sendable>: Sendable {
    @usableFromInline let slots: LabelSlots<Label>
    /// In the order of the slots.
    @usableFromInline let metrics: [Metric]

    init(make: (Int) -> Metric) {
        slots = LabelSlots()
        metrics = (0..<slots.count).map(make)
    }

    /// The metric of one label value.
    @inlinable
    public subscript(label: Label) -> Metric {
        @inline(__always) get { metrics[slots.slot(of: label)] }
    }

    /// Each exposed metric with its labels.
    var rows: [(labels: [(String, String)], metric: Metric)] {
        slots.values.enumerated().map { ([(Label.labelName, $1)], metrics[$0]) }
    }
}

/// A metric for each pair of values of two labels: `metric[.one, .other]`.
public final class Labelled2<A: MetricLabel, B: MetricLabel, Metric: Sendable>: Sendable {
    @usableFromInline let first: LabelSlots<A>
    @usableFromInline let second: LabelSlots<B>
    /// By rows of the first label's slots.
    @usableFromInline let metrics: [Metric]

    init(make: (Int) -> Metric) {
        precondition(A.labelName != B.labelName, "label '\(A.labelName)' twice")
        first = LabelSlots()
        second = LabelSlots()
        metrics = (0..<first.count * second.count).map(make)
    }

    /// The metric of one pair of label values.
    @inlinable
    public subscript(a: A, b: B) -> Metric {
        @inline(__always) get { metrics[first.slot(of: a) &* second.count &+ second.slot(of: b)] }
    }

    /// Each exposed metric with its labels.
    var rows: [(labels: [(String, String)], metric: Metric)] {
        first.values.enumerated().flatMap { i, a in
            second.values.enumerated().map { j, b in
                ([(A.labelName, a), (B.labelName, b)], metrics[i * second.count + j])
            }
        }
    }
}
