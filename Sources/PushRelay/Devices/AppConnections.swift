// The connections of apps: what a program tells somebody whose app is connected need not go by the
// maker of the telephone. An app that knows nothing of this answers so (RFC 6120 section 8.4), and is
// woken like all others.

internal import Addresses
internal import Engine
internal import NIOCore
internal import Synchronization
internal import XML
internal import XMPP

/// Asks apps that are connected. Safe on any thread.
struct AppConnections: Sendable {
    static let namespace = "urn:kinglet:push:0"
    private static let json = "urn:xmpp:json:0"
    /// Those who have not answered by then are told in the other way.
    private static let patience = TimeAmount.seconds(10)

    private let host: Host
    private let services: ServiceTable

    init(_ host: Host, services: ServiceTable) {
        self.host = host
        self.services = services
    }

    struct Question: Sendable {
        let target: Int64
        let client: JID
        let service: PushAppService
        let id: String
    }

    private final class Answers: Sendable {
        private struct State {
            var waiting: Int
            var reached: Set<Int64> = []
        }

        private let state: Mutex<State>
        private let then: @Sendable (Set<Int64>) -> Void

        init(_ count: Int, then: @escaping @Sendable (Set<Int64>) -> Void) {
            state = Mutex(State(waiting: count))
            self.then = then
        }

        func note(_ target: Int64, isReached: Bool) {
            let reached = state.withLock { state -> Set<Int64>? in
                if isReached { state.reached.insert(target) }
                state.waiting -= 1
                return state.waiting == 0 ? state.reached : nil
            }
            if let reached { then(reached) }
        }
    }

    /// Those of the members whose apps are connected.
    func questions(_ members: [ParcelMember]) -> [Question] {
        members.compactMap { question($0) }
    }

    /// Tells apps that are connected; `then` gets the targets of those that took it (XEP-0335 in an
    /// IQ), on any thread.
    ///
    /// - Parameter task: comes with it, for the same comes twice if a connection breaks before the
    ///   answer.
    func ask(
        _ questions: [Question], _ notification: PushNotification, of task: Int64,
        _ members: [ParcelMember], then: @escaping @Sendable (Set<Int64>) -> Void
    ) {
        guard !questions.isEmpty, let loop = host.loops.first else { return then([]) }
        let answers = Answers(questions.count, then: then)
        let asked = questions.filter { question in
            let isExpected = question.service.questions.expect(question.id, from: question.client) {
                answers.note(question.target, isReached: $0.map { !$0.isError } ?? false)
            }
            if !isExpected { answers.note(question.target, isReached: false) }
            return isExpected
        }
        let badges = Dictionary(
            members.map { ($0.id, $0.badge) }, uniquingKeysWith: { first, _ in first })
        for question in asked {
            var notification = notification
            notification.unread = badges[question.target] ?? nil
            let stanza = Self.stanza(notification, task, question)
            if !host.send(stanza, from: question.service) {
                question.service.questions.giveUp(question.id)
            }
        }
        loop.eventLoop.scheduleTask(in: Self.patience) {
            for question in asked { question.service.questions.giveUp(question.id) }
        }
    }

    private func question(_ member: ParcelMember) -> Question? {
        guard let target = member.target, let account = target.account,
            let resource = target.resource,
            let client = try? JID("\(account)/\(resource)"),
            let session = host.sessions.session(client), !session.isHibernating,
            let service = services.service("push.\(account.domain)")
        else { return nil }
        return Question(
            target: member.id, client: client, service: service, id: host.nextIdentifier())
    }

    private static func stanza(
        _ notification: PushNotification, _ task: Int64, _ question: Question
    ) -> Element {
        var fields = notification.fields
        fields["task"] = .string(String(task))
        let text = String(decoding: JSONValue.object(fields).bytes, as: UTF8.self)
        return Element(
            "iq", Namespaces.client,
            [
                ("from", question.service.domain), ("to", question.client.description),
                ("type", "set"), ("id", question.id),
            ],
            [Element("notification", namespace, [], [Element("json", json, text: text)])])
    }
}

/// Our own app servers by their domains. Safe on any thread.
final class ServiceTable: Sendable {
    private let services = Mutex<[String: PushAppService]>([:])

    func service(_ domain: String) -> PushAppService? { services.withLock { $0[domain] } }

    func add(_ service: PushAppService) {
        services.withLock { $0[service.domain] = service }
    }
}
