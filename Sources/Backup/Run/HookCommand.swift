// The owner's own commands before and after a run.

internal import Programs

/// Runs a command by the shell.
enum HookCommand {
    /// Of what it writes to standard error, so much is repeated.
    private static let longestExcerpt = 300

    /// Throws when it fails; what it writes to standard output is of no interest.
    static func run(_ request: HookRequest) throws(BackupError) {
        var program = Program("/bin/sh", ["-c", request.command])
        program.environment.merge(request.environment.mapValues(printable)) { $1 }
        // Without the lock: what it leaves running, such as a mount's daemon, would keep it.
        program.grace = .seconds(2)
        var errors: [UInt8] = []
        let end: Program.End
        do throws(Program.Failure) {
            end = try program.run(
                isWanted: { request.cancellation.reason == nil }, output: { _ in },
                errors: { piece in
                    errors += piece.prefix(longestExcerpt - min(errors.count, longestExcerpt))
                })
        } catch {
            throw BackupError(.permanent, subject: request.name, error.description)
        }
        switch end {
        case .exited(0): return
        case .exited(let status):
            let words = printable(String(decoding: errors, as: UTF8.self))
            throw BackupError(
                .permanent, subject: request.name,
                "the command ended with status \(status)" + (words.isEmpty ? "" : ": \(words)"),
                advice: "mend the command, or take it out of the job")
        case .killed(let signal):
            throw BackupError(
                .permanent, subject: request.name, "the command was killed by signal \(signal)")
        case .stopped, .timedOut:
            throw BackupError(
                .cancelled, subject: request.name,
                request.cancellation.reason ?? "it took longer than it may")
        }
    }

    private static func printable(_ text: String) -> String {
        var line = Excerpt.line(text)
        while line.last == " " { line.removeLast() }
        return line
    }
}
