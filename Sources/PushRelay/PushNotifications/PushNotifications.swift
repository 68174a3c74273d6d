// XEP-0357: Push Notifications, the user's server. A client says at which app server it can be woken;
// what its user wants to be woken for is noted in the transaction that stores it, for those devices
// that are gone, hibernate or are inactive (XEP-0352). A registration is never forgotten silently:
// it is disabled with the reason, and listed until it is enabled again or removed.

internal import Addresses
internal import Engine
internal import Options
internal import Prometheus
internal import Storage
internal import Synchronization
internal import XML
internal import XMPP

/// Takes registrations and notes wake-ups. Safe on any thread.
struct PushNotifications: Sendable {
    static let specifications = [
        Specification("XEP-0357", version: "0.4.1", "Push Notifications")
    ]
    /// Bytes of the form that a client has with each publication.
    private static let longestForm = 4096
    private static let longestName = 1023

    let relay: PushRelayState
    let watched = WatchedAccounts()

    init(in host: HostBuilder, _ relay: PushRelayState) {
        self.relay = relay
        let feature = self
        host.advertise(Publication.namespace, for: [.server, .ownAccount])
        host.answer("enable", Publication.namespace, for: [.ownAccount]) {
            request, _, session, host throws(StanzaError) in
            try feature.enable(request, session, host)
        }
        host.answer("disable", Publication.namespace, for: [.ownAccount]) {
            request, _, session, host throws(StanzaError) in
            try feature.disable(request, session, host)
        }
        host.hooks.mayWake = { stanza, to in
            feature.watched.contains(to.bare) && WakeRule.mayWake(stanza, to: to.bare)
        }
        host.hooks.noteWake = { try feature.note($0, to: $1, message: $2, $3, $4) }
        host.hooks.removeAccount.append { account, connection in
            try PushTargetStore.removeAll(connection, of: account)
            guard let owner = relay.keys?.hexName("owner", account.description) else { return }
            try PushTargetStore.removeAll(connection, ownedBy: owner)
        }
        host.hooks.accountSizes.append { account, connection in
            [AccountSize("push_targets", try PushTargetStore.count(connection, of: account))]
        }
    }

    /// Reads who has targets, aside from the start.
    func load(_ host: Host) {
        host.database.read(
            { connection in
                var hashes: Set<Int> = []
                try PushTargetStore.accounts(connection) { hashes.insert($0.hashValue) }
                return hashes
            },
            then: { result in
                if case .success(let hashes) = result { watched.load(hashes) }
            })
    }

    // MARK: Enabling (section 5)

    private func enable(
        _ request: IQRequest, _ session: Session, _ host: Host
    ) throws(StanzaError) -> IQAnswer {
        guard request.isSet else { throw Self.notASet }
        let (service, node) = try Self.address(request.payload)
        guard let service, let node else {
            throw StanzaError(.badRequest, "an enable has a jid and a node")
        }
        guard service.bare != session.jid.bare else {
            throw StanzaError(.notAcceptable, "an account is no app server")
        }
        var target = PushTarget("", [Publication.nodeParameter: node])
        if let form = request.payload.child("x", DataForm.namespace) {
            let bytes = XMLWriter.bytes(form, contentNamespace: Publication.pubsub)
            guard bytes.count <= Self.longestForm else {
                throw StanzaError(.notAcceptable, "the form is too large")
            }
            target.parameters[Publication.optionsParameter] = String(
                decoding: bytes, as: UTF8.self)
        }
        guard let keys = relay.keys, let secret = try? keys.seal(target) else {
            throw StanzaError(.internalServerError)
        }
        let now = Clock.secondsSince1970()
        let account = session.jid.bare
        var row = PushTargetRow(
            provider: .xmpp, account: account, resource: session.jid.resource,
            service: service.description, node: keys.nodeName(node), domain: account.domain,
            circuit: "xmpp:\(service.domain)",
            fingerprint: keys.name("service", service.description, node), secret: secret,
            created: now, refreshed: now)
        row.isAlways = false
        let kept = row
        let options = Self.options(request.payload)
        host.database.writer.submit(
            { try enable(kept, node, options, $0) },
            then: { result in
                switch result {
                case .success(nil):
                    watched.insert(account)
                    session.answer(request, .success(nil))
                case .success(let refusal?):
                    relay.metrics.refusals[refusal.reason].add()
                    session.answer(request, .failure(refusal.error))
                case .failure(let error): session.answer(request, .failure(.notStored(error)))
                }
            })
        return .later
    }

    private static func options(_ payload: Element) -> [String: String] {
        guard let form = payload.elements.lazy.compactMap({ DataForm($0) }).first else {
            return [:]
        }
        return Dictionary(
            form.fields.map { ($0.name, $0.values.first ?? "") }, uniquingKeysWith: { $1 })
    }

