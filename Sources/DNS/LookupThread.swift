// The thread that asks the name servers.
//
// THREADS: the thread is started by the first question and ends with `stop`. It alone owns the
// channel of c-ares and everything in `LookupWork`; others put questions into the inbox and wake it.
// While nothing is under way it sleeps without a limit.

internal import CAres
internal import Glibc
internal import Synchronization

/// Works off questions, so many at a time, and tells the answers to the table.
final class LookupThread: Sendable {
    /// Questions that wait for their turn at most; further ones are refused.
    static let mostWaiting = 4_096

    struct Inbox {
        var waiting: [Question] = []
        var isRunning = false
        var isStopped = false
        /// Counts what happens to the inbox; -1 before the thread runs.
        var wake: Int32 = -1
    }

    let settings: ChannelSettings
    let limit: Int
    let table: AnswerTable
    let inbox = Mutex(Inbox())

    /// - Parameter limit: questions that are under way at most.
    init(_ settings: ChannelSettings, limit: Int, table: AnswerTable) {
        self.settings = settings
        self.limit = max(1, limit)
        self.table = table
    }

    deinit {
        let wake = inbox.withLock { $0.wake }
        if wake >= 0 { close(wake) }
    }

    /// Takes a question; the table gets the answer.
    func ask(_ question: Question) {
        let code: DNSError.Code? = inbox.withLock { inbox in
            guard !inbox.isStopped else { return .cancelled }
            guard inbox.waiting.count < Self.mostWaiting else { return .refused }
            guard inbox.isRunning || start(&inbox) else { return .serverFailure }
            inbox.waiting.append(question)
            Self.signal(inbox)
            return nil
        }
        if let code { table.fail(question, code) }
    }

    /// Ends the thread soon.
    func stop() {
        inbox.withLock { inbox in
            inbox.isStopped = true
            inbox.waiting = []
            Self.signal(inbox)
        }
    }

    private static func signal(_ inbox: Inbox) {
        guard inbox.wake >= 0 else { return }
        var one: UInt64 = 1
        // It fails only where so many have not been read that the thread is awake anyway.
        _ = write(inbox.wake, &one, 8)
    }

    private func start(_ inbox: inout Inbox) -> Bool {
        if inbox.wake < 0 { inbox.wake = kinglet_wake_descriptor() }
        guard inbox.wake >= 0 else { return false }
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        pthread_attr_setstacksize(&attributes, 512 * 1024)
        let argument = Unmanaged.passRetained(self)
        var thread = pthread_t()
        inbox.isRunning =
            pthread_create(&thread, &attributes, Self.main, argument.toOpaque()) == 0
        if !inbox.isRunning { argument.release() }
        return inbox.isRunning
    }

    private static let main: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? =
        { argument in
            var signals = sigset_t()
            sigfillset(&signals)
            pthread_sigmask(SIG_BLOCK, &signals, nil)
            // The name in `top -H`; Glibc's module lacks the call for it.
            let name = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
            if name >= 0 {
                _ = write(name, "dns", 3)
                close(name)
            }
            if let argument {
                let thread = Unmanaged<LookupThread>.fromOpaque(argument).takeRetainedValue()
                LookupWork(thread).run()
            }
            return nil
        }
}
