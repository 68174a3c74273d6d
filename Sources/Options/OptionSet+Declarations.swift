// The declarations of options, one function per type. Common to all of them: `key` is a dotted
// path of one to three names, `default` applies when the key is not set, `reloadable` says that
// a reload changes the value, and `help` is the text of the reference.

internal import Synchronization

extension OptionSet {
    /// Declares a whole number.
    public func integer(
        _ key: String, default defaultValue: Int, in bounds: ClosedRange<Int>,
        reloadable: Bool = false, help: String
    ) -> Setting<Int> {
        precondition(bounds.contains(defaultValue), "default out of bounds: \(key)")
        return declare(
            key, .integer(in: bounds), default: defaultValue, reloadable: reloadable, help: help)
    }

    /// Declares a whole number that may be left out.
    public func optionalInteger(
        _ key: String, in bounds: ClosedRange<Int>, reloadable: Bool = false, help: String
    ) -> Setting<Int?> {
        declare(
            key, .optionalInteger(in: bounds), default: nil, reloadable: reloadable, help: help)
    }

    /// Declares a size in bytes, written as `256KiB`, `1MiB` or a plain number of bytes.
    public func size(
        _ key: String, default defaultValue: Int, in bounds: ClosedRange<Int>,
        reloadable: Bool = false, help: String
    ) -> Setting<Int> {
        precondition(bounds.contains(defaultValue), "default out of bounds: \(key)")
        return declare(
            key, .size(in: bounds, example: defaultValue), default: defaultValue,
            reloadable: reloadable, help: help)
    }

    /// Declares a duration, written as `250ms`, `90s`, `10m`, `2h` or `7d`.
    public func duration(
        _ key: String, default defaultValue: Duration, in bounds: ClosedRange<Duration>,
        reloadable: Bool = false, help: String
    ) -> Setting<Duration> {
        precondition(bounds.contains(defaultValue), "default out of bounds: \(key)")
        return declare(
            key, .duration(in: bounds, example: defaultValue), default: defaultValue,
            reloadable: reloadable, help: help)
    }

    /// Declares a number that may have a fraction.
    public func number(
        _ key: String, default defaultValue: Double, in bounds: ClosedRange<Double>,
        reloadable: Bool = false, help: String
    ) -> Setting<Double> {
        precondition(bounds.contains(defaultValue), "default out of bounds: \(key)")
        return declare(
            key, .number(in: bounds), default: defaultValue, reloadable: reloadable, help: help)
    }

    /// Declares a truth value: `true`, `yes`, `on` or `false`, `no`, `off`.
    public func boolean(
        _ key: String, default defaultValue: Bool, reloadable: Bool = false, help: String
    ) -> Setting<Bool> {
        declare(key, .boolean, default: defaultValue, reloadable: reloadable, help: help)
    }

    /// Declares a text.
    /// - Parameters:
    ///   - maximumLength: in bytes of UTF-8.
    ///   - check: what is wrong with a text ("expected a domain name"); nil when it is good.
    ///     Called again at each reload, within the set's lock: it must not use the set.
    ///   - secret: keeps the value and the default out of messages, reference and reports.
    public func text(
        _ key: String, default defaultValue: String, maximumLength: Int = 1024,
        check: (@Sendable (String) -> String?)? = nil, reloadable: Bool = false,
        secret: Bool = false, help: String
    ) -> Setting<String> {
        let reader = TextReader(maximumLength: maximumLength, check: check, secret: secret)
        return declare(
            key, .text(reader), default: defaultValue, reloadable: reloadable, secret: secret,
            help: help)
    }

    /// Declares a text that may be absent; nil is the default. For the parameters see `text`.
    public func optionalText(
        _ key: String, maximumLength: Int = 1024,
        check: (@Sendable (String) -> String?)? = nil, reloadable: Bool = false,
        secret: Bool = false, help: String
    ) -> Setting<String?> {
        let reader = TextReader(maximumLength: maximumLength, check: check, secret: secret)
        return declare(
            key, .optionalText(reader), default: nil, reloadable: reloadable, secret: secret,
            help: help)
    }

    /// Declares a list of texts of at most 1,024 bytes each; a single text counts as a list of
    /// one. `check` judges each of them as in `text`.
    public func list(
        _ key: String, default defaultValue: [String], maximumCount: Int = 100,
        check: (@Sendable (String) -> String?)? = nil, reloadable: Bool = false, help: String
    ) -> Setting<[String]> {
        precondition(defaultValue.count <= maximumCount, "default out of bounds: \(key)")
        return declare(
            key, .list(maximumCount: maximumCount, TextReader(check: check)),
            default: defaultValue, reloadable: reloadable, help: help)
    }

    /// Declares a choice between the raw values of an enumeration.
    public func choice<E: RawRepresentable & CaseIterable & Sendable & Equatable>(
        _ key: String, default defaultValue: E, reloadable: Bool = false, help: String
    ) -> Setting<E> where E.RawValue == String {
        declare(key, .choice(), default: defaultValue, reloadable: reloadable, help: help)
    }

    /// Declares a list of mappings with the given fields; empty by default.
    public func records(
        _ key: String, fields: [RecordField], maximumCount: Int = 100, reloadable: Bool = false,
        example: String = "", help: String
    ) -> Setting<[ConfigurationRecord]> {
        precondition(Set(fields.map(\.name)).count == fields.count, "field declared twice: \(key)")
        let type = ValueType.records(fields: fields, maximumCount: maximumCount)
        state.withLock { $0.records[key] = { try? type.read($0) } }
        return declare(
            key, type, default: [], reloadable: reloadable, fields: fields, example: example,
            help: help)
    }
}
