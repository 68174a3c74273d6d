// How a command fails: one clear line on stderr and status 1 (64 for wrong usage, which the
// argument parser gives).

internal import ArgumentParser
internal import Glibc

/// A command's failure, in a sentence for a person.
struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// Runs a command's work and turns its error into the one line.
func reportingFailure<Value>(_ work: () async throws -> Value) async throws -> Value {
    do {
        return try await work()
    } catch let error as ExitCode {
        throw error
    } catch let error as CleanExit {
        throw error
    } catch {
        printError("kinglet: \(error)")
        throw ExitCode(1)
    }
}

/// Writes a line to stderr.
func printError(_ line: String) {
    writeError(line + "\n")
}

/// Writes text to stderr.
func writeError(_ text: String) {
    let bytes = Array(text.utf8)
    _ = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
