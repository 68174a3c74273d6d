// Where block lists (XEP-0191) stop a stanza. Who has blocked whom is the answer of a hook.

public import Addresses
internal import Prometheus
internal import XML
internal import XMPP

extension Host {
    /// Whether one of two addresses has blocked the other (XEP-0191). Any thread.
    public func isBlocked(between one: JID, and other: JID) -> Bool {
        guard let isBlocked = hooks.isBlocked else { return false }
        return isBlocked(one.bare, other) || isBlocked(other.bare, one)
    }

    /// Stops a client's stanza if its sender or its receiver has blocked the other, with the
    /// answer of XEP-0191 section 3.3. Any thread.
    ///
    /// - Returns: false if the stanza may go on.
    func stops(_ stanza: Stanza, to: JID) -> Bool {
        guard let isBlocked = hooks.isBlocked else { return false }
        if isBlocked(stanza.from.bare, to) {
            metrics.refusals[.blocked].add()
            bounce(stanza, Self.blocked)
            return true
        }
        guard isBlocked(to.bare, stanza.from) else { return false }
        metrics.refusals[.blocked].add()
        switch stanza.kind {
        case .message, .iq:
            // Without a text, which would tell a block from other reasons.
            bounce(stanza, StanzaError(.serviceUnavailable))
            return true
        case .presence:
            // The sender's roster notes what became of a subscription, as it would if the
            // receiver had another server; whoever keeps the rosters leaves out the receiver.
            switch stanza.type {
            case "subscribe", "subscribed", "unsubscribe", "unsubscribed": return false
            default: return true
            }
        }
    }

    /// What one is told who writes to an address that one has blocked.
    private static let blocked = StanzaError(
        .notAcceptable, "you have blocked this address", kind: .cancel,
        application: Element("blocked", "urn:xmpp:blocking:errors"))
}
