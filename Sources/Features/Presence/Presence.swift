// RFC 6121 section 4: presence. Initial presence, updates and probes, directed presence, and
// unavailable presence to everybody who saw the session. Requests for subscriptions pass to whoever
// keeps rosters. Nothing passes between two of whom one has blocked the other (XEP-0191). What comes
// from other domains is in `PresenceFromAway.swift`.

internal import Addresses
internal import Engine
internal import Options
internal import Synchronization
internal import XML
internal import XMPP

struct Presence: Feature {
    static let specifications: [Specification] = []

    private let directed = DirectedPresence()

    init(in host: HostBuilder) {
        let directed = directed
        host.hooks.presence = { stanza, session, host in
            Self.receive(stanza, session, host, directed)
        }
        host.hooks.presenceFromAway = Self.receiveFromAway
        host.hooks.sessionEnded.append { _, session, host in
            guard let session else { return }
            Self.leave(session, nil, host, directed)
        }
        host.hooks.directedPresence = { Array(directed.receivers($0)) }
        host.hooks.restoreDirectedPresence = { receivers, session in
            for receiver in receivers { _ = directed.insert(receiver, session) }
        }
        host.hooks.presenceGranted = { account, contact, host in
            for session in host.sessions.sessions(of: account) {
                guard let presence = session.availability.presence else { continue }
                Self.send(presence, to: contact, host)
            }
        }
        host.hooks.presenceRevoked = { account, contact, host in
            for session in host.sessions.sessions(of: account)
            where session.availability.isAvailable {
                Self.deliver(
                    Self.unavailable(session.jid, to: contact), from: session.jid,
                    JID(bare: contact), host)
            }
        }
        host.hooks.presenceHidden = { account, isHidden, host in
            Self.hide(account, from: isHidden, host, directed)
        }
        host.hooks.presenceShown = { account, isShown, host in
            Self.show(account, to: isShown, host)
        }
    }

    // MARK: From a client

    private static func receive(
        _ stanza: Stanza, _ session: Session, _ host: Host, _ directed: DirectedPresence
    ) {
        switch stanza.type {
        case nil:
            if stanza.to == nil {
                announce(stanza, session, host)
            } else {
                direct(stanza, session, host, directed)
            }
        case "unavailable":
            if stanza.to == nil {
                leave(session, stanza, host, directed)
            } else {
                direct(stanza, session, host, directed)
            }
        case "subscribe", "subscribed", "unsubscribe", "unsubscribed":
            guard let to = stanza.to, canHavePresence(to, host) else {
                return host.bounce(
                    stanza, StanzaError(.badRequest, "a subscription is to a contact"))
            }
            host.hooks.subscription?(stanza, session, host)
        case "probe":
            probe(stanza, session, host)
        case "error":
            direct(stanza, session, host, directed)
        default:
            host.bounce(stanza, StanzaError(.badRequest, "presence has no such type"))
        }
    }

    /// Initial presence and its updates (sections 4.2 and 4.4).
    private static func announce(_ stanza: Stanza, _ session: Session, _ host: Host) {
        guard let priority = priority(of: stanza) else {
            return host.bounce(
                stanza, StanzaError(.badRequest, "a priority is between -128 and 127"))
        }
        let before = session.availability
        let beginsToTake = priority >= 0 && !(before.isAvailable && before.priority >= 0)
        if beginsToTake { for hook in host.hooks.willTakeMessages { hook(session, host) } }
        session.availability = Session.Availability(presence: stanza, priority: priority)
        if beginsToTake { for hook in host.hooks.takesMessages { hook(session, host) } }
        if !before.isAvailable { for hook in host.hooks.sessionActive { hook(session, host) } }
        let account = session.jid.bare
        for contact in host.hooks.subscribers?(account) ?? [] {
            send(stanza, to: contact, host)
        }
        // One's own resources see each other, the sender included (section 4.2.2).
        host.deliver(
            readdressed(stanza, to: account),
            to: host.sessions.sessions(of: account).filter(\.availability.isAvailable))
        guard !before.isAvailable else { return }
        for other in host.sessions.sessions(of: account) where other !== session {
            guard let presence = other.availability.presence else { continue }
            host.deliver(readdressed(presence, to: account), to: [session])
        }
        for contact in host.hooks.subscriptions?(account) ?? [] {
            answerProbe(of: contact, for: session, host)
        }
        for request in host.hooks.subscriptionRequests?(account, host) ?? [] {
            session.deliver(request)
        }
        askAgain(account, host)
    }

