// Another program (rsync, ssh, a hook): started with nothing of ours but what is named here, fed
// and read while it runs, and ended when it is no longer wanted.

internal import CSpawn
internal import Glibc

/// A program and how it is to be run. Blocks the thread that runs it.
public struct Program: Sendable {
    /// Absolute; it is not searched for. See `find`.
    public var path: String
    /// Without the program's own name. Everybody can read them (`ps`): no secrets.
    public var arguments: [String]
    /// All of its environment; only the same user and root can read it.
    public var environment = Self.plainEnvironment
    /// A descriptor of ours that it keeps open (as number 3), such as a lock; nil for none.
    public var inherited: Int32?
    /// Whether its standard input stays open and empty until it has ended. The kernel closes it if
    /// we end before, however we do, so that a program that watches it can end with us.
    public var holdsInput = false
    /// Whether its complaints are read; if not, they are dropped before they cost anything.
    public var readsErrors = true
    /// Added to our own niceness, 0 to 19.
    public var niceness = 0
    /// One that runs longer is ended; nil for no limit.
    public var timeLimit: Duration?
    /// So long after SIGTERM comes SIGKILL.
    public var grace = Duration.seconds(30)

    /// What programs that are to speak plainly get.
    public static let plainEnvironment = [
        "LC_ALL": "C", "LANG": "C",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ]

    /// - Parameters:
    ///   - path: absolute.
    ///   - arguments: without the program's own name.
    public init(_ path: String, _ arguments: [String]) {
        self.path = path
        self.arguments = arguments
    }

    /// How it ended.
    public enum End: Sendable, Equatable {
        /// By itself, with a status.
        case exited(Int)
        /// By a signal that was not ours.
        case killed(signal: Int)
        /// It was not wanted any more.
        case stopped
        /// Its time was over.
        case timedOut
    }

    /// It could not be started, or nothing can be said of it any more.
    public struct Failure: Error, Sendable, CustomStringConvertible {
        /// The error number of the system.
        public let code: Int32
        /// One line for a person.
        public let description: String
    }

    /// Where a program is, searched in our own PATH; nil when it is not installed.
    public static func find(_ name: String) -> String? {
        if name.contains("/") { return access(name, X_OK) == 0 ? name : nil }
        let path = getenv("PATH").map { String(cString: $0) } ?? plainEnvironment["PATH"] ?? ""
        return path.split(separator: ":").lazy
            .filter { $0.hasPrefix("/") }.map { "\($0)/\(name)" }
            .first { access($0, X_OK) == 0 }
    }

    /// Runs it to its end.
    ///
    /// - Parameters:
    ///   - input: gives what it reads, piece by piece, nil at the end; without it, it reads nothing.
    ///   - isWanted: asked several times a second; false ends it (SIGTERM, later SIGKILL).
    ///   - pause: asked many times a second with the CPU time in seconds that it and its children
    ///     have taken; gives the seconds for which they are to stand still (SIGSTOP, SIGCONT).
    ///   - output: gets what it writes to its standard output.
    ///   - errors: gets what it writes to its standard error.
    public func run(
        input: (() -> [UInt8]?)? = nil, isWanted: () -> Bool = { true },
        pause: ((Double) -> Double)? = nil,
        output: (ArraySlice<UInt8>) -> Void, errors: (ArraySlice<UInt8>) -> Void = { _ in }
    ) throws(Failure) -> End {
        // A program that ends before it has read everything must not end us.
        if input != nil { signal(SIGPIPE, SIG_IGN) }
        let started = try start(readsInput: input != nil || holdsInput)
        var run = Run(process: started.process, program: self)
        run.ends = [started.output, started.errors]
        run.input = started.input
        return run.toTheEnd(
            input: input, isWanted: isWanted, pause: pause, output: output, errors: errors)
    }

    // MARK: Starting

    private struct Started {
        var process: pid_t
        var input: Int32?
        var output: Int32
        var errors: Int32
    }

    private func failure(_ code: Int32) -> Failure {
        Failure(
            code: code, description: "\(path) cannot be started: \(String(cString: strerror(code)))"
        )
    }

