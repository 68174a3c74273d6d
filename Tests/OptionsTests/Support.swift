// What the tests of this target share.

import Options
import Testing

/// Parses a document that is meant to be good.
func document(_ yaml: String) throws -> ConfigurationDocument {
    try ConfigurationDocument.parse(yaml, file: "kinglet.yaml")
}

/// What an operator reads about a text that cannot be parsed; nil when it can.
func syntaxError(_ yaml: String) -> String? {
    do {
        _ = try ConfigurationDocument.parse(yaml, file: "kinglet.yaml")
        return nil
    } catch {
        return error.description
    }
}

/// The value of one option in a document, or what the operator reads.
func read<Value: Sendable>(
    _ yaml: String, _ declare: (OptionSet) -> Setting<Value>
) throws -> Result<Value, ConfigurationErrors> {
    let options = OptionSet(try document(yaml))
    let setting = declare(options)
    do {
        try options.finish()
        return .success(setting.value)
    } catch {
        return .failure(error)
    }
}

extension Result where Failure == ConfigurationErrors {
    /// The value; nil when there are errors.
    var value: Success? { try? get() }

    /// The text of the errors; nil when there is a value.
    var message: String? {
        if case .failure(let errors) = self { errors.description } else { nil }
    }
}

/// What an operator reads about a complete set; nil when nothing is wrong.
func complaint(_ options: OptionSet) -> String? {
    do {
        try options.finish()
        return nil
    } catch {
        return error.description
    }
}
