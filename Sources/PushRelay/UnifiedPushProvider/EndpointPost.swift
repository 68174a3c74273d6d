// What is posted to an endpoint, on its way to the client.

internal import Addresses
internal import Engine
internal import Options
internal import Prometheus
internal import Storage
internal import TLS
internal import XML
internal import XMPP

extension UnifiedPushProvider {
    /// Messages that wait for a device whose connection is gone: so many at once and per minute.
    /// They count among what waits for the device, and its messages are worth more.
    private static let asleepBurst = 100.0
    private static let asleepPerMinute = 10.0

    /// Brings a message to the client, waits for its answer and gives that as HTTP has it.
    ///
    /// - Parameters:
    ///   - token: what stands behind `EndpointAnswer.path`.
    ///   - body: handed on as it is; encrypted or not is the app's business (RFC 8291).
    public func post(_ token: String, _ body: [UInt8]) async -> EndpointAnswer {
        let grant = EndpointToken.open(token, with: ring)
        let outcome = await outcome(grant, body)
        metrics.requests[outcome].add()
        var message: String?
        if outcome == .delivered || outcome == .queued, let grant,
            let domain = Self.domain(of: grant.service), let base = base(domain)
        {
            message = base + EndpointAnswer.path + "message/" + SecureRandom.identifier()
        }
        return EndpointAnswer(
            outcome, message: message, pause: max(1, 60 / options.rate.value))
    }

    private static func domain(of service: String) -> String? {
        service.hasPrefix("push.") ? String(service.dropFirst(5)) : nil
    }

    private func outcome(_ grant: EndpointGrant?, _ body: [UInt8]) async -> EndpointOutcome {
        let now = now()
        guard let grant, let host, let service = service(grant.service),
            options.audience.value == .anybody || host.isLocal(grant.client.domain)
        else { return .unknown }
        guard now.wall / 1000 < grant.expires else { return .expired }
        guard !body.isEmpty else { return .empty }
        guard body.count <= EndpointAnswer.longestMessage else { return .tooLarge }
        let rate = Double(options.rate.value)
        guard
            endpointRates.allow(
                grant.identity, perMinute: rate, burst: rate, now: now.monotonic)
        else { return .rate }
        guard host.isLocal(grant.client.domain) else {
            return await ask(grant, body, nil, service, host)
        }
        guard let session = host.sessions.session(grant.client) else {
            return await exists(grant.client.bare, host) ? .offline : .gone
        }
        guard !session.isHibernating else {
            let device = DigestAlgorithm.sha256.hash(Array(grant.client.description.utf8))
            guard
                deviceRates.allow(
                    device, perMinute: Self.asleepPerMinute, burst: Self.asleepBurst,
                    now: now.monotonic)
            else { return .busy }
            let push = Self.push(grant, body, id: host.nextIdentifier())
            return host.send(push, from: service) ? .queued : .failed
        }
        return await ask(grant, body, session, service, host)
    }

    /// Where the database cannot say, the account is taken to be there.
    private func exists(_ account: BareJID, _ host: Host) async -> Bool {
        await withCheckedContinuation { continuation in
            host.database.read({ try Accounts.exists(account, in: $0) }) { result in
                continuation.resume(returning: (try? result.get()) ?? true)
            }
        }
    }

    private static func push(_ grant: EndpointGrant, _ body: [UInt8], id: String) -> Element {
        let push = Element(
            "push", namespace,
            [
                ("application", PaddedBase64.encode(grant.application)),
                ("instance", PaddedBase64.encode(grant.instance)),
            ], text: PaddedBase64.encode(body))
        return Element(
            "iq", Namespaces.client,
            [
                ("from", grant.service), ("to", grant.client.description), ("type", "set"),
                ("id", id),
            ], [push])
    }

    // MARK: The client's answer

    private enum Reply: Sendable {
        case answer(Stanza)
        case none
        /// Not even asked.
        case busy
    }

    /// Sends a message to a client that is connected and waits for the answer.
    private func ask(
        _ grant: EndpointGrant, _ body: [UInt8], _ session: Session?, _ service: PushAppService,
        _ host: Host
    ) async -> EndpointOutcome {
        let id = host.nextIdentifier()
        let questions = service.questions
        let patience = patience
        let watch = Task {
            // A connection that breaks meanwhile is no reason to wait: the client gets it when it is
            // back.
            let pauses = 20
            for _ in 0..<pauses {
                try await Task.sleep(for: patience / pauses)
                if session?.isHibernating ?? false { break }
            }
            questions.giveUp(id)
        }
        let reply = await withTaskCancellationHandler {
            var isSent = true
            let reply = await withCheckedContinuation {
                (continuation: CheckedContinuation<Reply, Never>) in
                let isAsked = questions.expect(id, from: grant.client) { answer in
                    continuation.resume(returning: answer.map { .answer($0) } ?? .none)
                }
                guard isAsked else { return continuation.resume(returning: .busy) }
                isSent = host.send(Self.push(grant, body, id: id), from: service)
                if !isSent { questions.giveUp(id) }
            }
            return isSent ? reply : .busy
        } onCancel: {
            // Whoever posted has gone.
            questions.giveUp(id)
        }
        watch.cancel()
        switch reply {
        case .answer(let answer): return Self.outcome(answer)
        case .busy: return .busy
        case .none:
            // It is among what waits for this session, or the client has it and is slow.
            guard let session, host.sessions.session(grant.client) === session else {
                return .offline
            }
            return .queued
        }
    }

    /// What a client's answer means: an app that is gone is gone for good, everything else may pass.
    static func outcome(_ answer: Stanza) -> EndpointOutcome {
        guard answer.isError else { return .delivered }
        let condition = answer.fragment.element().child("error")?.elements
            .first { $0.namespace == Namespaces.stanzaErrors && $0.name != "text" }
            .flatMap { StanzaError.Condition(rawValue: $0.name) }
        switch condition {
        case .itemNotFound, .featureNotImplemented: return .gone
        case .serviceUnavailable, .recipientUnavailable, .remoteServerNotFound,
            .remoteServerTimeout, .resourceConstraint:
            return .offline
        default: return .failed
        }
    }
}