    private func start(readsInput: Bool) throws(Failure) -> Started {
        var pipes: [[Int32]] = []
        func closeAll() { for end in pipes.joined() where end >= 0 { close(end) } }
        for isNeeded in [true, readsErrors, readsInput] {
            guard isNeeded else {
                pipes.append([-1, -1])
                continue
            }
            var ends: [Int32] = [-1, -1]
            guard pipe2(&ends, O_CLOEXEC) == 0 else {
                let code = errno
                closeAll()
                throw failure(code)
            }
            pipes.append(ends)
        }
        let input = readsInput ? pipes[2] : nil
        var (process, code) = spawn(input: input?[0], output: pipes[0][1], errors: pipes[1][1])
        // A program that was just written may still be open in a child of ours that has not become
        // another program yet: for microseconds, and nothing tells when that is over.
        for _ in 0..<20 where code == ETXTBSY {
            usleep(10_000)
            (process, code) = spawn(input: input?[0], output: pipes[0][1], errors: pipes[1][1])
        }
        guard code == 0 else {
            closeAll()
            throw failure(code)
        }
        close(pipes[0][1])
        if readsErrors { close(pipes[1][1]) }
        if let input {
            close(input[0])
            // Ours only: the other end has a description of its own.
            _ = fcntl(input[1], F_SETFL, O_NONBLOCK)
        }
        if niceness > 0 {
            let own = getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0)
            setpriority(
                __priority_which_t(PRIO_PROCESS.rawValue), id_t(process),
                min(19, own + Int32(clamping: niceness)))
        }
        return Started(process: process, input: input?[1], output: pipes[0][0], errors: pipes[1][0])
    }

    /// An error number in place of 0 when it could not be started.
    private func spawn(
        input: Int32?, output: Int32, errors: Int32
    ) -> (process: pid_t, code: Int32) {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let input {
            posix_spawn_file_actions_adddup2(&actions, input, 0)
        } else {
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        }
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        if errors >= 0 {
            posix_spawn_file_actions_adddup2(&actions, errors, 2)
        } else {
            posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        }
        // Connections of clients would otherwise outlive their end.
        if let inherited { posix_spawn_file_actions_adddup2(&actions, inherited, 3) }
        posix_spawn_file_actions_addclosefrom_np(&actions, inherited == nil ? 3 : 4)

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        // A group of its own, so that what it starts (ssh) ends with it.
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(
            &attributes,
            Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))

        var words = Self.copies([path] + arguments)
        var variables = Self.copies(environment.sorted { $0.key < $1.key }.map { "\($0)=\($1)" })
        defer { for word in words + variables { free(word) } }
        var process = pid_t()
        let code = posix_spawn(&process, path, &actions, &attributes, &words, &variables)
        return (process, code)
    }

    /// A vector of C strings with its end.
    private static func copies(_ words: [String]) -> [UnsafeMutablePointer<CChar>?] {
        words.map { strdup($0) } + [nil]
    }
}

/// A program at work.
private struct Run {
    let process: pid_t
    let program: Program
    /// Standard output and error; -1 once they have ended.
    var ends: [Int32] = []
    /// Where it reads from; nil once that has ended.
    var input: Int32?
    private var waiting: [UInt8] = []
    private let began = ContinuousClock.now
    private var endsAt: ContinuousClock.Instant?
    private var isTimedOut = false
    /// When it was seen to have ended by itself, and bytes that were read since.
    private var ended: ContinuousClock.Instant?
    private var readSince = 0

    /// What it has written is read for so long after its end: a child that it leaves behind, such as
    /// a mount's daemon, may hold the pipes for ever. More than a pipe holds is that child's.
    private static let readsOn = Duration.seconds(1)
    private static let mostSince = 1 << 20

    init(process: pid_t, program: Program) {
        self.process = process
        self.program = program
    }