    /// Another domain may have lost a request; one that has it does nothing (section 3.1.2).
    private static func askAgain(_ account: BareJID, _ host: Host) {
        let own = JID(bare: account)
        for contact in host.hooks.openRequests?(account) ?? []
        where !host.isLocal(contact.domain)
            && !host.isBlocked(between: own, and: JID(bare: contact))
        {
            let to = JID(bare: contact)
            host.sendAway(bare("subscribe", from: own, to: to), from: own, to: to)
        }
    }

    private static func priority(of stanza: Stanza) -> Int8? {
        let fragment = stanza.fragment
        guard
            let child = fragment.children.first(where: {
                fragment.child($0, isNamed: "priority", "jabber:client")
            })
        else { return 0 }
        let text = fragment.element(child).text.filter { !$0.isWhitespace }
        return text.isEmpty ? 0 : Int8(text)
    }

    /// Unavailable presence from the client, or the end of its session (section 4.5).
    private static func leave(
        _ session: Session, _ stanza: Stanza?, _ host: Host, _ directed: DirectedPresence
    ) {
        let account = session.jid.bare
        let wasAvailable = session.availability.isAvailable
        session.availability = Session.Availability()
        var receivers = Set(directed.removeAll(session))
        if wasAvailable {
            for contact in host.hooks.subscribers?(account) ?? [] {
                receivers.remove(JID(bare: contact))
                tell(contact, session, stanza, host)
            }
            for other in host.sessions.sessions(of: account)
            where other !== session && other.availability.isAvailable {
                other.deliver(gone(session, stanza, to: JID(bare: account)))
            }
        }
        for receiver in receivers {
            deliver(gone(session, stanza, to: receiver), from: session.jid, receiver, host)
        }
    }

    private static func tell(
        _ contact: BareJID, _ session: Session, _ stanza: Stanza?, _ host: Host
    ) {
        let to = JID(bare: contact)
        deliver(gone(session, stanza, to: to), from: session.jid, to, host)
    }

    private static func gone(_ session: Session, _ stanza: Stanza?, to: JID) -> OutboundStanza {
        guard let stanza else { return unavailable(session.jid, to: to) }
        return OutboundStanza(.presence, stanza.routedBytes(to: to))
    }

    /// Presence to one receiver, roster or not (section 4.6).
    private static func direct(
        _ stanza: Stanza, _ session: Session, _ host: Host, _ directed: DirectedPresence
    ) {
        guard let to = stanza.to, canHavePresence(to, host) else { return }
        if stanza.type == nil {
            guard directed.insert(to, session) else {
                return host.bounce(
                    stanza, StanzaError(.resourceConstraint, "too many directed presences"))
            }
        } else {
            directed.remove(to, session)
        }
        deliver(
            OutboundStanza(.presence, stanza.routedBytes()), from: session.jid, to, host)
    }

    /// A client's own probe (section 4.3); servers probe by themselves.
    private static func probe(_ stanza: Stanza, _ session: Session, _ host: Host) {
        guard let to = stanza.to, canHavePresence(to, host) else { return }
        let contact = to.bare
        answerProbe(of: contact, for: session, host)
    }

    /// Whether presence to an address means anything. Domains elsewhere may be ways to other
    /// networks, which have presence of their own.
    private static func canHavePresence(_ to: JID, _ host: Host) -> Bool {
        !to.bare.isDomain || !host.isLocal(to.domain)
    }

    /// Sends a contact's presence to one who may see it; to others, nothing. Another domain
    /// decides that itself.
    private static func answerProbe(
        of contact: BareJID, for session: Session, _ host: Host,
        where isWanted: (JID) -> Bool = { _ in true }
    ) {
        guard host.isLocal(contact.domain) else {
            let to = JID(bare: contact)
            guard isWanted(to), !host.isBlocked(between: session.jid, and: to) else { return }
            return host.sendAway(
                bare("probe", from: session.jid, to: to), from: session.jid, to: to)
        }
        guard host.hooks.maySeePresence?(session.jid.bare, contact) ?? false else { return }
        for other in host.sessions.sessions(of: contact)
        where isWanted(other.jid) && !host.isBlocked(between: other.jid, and: session.jid) {
            guard let presence = other.availability.presence else { continue }
            host.deliver(readdressed(presence, to: session.jid.bare), to: [session])
        }
    }

    // MARK: Block lists (XEP-0191 sections 3.3 and 3.4)

