// How a value of one type is read from the configuration, judged and written back. One static
// function per type; the declarations in OptionSet+Declarations.swift are made from them.

/// What is wrong with a value.
struct ValueProblem: Sendable {
    let origin: Origin
    let problem: String
    var advice = ""
}

/// All that is wrong with the value of one option.
struct ValueProblems: Error, Sendable {
    let problems: [ValueProblem]

    init(_ problems: [ValueProblem]) {
        self.problems = problems
    }

    init(_ node: ConfigurationNode, _ problem: String, advice: String = "") {
        problems = [ValueProblem(origin: node.origin, problem: problem, advice: advice)]
    }

    /// The usual one: something else was expected.
    init(
        _ node: ConfigurationNode, expected: String, advice: String = "", secret: Bool = false
    ) {
        self.init(
            node, "expected \(expected); found \(node.found(secret: secret))", advice: advice)
    }
}

/// A type of option values.
struct ValueType<Value: Sendable & Equatable>: Sendable {
    /// Its name in the reference, such as `size`.
    let name: String
    /// What is allowed, such as `1KiB to 16MiB`; empty when everything of the type is.
    let bounds: String
    /// Reads a node that is not null.
    let read: @Sendable (ConfigurationNode) throws(ValueProblems) -> Value
    /// Writes a value as YAML, so that `read` gives the same value.
    let yaml: @Sendable (Value) -> String
}

extension ValueType where Value == Int {
    /// A whole number in decimal digits.
    static func integer(in bounds: ClosedRange<Int>) -> Self {
        let (lower, upper) = ("\(bounds.lowerBound)", "\(bounds.upperBound)")
        return ValueType(name: "whole number", bounds: "\(lower) to \(upper)") {
            node throws(ValueProblems) in
            guard let text = node.scalar, let value = Quantity.integer(text),
                bounds.contains(value)
            else {
                throw ValueProblems(
                    node, expected: "a whole number between \(lower) and \(upper)",
                    advice: node.scalar.flatMap(Quantity.spelling) ?? "")
            }
            return value
        } yaml: {
            "\($0)"
        }
    }

    /// A number of bytes, with or without a binary unit.
    static func size(in bounds: ClosedRange<Int>, example: Int) -> Self {
        let (lower, upper) = (Quantity.size(bounds.lowerBound), Quantity.size(bounds.upperBound))
        let expected =
            "a size between \(lower) and \(upper), such as \(Quantity.size(example))"
        return ValueType(name: "size", bounds: "\(lower) to \(upper)") {
            node throws(ValueProblems) in
            guard let text = node.scalar, let value = Quantity.size(text), bounds.contains(value)
            else {
                throw ValueProblems(
                    node, expected: expected,
                    advice: node.scalar.flatMap(Quantity.sizeAdvice) ?? "")
            }
            return value
        } yaml: {
            Quantity.size($0)
        }
    }
}

extension ValueType where Value == Int? {
    /// A whole number or nothing.
    static func optionalInteger(in bounds: ClosedRange<Int>) -> Self {
        let integer = ValueType<Int>.integer(in: bounds)
        return ValueType(name: integer.name, bounds: integer.bounds) {
            node throws(ValueProblems) in
            try integer.read(node)
        } yaml: {
            $0.map(integer.yaml) ?? ""
        }
    }
}

extension ValueType where Value == Duration {
    /// A length of time with its unit.
    static func duration(in bounds: ClosedRange<Duration>, example: Duration) -> Self {
        let lower = Quantity.duration(bounds.lowerBound)
        let upper = Quantity.duration(bounds.upperBound)
        let expected =
            "a duration between \(lower) and \(upper), such as \(Quantity.duration(example))"
        return ValueType(name: "duration", bounds: "\(lower) to \(upper)") {
            node throws(ValueProblems) in
            guard let text = node.scalar, let value = Quantity.duration(text),
                bounds.contains(value)
            else {
                throw ValueProblems(
                    node, expected: expected,
                    advice: node.scalar.flatMap(Quantity.durationAdvice) ?? "")
            }
            return value
        } yaml: {
            Quantity.duration($0)
        }
    }
}

extension ValueType where Value == Double {
    /// A decimal number, fractions allowed.
    static func number(in bounds: ClosedRange<Double>) -> Self {
        let lower = Quantity.number(bounds.lowerBound)
        let upper = Quantity.number(bounds.upperBound)
        return ValueType(name: "number", bounds: "\(lower) to \(upper)") {
            node throws(ValueProblems) in
            guard let text = node.scalar, let value = Quantity.number(text),
                bounds.contains(value)
            else {
                throw ValueProblems(
                    node, expected: "a number between \(lower) and \(upper)",
                    advice: node.scalar.flatMap(Quantity.spelling) ?? "")
            }
            return value
        } yaml: {
            Quantity.number($0)
        }
    }
}

extension ValueType where Value == Bool {
    /// True or false, in any of YAML's spellings.
    static var boolean: Self {
        ValueType(name: "boolean", bounds: "true or false") { node throws(ValueProblems) in
            switch node.scalar?.lowercased() {
            case "true", "yes", "on": return true
            case "false", "no", "off": return false
            default: throw ValueProblems(node, expected: "true or false")
            }
        } yaml: {
            "\($0)"
        }
    }
}

extension ValueType {
    /// One of the raw values of an enumeration, spelled exactly.
    static func choice() -> Self
    where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
        let names = Value.allCases.map(\.rawValue)
        let list =
            names.count < 2
            ? names.joined()
            : names.dropLast().joined(separator: ", ") + " or " + names[names.count - 1]
        return ValueType(name: "choice", bounds: list) { node throws(ValueProblems) in
            guard let text = node.scalar, let value = Value(rawValue: text) else {
                let near = node.scalar.flatMap { text in
                    NearestName.nearest(to: text.lowercased(), among: names)
                }
                throw ValueProblems(
                    node, expected: list, advice: near.map { "did you mean \($0)?" } ?? "")
            }
            return value
        } yaml: {
            YAMLText.scalar($0.rawValue)
        }
    }
}
