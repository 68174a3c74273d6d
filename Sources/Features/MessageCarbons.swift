// XEP-0280: Message Carbons. A client that wants to gets copies of what its account's other
// clients send and receive, by all rules of section 6.1, and the server says that it follows them
// (section 6.2). Encrypted messages and calls count as instant messaging whatever their type.
//
// A message that waits in the offline store is copied to clients that do not take messages, and
// not to those that have yet to announce themselves: they are going to get it from there. What
// bounces at once is not copied, and then neither is the error. Not done: adding the <x/> of a
// room to copies of private messages there, which section 6.1 allows.

internal import Addresses
internal import Engine
internal import Prometheus
internal import Synchronization
internal import XML
internal import XMPP

struct MessageCarbons: Feature {
    static let specifications = [
        Specification("XEP-0280", version: "1.0.1", "Message Carbons"),
        Specification("XEP-0297", version: "1.0", "Stanza Forwarding"),
        Specification("XEP-0308", version: "1.2.1", "Last Message Correction"),
        Specification("XEP-0380", version: "0.4.0", "Explicit Message Encryption"),
        Specification("XEP-0424", version: "0.4.2", "Message Retraction"),
        Specification("XEP-0444", version: "0.2.1", "Message Reactions"),
        Specification("XEP-0461", version: "0.2.1", "Message Replies"),
    ]
    static let namespace = "urn:xmpp:carbons:2"

    private let recent = RecentCopies()
    private let counter: LabelledCounter<CopyDirection>

    init(in host: HostBuilder) {
        counter = host.registry.counter(
            "kinglet_carbons_total", by: CopyDirection.self,
            help: "Copies of messages for further clients of their receivers and their senders.")
        let feature = self
        host.advertise(Self.namespace)
        host.advertise("urn:xmpp:carbons:rules:0")
        for (name, isWanted) in [("enable", true), ("disable", false)] {
            host.answer(name, Self.namespace, for: [.ownAccount, .account]) {
                request, target, session, _ throws(StanzaError) in
                guard request.isSet else {
                    throw StanzaError(.badRequest, "carbons are enabled and disabled by a set")
                }
                guard target == .ownAccount else {
                    throw StanzaError(.notAllowed, "carbons are a client's own affair")
                }
                session.flags.set(.wantsCopies, isWanted)
                return .result(nil)
            }
        }
        host.hooks.copies = { feature.copies(of: $0, $1) }
    }

    // MARK: Whom (sections 7 and 8)

    /// Asked for every message, so it looks for clients first, whose number is small.
    private func copies(of message: CopiedMessage, _ host: Host) -> [MessageCopy] {
        let from = message.stanza.from
        let receiver = host.sessions.sessions(of: message.to.bare)
        // One's own message to oneself goes to no client twice, so the account is its receiver.
        let isToSelf = message.to.bare == from.bare
        let sender = message.isNew && !isToSelf ? host.sessions.sessions(of: from.bare) : []
        let isReceivedWanted = receiver.contains { Self.wantsReceived($0, message) }
        let isSentWanted = sender.contains { Self.wantsSent($0, from) }
        guard isReceivedWanted || isSentWanted else { return [] }
        let eligibility = eligibility(of: message)
        guard eligibility != .none else { return [] }
        var copies: [MessageCopy] = []
        if isReceivedWanted, eligibility == .both {
            let sessions = receiver.filter { Self.wantsReceived($0, message) }
            add(.received, message, for: sessions, to: &copies)
        }
        if isSentWanted {
            let sessions = sender.filter { Self.wantsSent($0, from) }
            add(.sent, message, for: sessions, to: &copies)
        }
        if !copies.isEmpty, !message.stanza.isError {
            recent.insert(message.stanza, to: message.to.bare)
        }
        return copies
    }

    private static func wantsReceived(_ session: Session, _ message: CopiedMessage) -> Bool {
        session.flags.contains(.wantsCopies) && session.jid != message.stanza.from
            && !message.receivers.contains { $0 === session }
            && (!message.receivers.isEmpty || isWithoutMessages(session.availability))
    }

    /// Whether a message that waits would not come to it from the offline store.
    private static func isWithoutMessages(_ availability: Session.Availability) -> Bool {
        availability.isAvailable && availability.priority < 0
    }

    private static func wantsSent(_ session: Session, _ sender: JID) -> Bool {
        session.flags.contains(.wantsCopies) && session.jid.resource != sender.resource
    }

