// Options that are lists of small mappings, such as `tls.certificates`.

/// A field that the entries of a list of records may have.
public struct RecordField: Sendable, Equatable {
    /// What a field takes.
    public enum Content: Sendable, Equatable {
        /// Any text.
        case text
        /// A length of time within bounds, read by `ConfigurationRecord.duration`.
        case duration(ClosedRange<Duration>)
        /// A number of bytes within bounds, read by `ConfigurationRecord.size`.
        case size(ClosedRange<Int>)
        /// A whole number within bounds, read by `ConfigurationRecord.integer`.
        case integer(ClosedRange<Int>)
        /// True or false, read by `ConfigurationRecord.boolean`.
        case boolean
        /// One of these words.
        case choice([String])
    }

    /// The key in the entry.
    public let name: String
    /// Whether an entry without it is refused.
    public let required: Bool
    /// What it takes.
    public let content: Content
    /// Whether it takes a list of texts; otherwise one value.
    public let list: Bool
    /// Whether messages must not repeat its value.
    public let secret: Bool
    /// What it means, for the reference.
    public let help: String

    /// Declares a field; the parts are described at the properties.
    public init(
        name: String, content: Content = .text, required: Bool = false, list: Bool = false,
        secret: Bool = false, help: String
    ) {
        self.name = name
        self.content = content
        self.required = required
        self.list = list
        self.secret = secret
        self.help = help
    }
}

/// One entry of a list of records. Equal when the fields are, wherever it stands in the file.
public struct ConfigurationRecord: Sendable, Equatable {
    /// The line at which the entry begins; nil when it came from the command line.
    public let line: Int?
    private let values: [String: [String]]

    init(line: Int?, values: [String: [String]]) {
        self.line = line
        self.values = values
    }

    /// The text of a field; nil when the entry does not set it. A required field is always set.
    public func string(_ name: String) -> String? {
        values[name]?.first
    }

    /// The texts of a list field; empty when the entry does not set it.
    public func strings(_ name: String) -> [String] {
        values[name] ?? []
    }

    /// The length of time in a field; nil when the entry does not set it.
    public func duration(_ name: String) -> Duration? {
        string(name).flatMap(Quantity.duration)
    }

    /// The number of bytes in a field; nil when the entry does not set it.
    public func size(_ name: String) -> Int? {
        string(name).flatMap(Quantity.size)
    }

    /// The whole number in a field; nil when the entry does not set it.
    public func integer(_ name: String) -> Int? {
        string(name).flatMap(Quantity.integer)
    }

    /// The truth value in a field; nil when the entry does not set it.
    public func boolean(_ name: String) -> Bool? {
        string(name).map { ["true", "yes", "on"].contains($0.lowercased()) }
    }

    /// Whether both have the same fields with the same values.
    public static func == (left: Self, right: Self) -> Bool {
        left.values == right.values
    }
}

/// What is wrong with a record beyond what its fields say.
public struct RecordProblem: Sendable {
    /// The key of the option.
    public let key: String
    /// The line of the record.
    public let line: Int?
    /// What is wrong.
    public let text: String
    /// What to do; empty when the text says it.
    public let advice: String

    /// Describes a problem; the parts are described at the properties.
    public init(key: String, line: Int?, _ text: String, advice: String = "") {
        self.key = key
        self.line = line
        self.text = text
        self.advice = advice
    }
}
