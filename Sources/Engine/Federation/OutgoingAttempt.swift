// One attempt to open a stream to another domain: its candidates in turn, until one of them
// accepts who we are.

internal import Addresses
internal import NIOCore
internal import Options
internal import Prometheus
internal import XMPP

/// What a stream is opened for.
enum OutgoingPurpose: Sendable {
    /// To send what waits.
    case stanzas(ServerRoute)
    /// To ask whether a dialback key is right (XEP-0220 section 2.2); without authentication.
    case verification(DialbackQuestion)
    /// To see whether it works.
    case test
}

/// An attempt.
struct OutgoingAttempt: Sendable {
    /// More candidates than this are not tried.
    private static let longestList = 8
    /// All of them together get so long. A connection that is being opened has its own, shorter
    /// limit and is not cut off.
    private static let longest = TimeAmount.seconds(90)
    /// Somebody waits for the answer about a key, and takes one of few places meanwhile.
    private static let longestQuestion = TimeAmount.seconds(25)

    private let key: RouteKey
    private let purpose: OutgoingPurpose
    private let host: Host
    private let connector: any ServerConnector
    private let report: @Sendable (FederationStep) -> Void

    init(
        _ key: RouteKey, _ purpose: OutgoingPurpose, _ host: Host,
        _ connector: any ServerConnector,
        report: @escaping @Sendable (FederationStep) -> Void = { _ in }
    ) {
        self.key = key
        self.purpose = purpose
        self.host = host
        self.connector = connector
        self.report = report
    }

    /// Tries the candidates in turn; returns what a stream has become that was established.
    ///
    /// - Throws: the failure that says most, or that of the look-up. It is permanent only where
    ///   every candidate's is: one that is restarting may be all that is needed.
    @discardableResult
    func run() async throws(FederationFailure) -> PeerOrigin {
        // A question is for what wants to come in.
        var direction = FederationDirection.outgoing
        if case .verification = purpose { direction = .incoming }
        guard host.federation.policy.allows(key.remote, direction) else {
            throw .forbidden
        }
        let loop = host.federation.loop(for: key, host)
        let deadline = loop.eventLoop.now + time
        let candidates = try await connector.candidates(for: key.remote, report: report)
        var last = FederationFailure(.noService, "it names no server")
        var isPermanent = true
        for candidate in candidates.prefix(Self.longestList) {
            guard loop.eventLoop.now < deadline else {
                isPermanent = false
                if last.reason == .noService {
                    last = FederationFailure(.timeout, "it was not found in time")
                }
                break
            }
            do throws(FederationFailure) {
                return try await open(candidate, on: loop, by: deadline)
            } catch {
                report(.failed(error))
                isPermanent = isPermanent && error.isPermanent
                // A fault of one server says more than that the next one is not there.
                if last.reason == .noService || !Self.isOfNetwork(error.reason) { last = error }
            }
            // What the domain itself decides is the same at its next server.
            if last.reason == .policy
                || last.reason == .authenticationRefused && last.isPermanent
            {
                break
            }
        }
        last.isPermanent = isPermanent
        throw last
    }

    private var time: TimeAmount {
        if case .verification = purpose { Self.longestQuestion } else { Self.longest }
    }

    private static func isOfNetwork(_ reason: FederationFailureReason) -> Bool {
        switch reason {
        case .noAddress, .connectionRefused, .connectionTimeout, .unreachable, .dnsTimeout,
            .dnsFailure, .noSuchDomain:
            true
        default: false
        }
    }

    private func open(
        _ candidate: ServerCandidate, on loop: Loop, by deadline: NIODeadline
    ) async throws(FederationFailure) -> PeerOrigin {
        let promise = loop.eventLoop.makePromise(of: Result<PeerOrigin, FederationFailure>.self)
        let (host, key, purpose, report) = (host, key, purpose, report)
        do throws(FederationFailure) {
            try await connector.connect(
                candidate, from: key.local, to: key.remote, on: loop, report: report
            ) { transport in
                let stream = OutgoingServerStream(
                    host: host, loop: loop, transport: transport, key: key,
                    isDirectTLS: candidate.isDirectTLS, purpose: purpose, report: report
                ) { stream, failure in
                    promise.succeed(failure.map { .failure($0) } ?? .success(stream.origin))
                }
                if let due = stream.deadline, due > deadline { stream.setDeadline(deadline) }
                return stream
            }
        } catch {
            promise.succeed(.failure(error))
        }
        do {
            return try await promise.futureResult.get().get()
        } catch let failure as FederationFailure {
            throw failure
        } catch {
            throw FederationFailure(.connectionLost, "\(error)")
        }
    }
}