    /// Who has just been blocked sees an account go, whether it showed itself to all contacts or
    /// to them alone. Later presence finds the block in force.
    private static func hide(
        _ account: BareJID, from isBlocked: (JID) -> Bool, _ host: Host,
        _ directed: DirectedPresence
    ) {
        let contacts = (host.hooks.subscribers?(account) ?? []).map { JID(bare: $0) }
        for session in host.sessions.sessions(of: account) {
            var receivers = directed.receivers(session)
            if session.availability.isAvailable { receivers.formUnion(contacts) }
            for to in receivers {
                if !host.isLocal(to.domain), isBlocked(to) {
                    host.sendAway(unavailable(session.jid, to: to), from: session.jid, to: to)
                }
                for other in clients(at: to, host)
                where isBlocked(other.jid)
                    && host.hooks.isBlocked?(other.jid.bare, session.jid) != true
                {
                    other.deliver(unavailable(session.jid, to: to))
                }
                if isBlocked(to) { directed.remove(to, session) }
            }
        }
    }

    /// Who is no longer blocked sees the account again, and the account sees them.
    private static func show(_ account: BareJID, to isShown: (JID) -> Bool, _ host: Host) {
        let subscribers = host.hooks.subscribers?(account) ?? []
        let subscriptions = host.hooks.subscriptions?(account) ?? []
        for session in host.sessions.sessions(of: account) {
            guard let presence = session.availability.presence else { continue }
            for contact in subscribers { send(presence, to: contact, host, where: isShown) }
            for contact in subscriptions {
                answerProbe(of: contact, for: session, host, where: isShown)
            }
        }
    }

    // MARK: To a receiver

    private static func send(
        _ stanza: Stanza, to contact: BareJID, _ host: Host,
        where isWanted: (JID) -> Bool = { _ in true }
    ) {
        guard host.isLocal(contact.domain) else {
            let to = JID(bare: contact)
            guard isWanted(to) else { return }
            return deliver(
                OutboundStanza(.presence, stanza.routedBytes(to: to)), from: stanza.from, to, host)
        }
        host.deliver(
            readdressed(stanza, to: contact),
            to: clients(at: JID(bare: contact), host).filter {
                isWanted($0.jid) && !host.isBlocked(between: stanza.from, and: $0.jid)
            })
    }

    static func deliver(
        _ stanza: OutboundStanza, from sender: JID, _ to: JID, _ host: Host
    ) {
        guard host.isLocal(to.domain) else {
            guard !host.isBlocked(between: sender, and: to) else { return }
            return host.sendAway(stanza, from: sender, to: to)
        }
        for session in clients(at: to, host)
        where !host.isBlocked(between: sender, and: session.jid) {
            session.deliver(stanza)
        }
    }

    /// Whom presence to an address reaches, were it not for block lists.
    private static func clients(at to: JID, _ host: Host) -> [Session] {
        guard host.isLocal(to.domain) else { return [] }
        guard to.isBare else { return host.sessions.session(to).map { [$0] } ?? [] }
        return host.sessions.sessions(of: to.bare).filter(\.availability.isAvailable)
    }

    private static func readdressed(_ stanza: Stanza, to contact: BareJID) -> Stanza {
        Stanza(
            stanza.fragment, .presence, from: stanza.from, to: JID(bare: contact),
            streamLanguage: stanza.streamLanguage)
    }

    static func unavailable(_ jid: JID, to: JID) -> OutboundStanza {
        bare("unavailable", from: jid, to: to)
    }

    /// Presence that says nothing but its type.
    static func bare(_ type: String, from: JID, to: JID) -> OutboundStanza {
        let presence = Element(
            "presence", Namespaces.client,
            [("from", from.description), ("to", to.description), ("type", type)])
        return OutboundStanza(
            .presence, XMLWriter.bytes(presence, contentNamespace: Namespaces.client))
    }

    private static func unavailable(_ jid: JID, to contact: BareJID) -> OutboundStanza {
        unavailable(jid, to: JID(bare: contact))
    }
}

/// Whom each session has sent directed presence, so that they hear of its end (section 4.6.3).
private final class DirectedPresence: Sendable {
    /// Enough for every room somebody is in.
    private static let limit = 1000

    private let receivers = Mutex<[JID: Set<JID>]>([:])

    func insert(_ receiver: JID, _ session: Session) -> Bool {
        receivers.withLock { receivers in
            guard receivers[session.jid, default: []].count < Self.limit else { return false }
            receivers[session.jid, default: []].insert(receiver)
            return true
        }
    }

    func remove(_ receiver: JID, _ session: Session) {
        receivers.withLock { receivers in
            receivers[session.jid]?.remove(receiver)
            if receivers[session.jid]?.isEmpty == true { receivers[session.jid] = nil }
        }
    }

    func receivers(_ session: Session) -> Set<JID> {
        receivers.withLock { $0[session.jid] ?? [] }
    }

    func removeAll(_ session: Session) -> [JID] {
        receivers.withLock { Array($0.removeValue(forKey: session.jid) ?? []) }
    }
}
