// A publication to a node of ours: who may, and into the queue with it. It is answered once it is on
// the disk.

internal import Addresses
internal import Engine
internal import Options
internal import Prometheus
internal import Storage
internal import TLS
internal import XML
internal import XMPP

/// Takes publications. Safe on any thread.
final class Publishing: Sendable {
    private let relay: PushRelayState
    private let rates = PublisherRates()

    init(_ relay: PushRelayState) { self.relay = relay }

    private enum Outcome: Sendable {
        case noted(NotedPush?)
        case refused(StanzaError, PushRefusal)
    }

    func publish(
        _ stanza: Stanza, _ children: [Element], _ host: Host,
        then: @escaping @Sendable (Result<Element?, StanzaError>) -> Void
    ) {
        func refuse(_ error: StanzaError, _ reason: PushRefusal) {
            relay.metrics.refusals[reason].add()
            then(.failure(error))
        }
        let request: PublishRequest
        do throws(StanzaError) {
            request = try PublishRequest(children)
        } catch {
            return refuse(error, .malformed)
        }
        guard let dispatcher = relay.dispatcher else {
            return then(
                .failure(StanzaError(.internalServerError, "not ready yet", kind: .wait)))
        }
        let from = stanza.from
        // XEP-0357 section 7: a user's server publishes in the name of the account.
        guard from.isBare else {
            return refuse(
                StanzaError(.forbidden, "a server publishes, in an account's name"), .publisher)
        }
        guard rates.allow(from.domain, now: dispatcher.now.monotonic) else {
            return refuse(
                StanzaError(.resourceConstraint, "too many at once; try later", kind: .wait), .rate)
        }
        let now = dispatcher.now.wall
        host.database.writer.submit(
            { try self.note(request, from, dispatcher, now: now, $0) },
            then: { result in
                switch result {
                case .success(.noted(let push)):
                    self.relay.metrics.published.add()
                    if let push { dispatcher.didCommit([push]) }
                    then(.success(nil))
                case .success(.refused(let error, let reason)):
                    self.relay.metrics.refusals[reason].add()
                    then(.failure(error))
                case .failure(let error):
                    then(.failure(.notStored(error)))
                }
            })
    }

    private func note(
        _ request: PublishRequest, _ from: JID, _ dispatcher: PushDispatcher, now: Int64,
        _ connection: Connection
    ) throws -> Outcome {
        let node: PushTargetRow
        let lookup = NodeLookup(relay.options, dispatcher)
        switch try lookup.find(
            request.node, request.options, domain: from.domain, now: now, connection)
        {
        case .failure(let refusal): return .refused(refusal.error, refusal.reason)
        case .success(let found): node = found
        }
        // Who publishes says by the text that it is something to see.
        var reason = WakeReason(kind: .message)
        // What is data alone for Firebase wakes the app in any case, which then asks its server.
        reason.isVisible = request.body != nil || node.provider == .fcm || node.provider.showsAll
        if let body = request.body, body != Publication.anyText {
            reason.body = String(body.unicodeScalars.prefix(500))
        }
        reason.sender = String((request.sender ?? "").unicodeScalars.prefix(200))
        return .noted(
            try dispatcher.wakeups.note(
                reason, unread: request.unread, node: node, now: now, connection))
    }
}
