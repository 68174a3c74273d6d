// Another program, run for what it prints: with nothing of ours but its arguments, and never
// longer or more than it is allowed.

import Programs

/// A program that is run once.
struct ChildProcess {
    /// Absolute; it is not searched for.
    var path: String
    /// Without the program's own name.
    var arguments: [String]
    /// More output than this is an error, in bytes.
    var outputLimit = 64 * 1024
    /// A program that runs longer is killed.
    var timeLimit = Duration.seconds(8)

    /// What it wrote to its standard output. It reads nothing, and its complaints are dropped.
    func output() throws(ReadingError) -> String {
        var program = Program(path, arguments)
        program.environment = ["LANG": "C", "PATH": "/usr/bin:/bin"]
        program.timeLimit = timeLimit
        program.grace = .zero
        program.readsErrors = false
        var collected: [UInt8] = []
        let end: Program.End
        do {
            end = try program.run(
                isWanted: { collected.count <= outputLimit }, output: { collected += $0 })
        } catch {
            throw ReadingError(systemError: error.code, subject: path)
        }
        switch end {
        case .exited(0) where collected.count <= outputLimit:
            return String(decoding: collected, as: UTF8.self)
        case .exited(0), .stopped, .timedOut:
            throw failure(.timeout, "it ran too long or wrote too much")
        case .exited(let status):
            throw failure(.connection, "it ended with status \(status)")
        case .killed(let signal):
            throw failure(.connection, "it ended with status \(128 + signal)")
        }
    }

    private func failure(_ code: ReadingError.Code, _ message: String) -> ReadingError {
        let command = ([path] + arguments).joined(separator: " ").prefix(200)
        return ReadingError(
            code, subject: path, message: message, advice: "try it by hand: '\(command)'")
    }
}