    /// Keeps a target; gives why not. What a node of ours leads to is asked once, here: later the way
    /// from the message to the device is a short one.
    private func enable(
        _ row: PushTargetRow, _ node: String, _ options: [String: String],
        _ connection: Connection
    ) throws -> NodeLookup.Refusal? {
        if let dispatcher = relay.dispatcher,
            dispatcher.wakeups.services.contains(row.service)
        {
            let lookup = NodeLookup(relay.options, dispatcher)
            let found = try lookup.find(
                node, options, domain: row.domain, now: dispatcher.now.wall, connection)
            if case .failure(let refusal) = found { return refusal }
        }
        let limit = relay.options.targets.value
        guard try PushTargetStore.insert(connection, row, limit: limit) == nil else { return nil }
        return NodeLookup.Refusal(
            error: StanzaError(
                .resourceConstraint,
                "this account has \(limit) push services already; disable some"),
            reason: .targets)
    }

    // MARK: Disabling (section 6)

    private func disable(
        _ request: IQRequest, _ session: Session, _ host: Host
    ) throws(StanzaError) -> IQAnswer {
        guard request.isSet else { throw Self.notASet }
        let (service, node) = try Self.address(request.payload)
        guard let service else { throw StanzaError(.badRequest, "a disable has a jid") }
        let account = session.jid.bare
        guard let keys = relay.keys else { throw StanzaError(.internalServerError) }
        let name = node.map { keys.nodeName($0) }
        host.database.writer.submit(
            { connection -> [Int64] in
                let targets = try PushTargetStore.targets(connection, of: account).filter {
                    $0.provider == .xmpp && $0.service == service.description
                        && (name == nil || $0.node == name)
                }
                for target in targets { try PushTargetStore.remove(connection, target.id) }
                return targets.map(\.id)
            },
            then: { result in
                switch result {
                case .success(let ids):
                    relay.dispatcher?.didSuppress(ids)
                    session.answer(request, .success(nil))
                case .failure(let error): session.answer(request, .failure(.notStored(error)))
                }
            })
        return .later
    }

    private static func address(
        _ payload: Element
    ) throws(StanzaError) -> (service: JID?, node: String?) {
        guard let text = payload["jid"], let jid = try? JID(text) else {
            throw StanzaError(.badRequest, "the jid is none")
        }
        let node = payload["node"]
        guard (node?.utf8.count ?? 1) <= longestName, node != "" else {
            throw StanzaError(.badRequest, "the node is none")
        }
        return (jid, node)
    }

    private static let notASet = StanzaError(.badRequest, "push is enabled and disabled by a set")

    // MARK: Noting

    /// A message is being stored, or delivered without that: notes whom it wakes, in a transaction.
    private func note(
        _ stanza: Stanza, to: JID, message: Int64?, _ host: Host, _ connection: Connection
    ) throws -> (@Sendable () -> Void)? {
        let account = to.bare
        guard let wakeups = relay.wakeups, let dispatcher = relay.dispatcher,
            watched.contains(account), WakeRule.mayWake(stanza, to: account)
        else { return nil }
        try disown(stanza, account, connection)
        let sessions = host.sessions.sessions(of: account)
        let isRoom = stanza.isType("groupchat")
        var nickname: String?
        if isRoom, let session = sessions.first(where: { $0.jid == to }) {
            let room = stanza.from.bare
            nickname =
                host.hooks.directedPresence?(session).first { $0.bare == room && !$0.isBare }?
                .resource
        }
        let rooms = relay.options.rooms.value
        guard let kind = WakeRule.kind(of: stanza, rooms: rooms, nickname: nickname) else {
            return nil
        }
        let noted = try wakeups.note(
            reason(kind, stanza, message), for: account, now: dispatcher.now.wall, connection
        ) { target in
            // A room's message goes to the client that joined.
            if isRoom, let resource = target.resource, resource != to.resource { return false }
            return Self.isAsleep(target, sessions)
        }
        guard !noted.isEmpty else { return nil }
        return { dispatcher.didCommit(noted) }
    }

    /// An app server says that an account may not publish to a node any more (XEP-0357 section 7).
    private func disown(
        _ stanza: Stanza, _ account: BareJID, _ connection: Connection
    ) throws {
        let fragment = stanza.fragment
        guard
            let child = fragment.children.first(where: {
                fragment.child($0, isNamed: "pubsub", "http://jabber.org/protocol/pubsub")
            })
        else { return }
        let pubsub = fragment.element(child)
        guard let name = pubsub["node"].flatMap({ relay.keys?.nodeName($0) }),
            pubsub.elements.contains(where: {
                $0.name == "affiliation" && $0["affiliation"] == "none"
                    && ($0["jid"].flatMap { try? JID($0) }?.bare ?? account) == account
            })
        else { return }
        for target in try PushTargetStore.targets(connection, of: account)
        where target.provider == .xmpp && target.node == name
            && target.service == stanza.from.description
        {
            try PushTargetStore.disable(
                connection, target.id, .unregistered, "affiliation none",
                now: Clock.secondsSince1970())
        }
    }

