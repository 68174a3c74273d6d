// One event loop as the engine sees it: a mailbox that other threads put deliveries into, the
// streams that have something to write, and a clock tick once a second.

internal import Glibc
public import NIOCore
internal import Prometheus
internal import Synchronization
internal import XMPP

/// What the engine keeps per event loop. The mailbox may be filled from any thread; everything
/// else belongs to the loop.
public final class Loop: Sendable {
    /// Which cell of the counters is this loop's; 0 is for other threads.
    public let cell: Int
    /// The loop itself.
    public let eventLoop: any EventLoop

    /// How long streams are ended at a time, and the pause that follows.
    private static let slice = TimeAmount.milliseconds(2)
    private static let pause = TimeAmount.milliseconds(1)

    private enum Delivery: Sendable {
        case session(Session, Session.Event)
        case work(@Sendable () -> Void)
    }

    private let mailbox = Mutex<[Delivery]>([])
    /// The session that is about to leave this loop.
    private let departing: NIOLoopBoundBox<SessionState?>
    private let awaiting: NIOLoopBoundBox<[ObjectIdentifier: SessionState]>
    private let unflushed: NIOLoopBoundBox<[XMLStream]>
    private let timed: NIOLoopBoundBox<[ObjectIdentifier: XMLStream]>
    private let ending: NIOLoopBoundBox<CircularBuffer<XMLStream>>
    private let openConnections = Atomic<Int>(0)
    private let busy = Atomic<Bool>(false)
    private let processorTime: NIOLoopBoundBox<Duration>
    private let lastTurn = Atomic<UInt64>(NIODeadline.now().uptimeNanoseconds)

    init(_ eventLoop: any EventLoop, cell: Int) {
        self.eventLoop = eventLoop
        self.cell = cell
        unflushed = .makeBoxSendingValue([], eventLoop: eventLoop)
        timed = .makeBoxSendingValue([:], eventLoop: eventLoop)
        ending = .makeBoxSendingValue(CircularBuffer(), eventLoop: eventLoop)
        departing = .makeBoxSendingValue(nil, eventLoop: eventLoop)
        awaiting = .makeBoxSendingValue([:], eventLoop: eventLoop)
        processorTime = .makeBoxSendingValue(.zero, eventLoop: eventLoop)
    }

    // MARK: Load

    /// Connections that live on this loop; read on any thread.
    public var connections: Int { openConnections.load(ordering: .relaxed) }

    /// Whether it used much of a core in the last second; read on any thread.
    public var isBusy: Bool { busy.load(ordering: .relaxed) }

    func countConnection(_ change: Int) {
        openConnections.wrappingAdd(change, ordering: .relaxed)
    }

    private func noteProcessorTime() {
        var time = timespec()
        guard clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0 else { return }
        let now = Duration.seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
        busy.store(now - processorTime.value > .milliseconds(400), ordering: .relaxed)
        processorTime.value = now
    }

    /// Starts the tick that measures lag and ends streams whose time is up.
    func start(metrics: EngineMetrics) {
        schedule(metrics)
    }

    private func schedule(_ metrics: EngineMetrics) {
        // By the loop's own clock, which in tests is not the system's.
        let due = eventLoop.now + .seconds(1)
        eventLoop.scheduleTask(deadline: due) { [weak self] in
            guard let self else { return }
            let now = self.eventLoop.now
            metrics.loopLag.observe(max(0, (now - due).seconds), cell: self.cell)
            self.tick(now)
            self.schedule(metrics)
        }
    }

    /// Ends what is overdue. Called once a second.
    private func tick(_ now: NIODeadline) {
        lastTurn.store(NIODeadline.now().uptimeNanoseconds, ordering: .relaxed)
        noteProcessorTime()
        for stream in Array(timed.value.values) { stream.checkDeadline(now) }
        for state in Array(awaiting.value.values) { state.checkAcknowledgement(now) }
    }

    /// Has the session's client asked every second what it got. On the loop.
    func awaitAcknowledgement(of state: SessionState) {
        awaiting.value[ObjectIdentifier(state)] = state
    }

