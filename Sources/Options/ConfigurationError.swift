// What an operator reads when the configuration cannot be used: where, which key, what is wrong
// and what to do about it.

/// One thing that is wrong in the configuration.
public struct ConfigurationError: Error, Sendable, CustomStringConvertible, Equatable {
    /// The file as it was named to `load` or `parse`; `--set` for a command line assignment.
    public let file: String
    /// The line, counted from 1; nil when the error has no place in the file.
    public let line: Int?
    /// The dotted path of the key, such as `limits.stanza`; empty when no key is concerned.
    public let key: String
    /// What is wrong: what was expected and what was found.
    public let problem: String
    /// What to do, where that is more than the problem already says; else empty.
    public let advice: String

    /// The `file` of errors in assignments from the command line.
    public static let commandLine = "--set"

    /// Makes an error; the parts are described at the properties.
    public init(file: String, line: Int?, key: String, problem: String, advice: String = "") {
        self.file = file
        self.line = line
        self.key = key
        self.problem = problem
        self.advice = advice
    }

    /// One line: `kinglet.yaml:12: limits.stanza: problem; advice`.
    public var description: String {
        var text = file
        if let line { text += ":\(line)" }
        // The argument is spelled as it was typed: `--set limits.stanza`, without a colon between.
        text += key.isEmpty ? ": " : (file == Self.commandLine ? " \(key): " : ": \(key): ")
        text += problem
        return advice.isEmpty ? text : "\(text); \(advice)"
    }
}

/// Everything that was found wrong in one reading of the configuration, in file order.
public struct ConfigurationErrors: Error, Sendable, CustomStringConvertible {
    /// The errors: those of the file by line, then those without a line, then the command line's.
    public let errors: [ConfigurationError]

    /// How many errors `description` shows before it only counts the rest.
    static let shown = 20
    /// How many errors one reading collects; a file that is wrong throughout needs no more.
    static let collected = 100

    /// Sorts the errors into file order; what stands at the same place keeps its order.
    public init(_ errors: [ConfigurationError]) {
        func place(_ error: ConfigurationError) -> (Int, Int) {
            (error.file == ConfigurationError.commandLine ? 1 : 0, error.line ?? Int.max)
        }
        self.errors = errors.enumerated().sorted {
            let (left, right) = (place($0.element), place($1.element))
            return left == right ? $0.offset < $1.offset : left < right
        }.map(\.element)
    }

    init(_ error: ConfigurationError) {
        errors = [error]
    }

    /// One line per error, 20 at most, then the number of those not shown.
    public var description: String {
        var lines = errors.prefix(Self.shown).map(\.description)
        if errors.count > Self.shown {
            lines.append("and \(errors.count - Self.shown) more")
        }
        return lines.joined(separator: "\n")
    }
}
