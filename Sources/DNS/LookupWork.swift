// What the thread of the look-ups does (LookupThread): it belongs to that thread alone.

internal import Glibc
internal import Synchronization

/// A question under way.
private final class Lookup {
    let question: Question
    private(set) var deadline: ContinuousClock.Instant
    /// In the order of the question's types; what has not come is a timeout.
    private(set) var replies: [Reply]
    private(set) var missing: Int

    /// Some name servers never answer for one of the families: one that has addresses waits so long
    /// for the other (RFC 8305, section 3, which would start to connect at once).
    private static let patience = Duration.seconds(1)

    init(_ question: Question, deadline: ContinuousClock.Instant) {
        self.question = question
        self.deadline = deadline
        replies = question.types.map { _ in .failure(.timeout) }
        missing = replies.count
    }

    func take(_ reply: Reply, at index: Int) {
        replies[index] = reply
        missing -= 1
        if missing > 0, case .success = Answer(question, replies).result {
            deadline = min(deadline, .now.advanced(by: Self.patience))
        }
    }
}

/// Owns the channel, and turns questions into answers until the thread is stopped.
final class LookupWork {
    private let thread: LookupThread
    private let wake: Int32
    private var channel: CaresChannel?
    /// As it was when the channel was opened.
    private var configuration: FileState?
    private var running: [Lookup] = []

    init(_ thread: LookupThread) {
        self.thread = thread
        wake = thread.inbox.withLock { $0.wake }
    }

    func run() {
        while let questions = takeTurn() {
            for question in questions where thread.table.isWanted(question) { begin(question) }
            // More may have their turn now.
            if settle() || !questions.isEmpty { continue }
            // Repetitions that nobody waits for any more.
            if running.isEmpty { channel?.cancel() }
            sleep()
        }
    }

    /// The questions whose turn it is; nil at the end.
    private func takeTurn() -> [Question]? {
        let (isStopped, isEmpty) = thread.inbox.withLock { ($0.isStopped, $0.waiting.isEmpty) }
        if isStopped { return nil }
        guard !isEmpty, let room = prepareChannel() else { return [] }
        return thread.inbox.withLock { inbox in
            let questions = Array(inbox.waiting.prefix(room))
            inbox.waiting.removeFirst(questions.count)
            return questions
        }
    }

    /// Sees to it that the channel has the servers that count now, for after the start of a machine
    /// they may come late; those that are being asked answer first.
    ///
    /// - Returns: for how many questions there is room; nil when they have to wait.
    private func prepareChannel() -> Int? {
        let settings = thread.settings
        let now = settings.servers == nil ? FileState(settings.configuration) : nil
        if channel == nil || now != configuration {
            guard running.isEmpty else { return nil }
            configuration = now
            channel = nil
            channel = CaresChannel(settings)
        }
        if channel == nil {
            refuseAll()
            return nil
        }
        return max(0, thread.limit - running.count)
    }

    private func refuseAll() {
        let questions = thread.inbox.withLock { inbox in
            defer { inbox.waiting = [] }
            return inbox.waiting
        }
        for question in questions { thread.table.fail(question, .serverFailure) }
    }

    private func begin(_ question: Question) {
        guard let channel else { return thread.table.fail(question, .serverFailure) }
        if case .addresses(let name) = question {
            let addresses = channel.hosts(name)
            guard addresses.isEmpty else {
                return thread.table.finish(question, Answer(hosts: addresses))
            }
        }
        let lookup = Lookup(question, deadline: .now.advanced(by: thread.settings.timeout))
        running.append(lookup)
        for (index, type) in question.types.enumerated() {
            channel.query(question.name, type: type) { lookup.take($0, at: index) }
        }
    }

    /// Answers what is answered or out of time; false when there is no such question.
    private func settle() -> Bool {
        let now = ContinuousClock.now
        let ended = running.filter { $0.missing == 0 || $0.deadline <= now }
        guard !ended.isEmpty else { return false }
        running.removeAll { $0.missing == 0 || $0.deadline <= now }
        for lookup in ended {
            thread.table.finish(lookup.question, Answer(lookup.question, lookup.replies))
        }
        return true
    }

    /// Waits until something comes, or is due.
    private func sleep() {
        var entries = [pollfd(fd: wake, events: Int16(POLLIN), revents: 0)]
        entries += channel?.polled ?? []
        var wait = channel?.wait ?? -1
        if let deadline = running.map(\.deadline).min() {
            let rest = Int32(clamping: max(0, (deadline - .now).milliseconds))
            wait = wait < 0 ? rest : min(wait, rest)
        }
        guard poll(&entries, nfds_t(entries.count), wait) >= 0 else { return }
        if entries[0].revents != 0 {
            var count: UInt64 = 0
            _ = read(wake, &count, 8)
        }
        channel?.process(entries.dropFirst())
    }
}

/// What tells that a file is another than before.
private struct FileState: Equatable {
    private var device: UInt64 = 0
    private var number: UInt64 = 0
    private var size: Int64 = 0
    private var seconds: Int64 = 0
    private var nanoseconds: Int64 = 0

    /// All zero when there is no such file.
    init(_ path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return }
        device = UInt64(status.st_dev)
        number = UInt64(status.st_ino)
        size = Int64(status.st_size)
        seconds = Int64(status.st_mtim.tv_sec)
        nanoseconds = Int64(status.st_mtim.tv_nsec)
    }
}