    /// Stops asking. On the loop.
    func stopAwaiting(_ state: SessionState) {
        awaiting.value[ObjectIdentifier(state)] = nil
    }

    /// How long ago the loop last turned; read on any thread.
    public var timeSinceLastTurn: Duration {
        let now = NIODeadline.now().uptimeNanoseconds
        let last = lastTurn.load(ordering: .relaxed)
        return .nanoseconds(Int64(clamping: now > last ? now - last : 0))
    }

    // MARK: Deliveries

    /// Puts an event for a session of this loop into the mailbox. Any thread.
    func post(_ event: Session.Event, to session: Session) {
        post(.session(session, event))
    }

    /// Has something done on this loop, in the order of the mailbox. Any thread.
    func post(_ work: @escaping @Sendable () -> Void) {
        post(.work(work))
    }

    private func post(_ delivery: Delivery) {
        let isFirst = mailbox.withLock { mailbox in
            mailbox.append(delivery)
            return mailbox.count == 1
        }
        // One wake-up per batch: the rest is already on its way.
        if isFirst { eventLoop.execute { self.emptyMailbox() } }
    }

    private func emptyMailbox() {
        let deliveries = mailbox.withLock { mailbox in
            let deliveries = mailbox
            mailbox = []
            return deliveries
        }
        for delivery in deliveries {
            switch delivery {
            case .work(let work): work()
            case .session(let session, let event):
                if let state = departing.value, state.session === session {
                    state.handle(event)
                } else {
                    session.post(event)
                }
            }
        }
    }

    /// Takes a session away from this loop: what was posted before reaches its state here, and
    /// what is posted from then on waits. Nil if there is nothing to take.
    func depart(_ session: Session, if mayGo: (SessionState) -> Bool) -> SessionState.Contents? {
        emptyMailbox()
        guard let state = session.stateHere, !state.hasEnded, mayGo(state) else { return nil }
        session.place.withLock { $0 = .moving([]) }
        departing.value = state
        emptyMailbox()
        departing.value = nil
        guard !state.hasEnded else { return nil }
        return state.depart()
    }

    // MARK: Streams of this loop

    /// Has the stream's output written at the end of this tick, together with whatever else it
    /// gets until then. On the loop.
    func flushAtEndOfTick(_ stream: XMLStream) {
        unflushed.value.append(stream)
        guard unflushed.value.count == 1 else { return }
        eventLoop.execute { self.flushAll() }
    }

    private func flushAll() {
        let streams = unflushed.value
        unflushed.value = []
        for stream in streams { stream.flush() }
    }

    /// Ends the stream soon. On the loop.
    func endSoon(_ stream: XMLStream) {
        ending.value.append(stream)
        guard ending.value.count == 1 else { return }
        eventLoop.execute { self.endSome() }
    }

    /// Ends streams for a while, and lets the loop read from others before it goes on. (What a loop
    /// is asked to execute, it executes before it reads again, so the rest comes by the clock.)
    private func endSome() {
        let start = NIODeadline.now()
        while let stream = ending.value.first {
            stream.endNow()
            ending.value.removeFirst()
            if NIODeadline.now() - start > Self.slice, !ending.value.isEmpty {
                eventLoop.scheduleTask(in: Self.pause) { self.endSome() }
                return
            }
        }
    }

    /// Looks at the stream's deadline every second. On the loop.
    func watch(_ stream: XMLStream) { timed.value[ObjectIdentifier(stream)] = stream }

    /// Ends the streams that have a deadline, as all have that are not logged in. Any thread.
    func endTimedStreams(_ error: StreamError) {
        eventLoop.execute {
            for stream in Array(self.timed.value.values) { stream.end(error) }
        }
    }

    /// Stops looking. On the loop.
    func unwatch(_ stream: XMLStream) { timed.value[ObjectIdentifier(stream)] = nil }
}

extension TimeAmount {
    /// In seconds.
    var seconds: Double { Double(nanoseconds) / 1e9 }

    init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        self = .nanoseconds(
            seconds.multipliedReportingOverflow(by: 1_000_000_000).partialValue
                + attoseconds / 1_000_000_000)
    }
}
