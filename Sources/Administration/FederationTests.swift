// Tests of the way to other domains that administrators have asked for. Whoever asked looks from
// time to time how far his is.

internal import Engine
internal import Synchronization
internal import TLS

/// The tests of a server. Safe on any thread.
final class FederationTests: Sendable {
    /// So many go on at one time.
    private static let mostRunning = 4
    /// So many are remembered.
    private static let mostKept = 16

    private struct State {
        var last = 0
        var tests: [Int: FederationTest] = [:]
    }

    private let state = Mutex(State())

    /// Starts a test and gives its number.
    func start(_ test: FederationTest, _ host: Host) throws(AdministrationError) -> Int {
        let number = state.withLock { state -> Int? in
            let running = state.tests.values.count { !$0.progress.hasEnded }
            guard running < Self.mostRunning else { return nil }
            state.last += 1
            state.tests[state.last] = test
            if state.tests.count > Self.mostKept,
                let oldest = state.tests.filter({ $0.value.progress.hasEnded }).keys.min()
            {
                state.tests[oldest] = nil
            }
            return state.last
        }
        guard let number else {
            throw AdministrationError(
                message: "\(Self.mostRunning) tests go on already; wait for one of them")
        }
        Task { await test.run(host) }
        return number
    }

    /// How far a test is, without the steps that are known; nil for none of that number.
    func progress(_ number: Int, known: Int) -> FederationTestProgress? {
        guard let test = state.withLock({ $0.tests[number] }) else { return nil }
        let progress = test.progress
        var steps: [FederationTestStep] = []
        var failure: FederationTestStep?
        var last = FederationTestStep.Name.policy
        for entry in progress.entries {
            let step = FederationTestStep(entry, after: last)
            last = step.step
            steps.append(step)
            // The last of them, if several candidates failed alike.
            if let decided = progress.failure, entry.is(decided) { failure = step }
        }
        return FederationTestProgress(
            domain: test.remote, local: test.local, steps: Array(steps.dropFirst(max(0, known))),
            failure: failure, hasEnded: progress.hasEnded, isGood: progress.isGood,
            milliseconds: progress.milliseconds)
    }
}

extension FederationTestStep {
    /// - Parameter last: the step before, which says at what a failure happened that may happen at
    ///   several.
    init(_ entry: FederationTest.Entry, after last: Name) {
        switch entry.step {
        case .allowed(let incoming):
            self.init(.policy, ok: true, milliseconds: entry.milliseconds)
            self.incoming = incoming
        case .lookedUp(let records):
            self.init(.dns, ok: true, milliseconds: entry.milliseconds)
            value = records
        case .resolved(let host, let addresses):
            self.init(.addresses, ok: true, milliseconds: entry.milliseconds)
            value = host
            self.addresses = addresses
        case .connected(let address, let port):
            self.init(.connection, ok: true, milliseconds: entry.milliseconds)
            addresses = [address]
            self.port = port
        case .secured(let version, let cipher):
            self.init(.tls, ok: true, milliseconds: entry.milliseconds)
            value = version
            self.cipher = cipher
        case .certificate(let verdict, let subject, let issuer, let notAfter):
            self.init(.certificate, ok: verdict == .valid, milliseconds: entry.milliseconds)
            value = subject
            self.verdict = verdict.rawValue
            self.issuer = issuer.isEmpty ? nil : issuer
            self.notAfter = notAfter == 0 ? nil : Clock.timestamp(notAfter)
        case .authenticated(let mechanism):
            self.init(.authentication, ok: true, milliseconds: entry.milliseconds)
            value = mechanism
        case .answered:
            self.init(.ping, ok: true, milliseconds: entry.milliseconds)
        case .failed(let failure):
            self.init(
                Self.step(of: failure.reason, after: last), ok: false,
                milliseconds: entry.milliseconds)
            reason = failure.reason.rawValue
            text = failure.text
        }
    }

    private static func step(of reason: FederationFailureReason, after last: Name) -> Name {
        switch reason {
        case .noSuchDomain, .dnsTimeout, .dnsFailure, .noService: .dns
        case .noAddress, .forbiddenAddress: .addresses
        case .connectionRefused, .connectionTimeout, .unreachable: .connection
        case .noTLS, .tls: .tls
        case .certificateAbsent, .certificateExpired, .certificateNotYetValid,
            .certificateSelfSigned, .certificateUntrusted, .certificateWrongName,
            .certificateRevoked, .certificateInvalid:
            .certificate
        case .noAuthentication, .authenticationRefused, .dialback: .authentication
        case .policy: last == .authentication ? .ping : .policy
        case .shutdown: .connection
        case .connectionLost, .streamError, .protocolError, .timeout:
            last == .authentication ? .ping : .stream
        }
    }
}
