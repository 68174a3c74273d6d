// Our own app server at `push.<domain>` (XEP-0357): apps register their tokens with ad-hoc commands
// (XEP-0050), users' servers publish to the nodes that they got. Users of this server take the same
// way up to the registration; their notifications go from the message to the provider without it.

internal import Addresses
internal import Engine
internal import Prometheus
internal import Storage
internal import Synchronization
internal import XML
internal import XMPP

/// Answers a request to the service; calls back once, on any thread.
typealias ServiceHandler =
    @Sendable (IQRequest, Host, @escaping @Sendable (Result<Element?, StanzaError>) -> Void) -> Void

/// One domain of the app server. Called on one loop.
final class PushAppService: LocalService {
    static let ping = "urn:xmpp:ping"

    let domain: String
    let commands = CommandTable()
    private let relay: PushRelayState
    private let publishing: Publishing
    /// What other parts answer at this address, by namespace and name.
    private let handlers = Mutex<[String: ServiceHandler]>([:])
    /// Answers to what was asked from this address.
    let questions = ServiceQuestions()

    init(_ domain: String, _ relay: PushRelayState) {
        self.domain = domain
        self.relay = relay
        publishing = Publishing(relay)
        PushRegistration(relay, domain).declare(in: commands)
    }

    /// Has a part answer requests with `<name xmlns='namespace'/>`, and say so. Before the start.
    func add(_ name: String, _ namespace: String, _ handler: @escaping ServiceHandler) {
        handlers.withLock { $0["\(namespace) \(name)"] = handler }
    }

    func receive(_ stanza: Stanza, _ host: Host) -> Bool {
        guard stanza.kind == .iq else {
            // Presence and errors are nobody's concern.
            return stanza.kind == .presence || stanza.isError
        }
        guard stanza.to?.isBare ?? false, stanza.to?.bare.isDomain ?? false else { return false }
        if stanza.isError || stanza.isType("result") {
            questions.answer(stanza)
            return true
        }
        if publishes(stanza) {
            let children = stanza.fragment.element().elements
            publishing.publish(stanza, children, host) { self.answer(stanza, $0, host) }
            return true
        }
        do throws(StanzaError) {
            guard let request = try IQRequest(stanza) else { return true }
            return handle(request, host)
        } catch {
            answer(stanza, .failure(error), host)
            return true
        }
    }

    /// A publication may have a second child, against RFC 6120 section 8.2.3.
    private func publishes(_ stanza: Stanza) -> Bool {
        stanza.isType("set") && stanza.id != nil
            && stanza.fragment.hasChild("pubsub", "http://jabber.org/protocol/pubsub")
    }

    private func handle(_ request: IQRequest, _ host: Host) -> Bool {
        if commands.concerns(request) {
            commands.answer(request, host) { host.answer(request, $0, from: self) }
            return true
        }
        let payload = request.payload
        let known = handlers.withLock { $0["\(payload.namespace) \(payload.name)"] }
        switch (payload.namespace, payload.name) {
        case (DiscoveryInfo.namespace, "query") where !request.isSet && payload["node"] == nil:
            host.answer(request, .success(info.element(node: nil)), from: self)
        case (DiscoveryItems.namespace, "query") where !request.isSet && payload["node"] == nil:
            host.answer(request, .success(DiscoveryItems([]).element()), from: self)
        case (Self.ping, "ping") where !request.isSet:
            host.answer(request, .success(nil), from: self)
        case _ where known != nil:
            known?(request, host) { host.answer(request, $0, from: self) }
        default:
            return false
        }
        return true
    }

    private var info: DiscoveryInfo {
        var info = DiscoveryInfo()
        info.identities = [
            DiscoveryInfo.Identity(category: "pubsub", type: "push", name: "Kinglet Push")
        ]
        info.features = [
            DiscoveryInfo.namespace, DiscoveryItems.namespace, Command.namespace, Self.ping,
            Publication.namespace, "\(Publication.pubsub)#publish",
            "\(Publication.pubsub)#publish-options",
        ]
        for key in handlers.withLock({ Array($0.keys) }) {
            if let namespace = key.split(separator: " ").first {
                info.features.insert(String(namespace))
            }
        }
        return info
    }

    private func answer(
        _ stanza: Stanza, _ result: Result<Element?, StanzaError>, _ host: Host
    ) {
        switch result {
        case .failure(let error): host.send(stanza.errorBytes(error), from: self)
        case .success(let payload):
            var iq = Element(
                "iq", Namespaces.client,
                [("from", domain), ("to", stanza.from.description), ("type", "result")],
                payload.map { [$0] } ?? [])
            iq["id"] = stanza.id
            host.send(iq, from: self)
        }
    }
}

/// What the service has asked clients and not been answered. Safe on any thread.
final class ServiceQuestions: Sendable {
    /// More than this are not asked at one time.
    private static let limit = 2000

    private struct Question {
        let asked: JID
        let then: @Sendable (Stanza?) -> Void
    }

    private let questions = Mutex<[String: Question]>([:])

    /// Waits for the answer to a request with this id; false if too many are under way.
    func expect(
        _ id: String, from asked: JID, then: @escaping @Sendable (Stanza?) -> Void
    ) -> Bool {
        questions.withLock { questions in
            guard questions.count < Self.limit else { return false }
            questions[id] = Question(asked: asked, then: then)
            return true
        }
    }

    /// An answer came.
    func answer(_ stanza: Stanza) {
        guard let id = stanza.id else { return }
        let question = questions.withLock { questions -> Question? in
            guard questions[id]?.asked == stanza.from else { return nil }
            return questions.removeValue(forKey: id)
        }
        question?.then(stanza)
    }

    /// Nobody waits any more; whoever asked hears nil.
    func giveUp(_ id: String) {
        questions.withLock { $0.removeValue(forKey: id) }?.then(nil)
    }
}
