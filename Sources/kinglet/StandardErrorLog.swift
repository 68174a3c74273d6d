// The log: one event per line on stderr, as logfmt or JSON; journald adds the rest.

internal import Engine
internal import Glibc
internal import Logging
internal import Options

/// Writes log events to stderr.
struct StandardErrorLog: LogHandler {
    private let format: LogFormat
    private let level: Setting<LogLevel>
    var metadata: Logger.Metadata = [:]

    init(format: LogFormat, level: Setting<LogLevel>) {
        self.format = format
        self.level = level
    }

    /// Follows the configuration, also when it is reloaded.
    var logLevel: Logger.Level {
        get { level.value.level }
        set {}
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var fields = [
            ("time", Clock.timestamp(Clock.secondsSince1970())),
            ("level", event.level.rawValue), ("msg", "\(event.message)"),
        ]
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        for (key, value) in all.sorted(by: { $0.key < $1.key }) { fields.append((key, "\(value)")) }
        printError(line(fields))
    }

    private func line(_ fields: [(String, String)]) -> String {
        switch format {
        case .logfmt:
            fields.map { key, value in
                let isPlain =
                    !value.isEmpty
                    && value.utf8.allSatisfy {
                        $0 > 0x20 && $0 != 0x22 && $0 != 0x3D && $0 < 0x7F
                    }
                return isPlain ? "\(key)=\(value)" : "\(key)=\(quoted(value))"
            }.joined(separator: " ")
        case .json:
            "{" + fields.map { "\(quoted($0)):\(quoted($1))" }.joined(separator: ",") + "}"
        }
    }

    /// A JSON string, which logfmt reads as well.
    private func quoted(_ text: String) -> String {
        var output = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": output += "\\\""
            case "\\": output += "\\\\"
            case "\n": output += "\\n"
            case "\r": output += "\\r"
            case "\t": output += "\\t"
            case _ where Terminal.obeys(scalar):
                for unit in String(scalar).utf16 {
                    let digits = String(unit, radix: 16)
                    output += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            default: output.unicodeScalars.append(scalar)
            }
        }
        return output + "\""
    }
}
