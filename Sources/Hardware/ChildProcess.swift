// Another program, run for what it prints: with nothing of ours but its arguments, and never
// longer or more than it is allowed.

import CSpawn
import Glibc

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
        let deadline = ContinuousClock.now + timeLimit
        var ends: [Int32] = [-1, -1]
        // Not O_NONBLOCK: the program would inherit it and lose what it cannot write at once.
        guard pipe2(&ends, O_CLOEXEC) == 0 else {
            throw ReadingError(systemError: errno, subject: path)
        }
        defer { close(ends[0]) }
        let (process, code) = spawn(output: ends[1])
        close(ends[1])
        guard code == 0 else { throw ReadingError(systemError: code, subject: path) }

        let collected = collect(ends[0], deadline)
        let status = end(process, collected == nil ? .now : deadline)
        guard let collected, let status else {
            throw failure(.timeout, "it ran too long or wrote too much")
        }
        guard status == 0 else { throw failure(.connection, "it ended with status \(status)") }
        return String(decoding: collected, as: UTF8.self)
    }

    private func failure(_ code: ReadingError.Code, _ message: String) -> ReadingError {
        let command = ([path] + arguments).joined(separator: " ").prefix(200)
        return ReadingError(
            code, subject: path, message: message, advice: "try it by hand: '\(command)'")
    }

    /// Starts it; an error number in place of 0 when it could not be started.
    private func spawn(output: Int32) -> (process: pid_t, code: Int32) {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        // Connections of clients among them, which would otherwise outlive their end.
        posix_spawn_file_actions_addclosefrom_np(&actions, 3)

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        // The threads that read block all signals, which a program would inherit.
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

        var words = Self.copies([path] + arguments)
        var environment = Self.copies(["LANG=C", "PATH=/usr/bin:/bin"])
        defer { for word in words + environment { free(word) } }
        var process = pid_t()
        let code = posix_spawn(&process, path, &actions, &attributes, &words, &environment)
        return (process, code)
    }

    /// A vector of C strings with its end.
    private static func copies(_ words: [String]) -> [UnsafeMutablePointer<CChar>?] {
        words.map { strdup($0) } + [nil]
    }

    /// Everything up to the end of the output; nil when that did not come in time or bounds.
    private func collect(_ pipe: Int32, _ deadline: ContinuousClock.Instant) -> [UInt8]? {
        var collected: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 8192)
        while true {
            let left = ContinuousClock.now.duration(to: deadline)
            guard left > .zero else { return nil }
            var entry = pollfd(fd: pipe, events: Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, Int32(clamping: Int64(left.inSeconds * 1000) + 1)) > 0 else {
                continue
            }
            let count = read(pipe, &piece, piece.count)
            if count == 0 { return collected }
            if count < 0 {
                guard errno == EINTR else { return nil }
                continue
            }
            collected += piece[..<count]
            guard collected.count <= outputLimit else { return nil }
        }
    }

    /// The exit status, a signal counting as 128 and more; nil when it had to be killed because it
    /// still ran at the deadline. It is gone afterwards in any case.
    private func end(_ process: pid_t, _ deadline: ContinuousClock.Instant) -> Int32? {
        var status: Int32 = 0
        var isKilled = false
        while true {
            let ended = waitpid(process, &status, isKilled ? 0 : WNOHANG)
            if ended == process { break }
            if ended < 0, errno != EINTR { return nil }
            if ended == 0 {
                if ContinuousClock.now >= deadline {
                    kill(process, SIGKILL)
                    isKilled = true
                } else {
                    // It has closed its output and is about to end.
                    poll(nil, 0, 5)
                }
            }
        }
        guard !isKilled else { return nil }
        let signal = status & 0x7F
        return signal == 0 ? status >> 8 & 0xFF : 128 + signal
    }
}
