// RFC 6121 section 4: presence that comes from other domains. It is delivered as a local user's is,
// probes are answered, and what they tell of an account they tell of one that does not exist.

internal import Addresses
internal import Engine
internal import Logging
internal import Storage
internal import XML
internal import XMPP

extension Presence {
    /// Handles presence to a local address. On its origin's loop.
    static func receiveFromAway(
        _ stanza: Stanza, _ to: JID, _ origin: any StanzaOrigin, _ host: Host
    ) {
        guard !to.bare.isDomain else { return }
        switch stanza.type {
        case nil, "unavailable", "error":
            // An error is about the presence of one client, or about a subscription.
            deliver(
                OutboundStanza(.presence, stanza.routedBytes()), from: stanza.from, to, host)
        case "subscribe", "subscribed", "unsubscribe", "unsubscribed":
            host.hooks.subscriptionFromAway?(stanza, to, origin, host)
        case "probe": answerProbe(stanza, to, origin, host)
        default: host.bounce(stanza, StanzaError(.badRequest, "presence has no such type"))
        }
    }

    /// Answers a probe (section 4.3.2): with what there is, or that there is nothing, for those who
    /// may know; not for who waits for leave; and for all others as if there were no such account.
    private static func answerProbe(
        _ stanza: Stanza, _ probed: JID, _ origin: any StanzaOrigin, _ host: Host
    ) {
        let account = probed.bare
        let asker = stanza.from
        if !host.sessions.sessions(of: account).isEmpty,
            host.hooks.maySeePresence?(asker.bare, account) ?? false
        {
            return show(probed, to: asker, host)
        }
        // A refusal ends a subscription, so it is the database that says there is none. Only so many
        // stanzas of one stream may wait for it.
        let number = origin.hold(stanza)
        host.database.read({ connection in
            try (
                isSubscriber: host.hooks.isSubscriber?(asker.bare, account, connection) ?? false,
                isWaiting: host.hooks.hasAsked?(asker.bare, account, connection) ?? false
            )
        }) { result in
            switch result {
            case .success((true, _)): show(probed, to: asker, host)
            case .success((false, true)): break
            case .success((false, false)): refuseProbe(account, from: asker, host)
            // Nothing is better than a wrong answer.
            case .failure(let error): host.log.error("probe: \(error)")
            }
            if let number { origin.release(number) }
        }
    }

    private static func show(_ probed: JID, to asker: JID, _ host: Host) {
        let shown = host.sessions.sessions(of: probed.bare)
            .filter { $0.jid == probed || probed.isBare }
            .compactMap(\.availability.presence)
        guard !shown.isEmpty else {
            return host.sendAway(unavailable(probed, to: asker), from: probed, to: asker)
        }
        for presence in shown {
            host.sendAway(
                OutboundStanza(.presence, presence.routedBytes(to: asker)),
                from: presence.from, to: asker)
        }
    }

    private static func refuseProbe(_ account: BareJID, from asker: JID, _ host: Host) {
        let from = JID(bare: account)
        let to = JID(bare: asker.bare)
        host.sendAway(bare("unsubscribed", from: from, to: to), from: from, to: to)
    }
}