    /// The message is written once, and each copy is put around it.
    private func add(
        _ direction: CopyDirection, _ message: CopiedMessage, for sessions: [Session],
        to copies: inout [MessageCopy]
    ) {
        var attributes = Array("<message from='".utf8)
        attributes += escapedAttribute(message.account(direction).description)
        if let type = message.stanza.type {
            attributes += Array("' type='".utf8) + escapedAttribute(type)
        }
        attributes += Array("' to='".utf8)
        let element = direction.rawValue
        let content =
            Array(
                "'><\(element) xmlns='\(Self.namespace)'><forwarded xmlns='urn:xmpp:forward:0'>"
                    .utf8
            ) + message.forwarded(direction) + Array("</forwarded></\(element)></message>".utf8)
        for session in sessions {
            let address = escapedAttribute(session.jid.description)
            copies.append(MessageCopy(direction, for: session, attributes + address + content))
        }
        counter[direction].add(sessions.count)
    }

    // MARK: What (section 6.1)

    private enum Eligibility {
        case none
        /// Only for the sender's clients.
        case sent
        case both
    }

    private func eligibility(of message: CopiedMessage) -> Eligibility {
        let stanza = message.stanza
        guard !stanza.isType("groupchat") else { return .none }
        // Hints in an error are not its own (XEP-0334 section 5).
        guard !stanza.isError else {
            return recent.contains(stanza, answering: message.to.bare) ? .both : .none
        }
        let fragment = stanza.fragment
        var hasBody = false
        var isInvitation = false
        var isOfRoom = false
        for child in fragment.children {
            if fragment.child(child, isNamed: "private", "urn:xmpp:carbons:2")
                || fragment.child(child, isNamed: "no-copy", "urn:xmpp:hints")
            {
                return .none
            }
            if fragment.child(child, isNamed: "body", "jabber:client") {
                hasBody = true
            } else if fragment.child(child, isNamed: "x", "jabber:x:conference") {
                isInvitation = true
            } else if fragment.child(child, isNamed: "x", "http://jabber.org/protocol/muc#user") {
                if fragment.element(child).child("invite") == nil {
                    isOfRoom = true
                } else {
                    isInvitation = true
                }
            }
        }
        if isInvitation { return .both }
        let isNormal = !stanza.isType("chat") && !stanza.isType("headline")
        let isMessaging =
            stanza.isType("chat") || (isNormal && hasBody)
            || fragment.children.contains { child in
                child.namespace != nil && Self.payloads.contains(fragment.namespace(of: child))
            }
        guard isOfRoom else { return isMessaging ? .both : .none }
        // A private message to or from an occupant; a room sends these to all clients that joined.
        return isMessaging || !message.to.isBare ? .sent : .none
    }

    /// Payloads of instant messaging, which need no body.
    private static let payloads: Set<String> = [
        // Receipts (XEP-0184), chat states (XEP-0085), markers (XEP-0333).
        "urn:xmpp:receipts", "http://jabber.org/protocol/chatstates", "urn:xmpp:chat-markers:0",
        // Corrections (XEP-0308), retractions (XEP-0424), reactions (XEP-0444), replies (XEP-0461).
        "urn:xmpp:message-correct:0", "urn:xmpp:message-retract:0", "urn:xmpp:message-retract:1",
        "urn:xmpp:reactions:0", "urn:xmpp:reply:0",
        // Calls (XEP-0353).
        "urn:xmpp:jingle-message:0",
        // Encrypted messages, announced (XEP-0380) or not.
        "urn:xmpp:eme:0", "eu.siacs.conversations.axolotl", "urn:xmpp:omemo:1",
        "urn:xmpp:omemo:2", "urn:xmpp:openpgp:0", "jabber:x:encrypted",
    ]
}

/// Which messages were copied lately: only an error that answers one of them is. Safe on any
/// thread.
private final class RecentCopies: Sendable {
    private static let capacity = 4096

    private struct State {
        var known: Set<Int> = []
        /// Oldest first from `next` on, once it is full.
        var order: [Int] = []
        var next = 0
    }

    private let state = Mutex(State())

    func insert(_ stanza: Stanza, to receiver: BareJID) {
        guard let key = Self.key(stanza.id, from: stanza.from.bare, to: receiver) else { return }
        state.withLock { state in
            guard state.known.insert(key).inserted else { return }
            guard state.order.count == Self.capacity else { return state.order.append(key) }
            state.known.remove(state.order[state.next])
            state.order[state.next] = key
            state.next = (state.next + 1) % Self.capacity
        }
    }

    /// Whether an error is about such a message of the account that it goes to.
    func contains(_ error: Stanza, answering sender: BareJID) -> Bool {
        guard let key = Self.key(error.id, from: sender, to: error.from.bare) else { return false }
        return state.withLock { $0.known.contains(key) }
    }

    private static func key(_ id: String?, from sender: BareJID, to receiver: BareJID) -> Int? {
        guard let id else { return nil }
        var hasher = Hasher()
        hasher.combine(sender)
        hasher.combine(receiver)
        hasher.combine(id)
        return hasher.finalize()
    }
}
