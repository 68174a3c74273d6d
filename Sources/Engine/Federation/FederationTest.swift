// Whether stanzas get to another domain and back: a connection of its own, step by step. Nothing
// that waits for the domain goes over it, and it ends with the test.

internal import Addresses
internal import NIOCore
internal import Options
internal import Synchronization
internal import XML
internal import XMPP

/// A test of the way to another domain. Safe on any thread.
public final class FederationTest: Sendable {
    /// A step that is done.
    public struct Entry: Sendable, Equatable {
        /// What it was.
        public let step: FederationStep
        /// How long it took.
        public let milliseconds: Int

        /// Creates an entry.
        public init(step: FederationStep, milliseconds: Int) {
            self.step = step
            self.milliseconds = milliseconds
        }

        /// Whether it is this failure; that of one candidate may be permanent where that of the
        /// whole domain is not.
        public func `is`(_ failure: FederationFailure) -> Bool {
            guard case .failed(let other) = step else { return false }
            return other.reason == failure.reason && other.text == failure.text
        }
    }

    /// What is known so far.
    public struct Progress: Sendable {
        /// The steps, in their order.
        public var entries: [Entry] = []
        /// Whether the test has ended.
        public var hasEnded = false
        /// Why it does not work, once the test has ended; one of the steps that failed, and not
        /// always the first: another candidate may have come further.
        public var failure: FederationFailure?
        /// Whether everything works; some candidates may have failed nevertheless.
        public var isGood: Bool { hasEnded && failure == nil }
        /// From the beginning to the end, or until now.
        public var milliseconds = 0
    }

    private struct State {
        var progress = Progress()
        var last: NIODeadline
    }

    /// How long the whole may take.
    static let longest = TimeAmount.seconds(120)
    /// How long the answer to the ping may take.
    static let answerTime = TimeAmount.seconds(10)
    /// More steps than this are not noted.
    private static let mostEntries = 200

    /// The other domain, and ours; prepared.
    public let remote, local: String
    private let started = NIODeadline.now()
    private let state: Mutex<State>

    /// - Parameters: prepared domains; `local` is one of this server's.
    public init(of remote: String, from local: String) {
        self.remote = remote
        self.local = local
        state = Mutex(State(last: started))
    }

    /// What is known now.
    public var progress: Progress {
        state.withLock { state in
            var progress = state.progress
            if !progress.hasEnded {
                progress.milliseconds = Self.milliseconds(.now() - started)
            }
            return progress
        }
    }

    /// Does it; once.
    public func run(_ host: Host) async {
        let limit = host.loops.first?.eventLoop.scheduleTask(in: Self.longest) {
            self.end(FederationFailure(.timeout, "it took longer than two minutes"))
        }
        do throws(FederationFailure) {
            try await go(host)
            host.federation.testSucceeded(RouteKey(local: local, remote: remote))
            end(nil)
        } catch {
            end(error)
        }
        limit?.cancel()
    }

    private func go(_ host: Host) async throws(FederationFailure) {
        let federation = host.federation
        guard federation.policy.allows(remote, .outgoing) else {
            guard federation.options.policy.value == .off else { throw .forbidden }
            throw FederationFailure(.policy, "federation.policy is off, as with --isolated")
        }
        let maySend = federation.policy.allows(remote, .incoming)
        note(.allowed(incoming: maySend))
        guard let connector = federation.connector else {
            throw FederationFailure(
                .shutdown,
                "the server has no connections to others: it was started with "
                    + "--isolated, or is stopping")
        }
        let origin = try await OutgoingAttempt(
            RouteKey(local: local, remote: remote), .test, host, connector,
            report: { self.note($0) }
        ).run()
        defer { origin.run { origin.streamHere?.end(nil) } }
        guard maySend else {
            throw FederationFailure(.policy, "its answer to a ping may not come in")
        }
        try await ping(origin, host)
    }

    /// The answer takes another server's way to us (RFC 6120 section 10.4).
    private func ping(_ origin: PeerOrigin, _ host: Host) async throws(FederationFailure) {
        let id = host.nextIdentifier()
        let ping = Element(
            "iq", Namespaces.client,
            [("from", local), ("to", remote), ("type", "get"), ("id", id)],
            [Element("ping", "urn:xmpp:ping")])
        let asked = JID(bare: BareJID(preparedDomain: remote))
        let answer = await withCheckedContinuation { continuation in
            host.requests.expect(
                id, from: asked, within: Self.answerTime, on: origin.loop.eventLoop
            ) { continuation.resume(returning: $0 != nil) }
            origin.run {
                origin.streamHere?.send(
                    XMLWriter.bytes(ping, contentNamespace: Namespaces.client))
            }
        }
        guard !answer else { return note(.answered) }
        let stands = (try? await origin.loop.eventLoop.submit { origin.streamHere != nil }.get())
        guard stands ?? false else {
            throw FederationFailure(.connectionLost, "it ended the stream instead of answering")
        }
        throw FederationFailure(
            .timeout,
            "no answer to a ping came within \(Self.answerTime.nanoseconds / 1_000_000_000) s")
    }

    // MARK: What is known

    private static func milliseconds(_ time: TimeAmount) -> Int {
        Int(max(0, time.nanoseconds) / 1_000_000)
    }

    private func note(_ step: FederationStep) {
        state.withLock { state in
            guard !state.progress.hasEnded, state.progress.entries.count < Self.mostEntries
            else { return }
            Self.append(step, &state)
        }
    }

    private static func append(_ step: FederationStep, _ state: inout State) {
        let now = NIODeadline.now()
        state.progress.entries.append(
            Entry(step: step, milliseconds: milliseconds(now - state.last)))
        state.last = now
    }

    private func end(_ failure: FederationFailure?) {
        state.withLock { state in
            guard !state.progress.hasEnded else { return }
            if let failure {
                // A candidate's own failure is there already.
                let isThere = state.progress.entries.contains { $0.is(failure) }
                if !isThere { Self.append(.failed(failure), &state) }
            }
            state.progress.hasEnded = true
            state.progress.failure = failure
            state.progress.milliseconds = Self.milliseconds(.now() - started)
        }
    }
}
