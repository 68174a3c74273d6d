// The thread of an HTTPPool, and what others hand over to it.
//
// THREADS: the thread alone owns everything in `PoolWork`. Others put orders into the inbox and wake it
// with the first one. While nothing is under way it sleeps without a limit.

internal import CCurl
internal import Dispatch
internal import Glibc
internal import Synchronization

/// What a pool's thread and all others know.
final class PoolThread: Sendable {
    /// A request that somebody waits for.
    struct Order: Sendable {
        let request: HTTPRequest
        let rules: HTTPRules
        let handedOver: ContinuousClock.Instant
        let then: @Sendable (Result<HTTPResponse, HTTPError>) -> Void
    }

    struct Settings: Sendable {
        let authorities: String?
        let connectionsPerHost: Int
        let connections: Int
    }

    private struct Inbox {
        var orders: [Order] = []
        var underWay = 0
        var isStopped = false
        /// Only compared, and only while the thread runs.
        var thread: pthread_t?
    }

    let settings: Settings
    /// Counts what happens to the inbox.
    let wake: Int32
    private let inbox = Mutex(Inbox())
    private let ended = DispatchSemaphore(value: 0)

    init(_ settings: Settings) throws(HTTPError) {
        self.settings = settings
        wake = kinglet_curl_wake_descriptor()
        guard wake >= 0 else {
            throw HTTPError(code: .libcurl, host: "", message: String(cString: strerror(errno)))
        }
    }

    deinit { close(wake) }

    // MARK: Called by others

    var underWay: Int { inbox.withLock { $0.underWay } }

    /// Takes an order; false when the thread has been stopped.
    func take(_ order: Order) -> Bool {
        let place = inbox.withLock { inbox -> Int? in
            guard !inbox.isStopped else { return nil }
            inbox.orders.append(order)
            inbox.underWay += 1
            return inbox.orders.count
        }
        // Whoever put the first one there wakes the thread, which takes all of them; not under the
        // lock, for which it would wait at once.
        if place == 1 { signal() }
        return place != nil
    }

    /// Ends the thread.
    ///
    /// - Parameter waits: until it is over; never on the thread itself.
    func stop(waits: Bool) {
        let isOwn = inbox.withLock { inbox in
            if !inbox.isStopped { signal() }
            inbox.isStopped = true
            return inbox.thread.map { pthread_equal($0, pthread_self()) != 0 } ?? false
        }
        guard waits, !isOwn else { return }
        ended.wait()
        // For the next one that waits.
        ended.signal()
    }

    private func signal() {
        var one: UInt64 = 1
        // It fails only where so many have not been read that the thread is awake anyway.
        _ = write(wake, &one, 8)
    }

    // MARK: Called by the thread

    /// What has been put in; `isStopped` is for ever.
    func receive() -> (orders: [Order], isStopped: Bool) {
        inbox.withLock { inbox in
            guard !inbox.orders.isEmpty else { return ([], inbox.isStopped) }
            let orders = inbox.orders
            inbox.orders = []
            return (orders, inbox.isStopped)
        }
    }

    /// Tells the end of an order, whose place is free before.
    func end(_ order: Order, _ result: Result<HTTPResponse, HTTPError>) {
        inbox.withLock { $0.underWay -= 1 }
        order.then(result)
    }

    // MARK: The thread

    func start() throws(HTTPError) {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        pthread_attr_setstacksize(&attributes, 512 * 1024)
        let argument = Unmanaged.passRetained(self)
        var thread = pthread_t()
        let code = pthread_create(&thread, &attributes, Self.main, argument.toOpaque())
        guard code == 0 else {
            argument.release()
            throw HTTPError(code: .libcurl, host: "", message: String(cString: strerror(code)))
        }
    }

    private func run() {
        inbox.withLock { $0.thread = pthread_self() }
        if let work = PoolWork(self) {
            work.run()
        } else {
            fail()
        }
        inbox.withLock { $0.thread = nil }
        ended.signal()
    }

    /// There is no memory for the pool's work: everything fails until it is stopped.
    private func fail() {
        let sockets = PollSet(wake: wake)
        while true {
            let (orders, isStopped) = receive()
            for order in orders { end(order, .failure(Curl.notStarted(""))) }
            if isStopped { return }
            _ = sockets.wait(until: nil)
        }
    }

    private static let main: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? =
        { argument in
            var signals = sigset_t()
            sigfillset(&signals)
            // Also SIGPIPE, which a write to a connection may raise.
            pthread_sigmask(SIG_BLOCK, &signals, nil)
            // The name in `top -H`; Glibc's module lacks the call for it.
            let name = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
            if name >= 0 {
                _ = write(name, "http", 4)
                close(name)
            }
            if let argument {
                Unmanaged<PoolThread>.fromOpaque(argument).takeRetainedValue().run()
            }
            return nil
        }
}
