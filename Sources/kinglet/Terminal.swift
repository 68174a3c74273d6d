// Talking with a person.

internal import Glibc

enum Terminal {
    /// Whether a person is at both ends.
    static var isInteractive: Bool { isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1 }

    /// Whether a person reads what is printed.
    static var isShown: Bool { isatty(STDOUT_FILENO) == 1 }

    /// Writes to stdout at once.
    static func say(_ text: String) {
        print(text)
        fflush(nil)
    }

    /// Whether a terminal would do something else with it than show it, or show what is beside it
    /// in another place: control characters, ends of lines, and what turns the direction of writing.
    static func obeys(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .lineSeparator, .paragraphSeparator: true
        // Words of some languages, and domains in them, need the two joiners.
        case .format: scalar != "\u{200C}" && scalar != "\u{200D}"
        default: false
        }
    }

    /// A line that has other people's words in it, as it may be shown.
    static func harmless(_ line: String) -> String {
        guard line.unicodeScalars.contains(where: obeys) else { return line }
        return String(String.UnicodeScalarView(line.unicodeScalars.map { obeys($0) ? "?" : $0 }))
    }

    /// Asks a question; Return takes the suggestion.
    static func ask(_ question: String, suggestion: String) throws -> String {
        print("\(question) [\(suggestion)]: ", terminator: "")
        fflush(nil)
        guard let line = readLine() else { throw Failure("no answer") }
        let answer = String(
            line.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
        return answer.isEmpty ? suggestion : answer
    }

    /// Asks for a password without showing it.
    static func askPassword(_ question: String) throws -> String {
        var settings = termios()
        let isTerminal = tcgetattr(STDIN_FILENO, &settings) == 0
        if isTerminal {
            // Before the question, so that nothing that answers it is shown.
            var hidden = settings
            hidden.c_lflag &= ~tcflag_t(ECHO)
            tcsetattr(STDIN_FILENO, TCSANOW, &hidden)
        }
        defer {
            if isTerminal {
                tcsetattr(STDIN_FILENO, TCSANOW, &settings)
                print("")
            }
        }
        print("\(question): ", terminator: "")
        fflush(nil)
        guard let line = readLine() else { throw Failure("no password was given") }
        return line
    }
}

/// A password from standard input or, at a terminal, asked for twice.
enum PasswordInput {
    static let longest = 1024

    static func read(fromStandardInput: Bool) throws -> String {
        let password: String
        if fromStandardInput {
            password = readLine() ?? ""
        } else {
            guard Terminal.isInteractive else {
                throw Failure(
                    "a password is needed; give it on standard input with --password-stdin")
            }
            password = try Terminal.askPassword("Password")
            guard try Terminal.askPassword("Again") == password else {
                throw Failure("the two passwords differ; nothing was changed")
            }
        }
        guard !password.isEmpty else { throw Failure("the password is empty; nothing was changed") }
        guard password.utf8.count <= longest else {
            throw Failure("a password has at most \(longest) bytes")
        }
        return password
    }
}