    mutating func toTheEnd(
        input source: (() -> [UInt8]?)?, isWanted: () -> Bool, pause: ((Double) -> Double)?,
        output: (ArraySlice<UInt8>) -> Void, errors: (ArraySlice<UInt8>) -> Void
    ) -> Program.End {
        var piece = [UInt8](repeating: 0, count: 65_536)
        while ends.contains(where: { $0 >= 0 }) {
            noteEnd()
            if ended == nil {
                stopIfDue(isWanted)
                if let pause, endsAt == nil { standStill(pause, isWanted) }
            } else if readSince > Self.mostSince {
                break
            }
            feed(source)
            var entries = ends.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            if let input, !waiting.isEmpty {
                entries.append(pollfd(fd: input, events: Int16(POLLOUT), revents: 0))
            }
            guard poll(&entries, nfds_t(entries.count), pause == nil ? 100 : 20) > 0 else {
                // One that was killed may have left the pipes to a grandchild.
                if let endsAt, ContinuousClock.now > endsAt + .seconds(5) { break }
                if let ended, ContinuousClock.now > ended + Self.readsOn { break }
                continue
            }
            for index in 0..<2 where entries[index].revents != 0 {
                let count = read(ends[index], &piece, piece.count)
                if count > 0 {
                    if ended != nil { readSince += count }
                    index == 0 ? output(piece[..<count]) : errors(piece[..<count])
                } else if count == 0 || errno != EINTR {
                    close(ends[index])
                    ends[index] = -1
                }
            }
        }
        for end in ends where end >= 0 { close(end) }
        if let input { close(input) }
        return wait(isWanted)
    }

    /// Finds out whether it has ended; its status stays to be asked for.
    private mutating func noteEnd() {
        guard ended == nil else { return }
        var info = siginfo_t()
        guard waitid(P_PID, id_t(process), &info, WEXITED | WNOHANG | WNOWAIT) == 0,
            info.si_signo == SIGCHLD
        else { return }
        ended = .now
    }

    /// Writes what it takes at once.
    private mutating func feed(_ source: (() -> [UInt8]?)?) {
        guard let descriptor = input, let source else { return }
        while true {
            if waiting.isEmpty {
                guard endsAt == nil, let more = source() else {
                    close(descriptor)
                    input = nil
                    return
                }
                waiting = more
                if more.isEmpty { continue }
            }
            let count = waiting.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 {
                waiting.removeFirst(count)
            } else if errno == EAGAIN || errno == EINTR {
                return
            } else {
                // It reads no more; what it thinks of that, its status will say.
                close(descriptor)
                input = nil
                waiting = []
                return
            }
        }
    }

    /// Holds it up as long as it is to be. If we end meanwhile, the kernel wakes it and hangs up on
    /// it: its group has lost its session's last parent.
    private func standStill(_ pause: (Double) -> Double, _ isWanted: () -> Bool) {
        var isStopped = false
        while isWanted() {
            let seconds = pause(ProgramTime.seconds(of: process))
            guard seconds > 0.001 else { break }
            if !isStopped { kill(-process, SIGSTOP) }
            isStopped = true
            // A part of it, so that the end of it all is noticed.
            usleep(UInt32(min(seconds, 0.2) * 1_000_000))
        }
        if isStopped { kill(-process, SIGCONT) }
    }

    private mutating func stopIfDue(_ isWanted: () -> Bool) {
        let now = ContinuousClock.now
        if let endsAt {
            if now >= endsAt { kill(-process, SIGKILL) }
            return
        }
        if let limit = program.timeLimit, now - began >= limit {
            isTimedOut = true
        } else if isWanted() {
            return
        }
        kill(-process, SIGTERM)
        endsAt = now + program.grace
    }

    private mutating func wait(_ isWanted: () -> Bool) -> Program.End {
        var status: Int32 = 0
        while true {
            let ended = waitpid(process, &status, WNOHANG)
            if ended == process { break }
            if ended < 0, errno != EINTR { return .exited(255) }
            stopIfDue(isWanted)
            // It has closed its output and is about to end.
            if ended == 0 { poll(nil, 0, 5) }
        }
        if endsAt != nil { return isTimedOut ? .timedOut : .stopped }
        let signal = status & 0x7F
        return signal == 0 ? .exited(Int(status >> 8 & 0xFF)) : .killed(signal: Int(signal))
    }
}
