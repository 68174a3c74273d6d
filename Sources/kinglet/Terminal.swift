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
