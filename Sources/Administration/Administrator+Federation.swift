// What an administrator can do about other servers.

internal import Addresses
internal import Engine
internal import Options

extension Administrator {
    /// More domains are not listed.
    private static let longestList = 10_000

    func federation(_ request: AdministrationRequest) throws -> AdministrationAnswer {
        switch request.operation {
        case .changeFederation: try change(request)
        case .testFederation: try startTest(request)
        case .showFederationTest: try showTest(request)
        default: AdministrationAnswer(federation: federationDescription)
        }
    }

    private var policy: String { host.federation.options.policy.value.rawValue }

    // MARK: Rules

    private func change(_ request: AdministrationRequest) throws -> AdministrationAnswer {
        guard let text = request.domain, let change = request.change else {
            throw AdministrationError(message: "which domain?")
        }
        let federation = host.federation
        let directions = request.direction.map { [$0] } ?? [.outgoing, .incoming]
        let domain: String
        switch waitForResult({ federation.change(text, change, directions, host, then: $0) }) {
        case .success(let kept): domain = kept
        case .failure(let error): throw AdministrationError(message: "\(error)")
        }
        let done =
            isRunning ? federation.enforce(host, trying: domain) : FederationEnforcement()
        let isOne = !domain.hasPrefix("*.")
        return AdministrationAnswer(
            federationChange: FederationChangeResult(
                domain: domain, policy: policy, endedStreams: done.endedStreams,
                returnedStanzas: done.returnedStanzas,
                outgoing: isOne ? federation.policy.allows(domain, .outgoing) : nil,
                incoming: isOne ? federation.policy.allows(domain, .incoming) : nil))
    }

    // MARK: Tests

    private func startTest(_ request: AdministrationRequest) throws -> AdministrationAnswer {
        guard isRunning else {
            throw AdministrationError(
                message: "kinglet is not running; start it, for the test uses its connections")
        }
        guard let text = request.domain else { throw AdministrationError(message: "which domain?") }
        let remote = try domainName(text)
        guard !host.serves(remote) else {
            throw AdministrationError(
                message: "\(remote) is served here; the test is for the domains of other servers")
        }
        let local = try request.local.map { try domainName($0) } ?? host.domains.first ?? ""
        guard host.isLocal(local) else {
            throw AdministrationError(
                message: "\(local) is not a domain of this server; it has: "
                    + host.domains.joined(separator: ", "))
        }
        return AdministrationAnswer(
            run: try tests.start(FederationTest(of: remote, from: local), host))
    }

    private func showTest(_ request: AdministrationRequest) throws -> AdministrationAnswer {
        guard let number = request.run,
            let progress = tests.progress(number, known: request.known ?? 0)
        else { throw AdministrationError(message: "the server does not know of this test") }
        return AdministrationAnswer(federationTest: progress)
    }

    // MARK: Descriptions

    var federationSummary: FederationSummary {
        let routes = host.federation.descriptions
        let streams = host.federation.streams
        let unreachable = Set(
            routes.filter { ($0.failure?.reason ?? .policy) != .policy }.map(\.remote))
        return FederationSummary(
            policy: policy,
            outgoing: isRunning ? streams.count { $0.direction == .outgoing } : nil,
            incoming: isRunning ? streams.count { $0.direction == .incoming } : nil,
            queuedStanzas: routes.reduce(0) { $0 + $1.queuedStanzas },
            queuedBytes: routes.reduce(0) { $0 + $1.queuedBytes },
            unreachable: unreachable.count,
            unreachablePushDomains: unreachable.filter(FederationPolicy.isPushDomain).sorted())
    }

    private var federationDescription: FederationDescription {
        var domains: [String: PeerDescription] = [:]
        func peer(_ domain: String) -> PeerDescription {
            domains[domain]
                ?? PeerDescription(
                    domain: domain, push: FederationPolicy.isPushDomain(domain), routes: [],
                    streams: [])
        }
        for route in host.federation.descriptions {
            guard route.state != .idle || route.queuedStanzas > 0 || route.failure != nil
            else { continue }
            var peer = peer(route.remote)
            peer.routes.append(describe(route))
            domains[route.remote] = peer
        }
        for stream in host.federation.streams {
            for remote in stream.remotes {
                var peer = peer(remote)
                peer.streams.append(describe(stream))
                domains[remote] = peer
            }
        }
        let all = domains.values.sorted { $0.domain < $1.domain }
        return FederationDescription(
            policy: policy, running: isRunning, rules: host.federation.rules,
            domains: Array(all.prefix(Self.longestList)),
            omitted: max(0, all.count - Self.longestList))
    }

    private func describe(_ route: RouteDescription) -> PeerRoute {
        func text(_ time: Int64?) -> String? { time.map { Clock.timestamp($0 / 1000) } }
        return PeerRoute(
            local: route.local,
            // Without a server nothing is under way, it only waits.
            state: isRunning ? route.state : .idle,
            queuedStanzas: route.queuedStanzas, queuedBytes: route.queuedBytes,
            oldest: text(route.oldest), nextAttempt: text(route.nextAttempt),
            failedAt: text(route.failedAt), reason: route.failure?.reason.rawValue,
            failure: route.failure?.text)
    }

    private func describe(_ stream: ServerStreamDescription) -> PeerConnection {
        PeerConnection(
            direction: stream.direction, local: stream.local,
            since: Clock.timestamp(stream.since), address: stream.address, tls: stream.tls,
            mechanism: stream.mechanism?.rawValue, bidirectional: stream.isBidirectional)
    }
}