    func reason(
        _ kind: PushNotification.Kind, _ stanza: Stanza, _ message: Int64?
    ) -> WakeReason {
        var reason = WakeReason(kind: kind, message: message)
        reason.conversation = stanza.from.bare
        if relay.options.includesSender.value { reason.sender = stanza.from.bare.description }
        if relay.options.includesBody.value, let body = WakeRule.body(of: stanza) {
            reason.body = String(body.unicodeScalars.prefix(500))
        }
        return reason
    }

    /// Whether a target's client is gone, hibernates or is inactive; for one of the account as a
    /// whole, whether all are.
    static func isAsleep(_ target: PushTargetRow, _ sessions: [Session]) -> Bool {
        guard let resource = target.resource else {
            return target.isAlways || !sessions.contains { isInUse($0) }
        }
        guard let session = sessions.first(where: { $0.jid.resource == resource }) else {
            return true
        }
        return !isInUse(session)
    }

    private static func isInUse(_ session: Session) -> Bool {
        !session.isHibernating && !session.flags.contains(.inactive)
    }

    // MARK: Sessions

    /// A client lost its connection, and these messages had not reached it for sure.
    func sessionHibernated(_ session: Session, _ messages: [OutboundStanza], _ host: Host) {
        let account = session.jid.bare
        guard watched.contains(account), let wakeups = relay.wakeups,
            let dispatcher = relay.dispatcher
        else { return }
        let resource = session.jid.resource
        let rooms = relay.options.rooms.value
        var reasons: [WakeReason] = []
        for message in messages {
            guard let stanza = Stanza(routed: message.bytes),
                WakeRule.mayWake(stanza, to: account)
            else { continue }
            let nickname = host.hooks.directedPresence?(session).first {
                $0.bare == stanza.from.bare && !$0.isBare
            }?.resource
            guard let kind = WakeRule.kind(of: stanza, rooms: rooms, nickname: nickname) else {
                continue
            }
            reasons.append(reason(kind, stanza, message.messageNumber))
        }
        guard !reasons.isEmpty else { return }
        let all = reasons
        host.database.writer.submit(
            { connection -> [NotedPush] in
                var noted: [NotedPush] = []
                for reason in all {
                    noted += try wakeups.note(
                        reason, for: account, now: dispatcher.now.wall, connection
                    ) { target in
                        guard session.isHibernating else { return false }
                        if target.resource == resource { return true }
                        return target.resource == nil
                            && Self.isAsleep(target, host.sessions.sessions(of: account))
                    }
                }
                return noted
            },
            then: { result in
                if case .success(let noted) = result { dispatcher.didCommit(noted) }
            })
    }

    /// A client is in use again: it need not be woken.
    func sessionActive(_ session: Session, _ host: Host) {
        guard watched.contains(session.jid.bare) else { return }
        let resource = session.jid.resource
        suppress(session.jid.bare, .active, host) { target, _ in
            target.resource == resource || target.resource == nil && !target.isAlways
        }
    }

    /// The user has read on one device what others would be woken for, if nothing else is unread.
    func didRead(_ account: BareJID, in conversation: BareJID, _ host: Host) {
        guard watched.contains(account), let wakeups = relay.wakeups else { return }
        suppress(account, .read, host) { target, queued in
            queued.kind == .message && queued.conversation != PushQueueRow.several
                && queued.conversation == wakeups.conversation(conversation, of: target)
        }
    }

    private func suppress(
        _ account: BareJID, _ reason: SuppressionReason, _ host: Host,
        _ isMeant: @escaping @Sendable (PushTargetRow, PushQueueRow) -> Bool
    ) {
        host.database.writer.submit(
            size: 256,
            { connection -> (ids: [Int64], waiting: Int) in
                var ids: [Int64] = []
                var waiting = 0
                for (target, queued) in try PushQueueStore.targets(connection, of: account) {
                    guard let queued, queued.due != nil || queued.unread > 0,
                        isMeant(target, queued)
                    else { continue }
                    try PushQueueStore.suppress(connection, target.id)
                    ids.append(target.id)
                    if queued.due != nil { waiting += 1 }
                }
                return (ids, waiting)
            },
            then: { result in
                guard case .success(let done) = result, !done.ids.isEmpty else { return }
                relay.metrics.suppressed[reason].add(done.waiting)
                relay.dispatcher?.didSuppress(done.ids)
            })
    }
}
