// Who hands stanzas to the router: a client's session, another server's stream, a component's.

internal import NIOCore
internal import Synchronization
public import XMPP

/// The source of a stream of stanzas, which keep their order though some wait for the disk.
/// Known to all threads; what belongs to its event loop is used there alone.
public protocol StanzaOrigin: AnyObject, Sendable {
    /// Which one it is of all that this process has had, from 1 on.
    var number: Int64 { get }
    /// Keeps a stanza out of the origin's `h` (XEP-0198) until `release`; nil when it need not be.
    /// On its loop.
    func hold(_ stanza: Stanza) -> UInt32?
    /// What held a stanza is done. Any thread.
    func release(_ number: UInt32)
    /// Runs something on its loop, after everything that was posted before. Any thread.
    func run(_ body: @escaping @Sendable () -> Void)
    /// Handles a stanza again that was held, on its loop, and releases it unless it is held again.
    /// Any thread.
    func resume(_ number: UInt32, _ body: @escaping @Sendable () -> Void)
    /// How many of its stanzas wait for the disk. On its loop.
    var openCount: Int { get }
}

extension Session: StanzaOrigin {
    /// Runs something on the session's loop, wherever it is posted from once the session has ended.
    public func run(_ body: @escaping @Sendable () -> Void) {
        post(.run { _ in body() })
    }

    /// Handles a stanza again that was held.
    public func resume(_ number: UInt32, _ body: @escaping @Sendable () -> Void) {
        post(
            .run { state in
                state?.inbound.resume(number)
                body()
                state?.finish(number)
            })
    }

    /// How many of its stanzas wait for the disk.
    public var openCount: Int { stateHere?.inbound.openCount ?? 0 }

    /// Reads no more of its client until `roomIsThere`, but for a second at most. On its loop.
    func waitForRoom() { stateHere?.stream?.waitForRoom() }

    /// What waits for another domain has become less. Any thread.
    func roomIsThere() { post(.run { $0?.stream?.roomIsThere() }) }
}

/// A stream of another server or a component as the router sees it. It may outlive the stream.
final class PeerOrigin: StanzaOrigin {
    let number = Session.nextNumber()
    let loop: Loop
    private let stream: NIOLoopBoundBox<PeerStream?>

    init(_ loop: Loop) {
        self.loop = loop
        stream = .makeBoxSendingValue(nil, eventLoop: loop.eventLoop)
    }

    /// The stream, until it has ended. On its loop.
    var streamHere: PeerStream? {
        get { stream.value }
        set { stream.value = newValue }
    }

    func hold(_ stanza: Stanza) -> UInt32? {
        guard let number = stanza.number, let stream = streamHere, stream.inbound.hold(number)
        else { return nil }
        return number
    }

    func release(_ number: UInt32) {
        run { self.streamHere?.release(number) }
    }

    func run(_ body: @escaping @Sendable () -> Void) {
        if loop.eventLoop.inEventLoop { body() } else { loop.post(body) }
    }

    func resume(_ number: UInt32, _ body: @escaping @Sendable () -> Void) {
        run {
            self.streamHere?.inbound.resume(number)
            body()
            if let stream = self.streamHere, stream.inbound.finishResumed(number) {
                stream.release(number)
            }
        }
    }

    var openCount: Int { streamHere?.inbound.openCount ?? 0 }
}

/// The streams of servers and components, so that all of them can be told something. Any thread.
final class PeerOrigins: Sendable {
    private struct State {
        var origins: [ObjectIdentifier: PeerOrigin] = [:]
        var whenEmpty: [CheckedContinuation<Void, Never>] = []

        mutating func takeWaiting() -> [CheckedContinuation<Void, Never>] {
            defer { whenEmpty = [] }
            return whenEmpty
        }
    }

    private let state = Mutex(State())

    func insert(_ origin: PeerOrigin) {
        state.withLock { $0.origins[ObjectIdentifier(origin)] = origin }
    }

    func remove(_ origin: PeerOrigin) {
        let waiting = state.withLock { state in
            state.origins[ObjectIdentifier(origin)] = nil
            return state.origins.isEmpty ? state.takeWaiting() : []
        }
        for continuation in waiting { continuation.resume() }
    }

    /// Tells every stream that the server stops.
    func stop(_ error: StreamError) {
        for origin in state.withLock({ Array($0.origins.values) }) {
            origin.run { origin.streamHere?.stop(error) }
        }
    }

    /// Waits until all have ended, but not for ever.
    func ended(within time: Duration) async {
        let limit = Task {
            try await Task.sleep(for: time)
            for continuation in state.withLock({ $0.takeWaiting() }) { continuation.resume() }
        }
        await withCheckedContinuation { continuation in
            let isEmpty = state.withLock { state in
                guard !state.origins.isEmpty else { return true }
                state.whenEmpty.append(continuation)
                return false
            }
            if isEmpty { continuation.resume() }
        }
        limit.cancel()
    }
}
