// What follows from a change of rosters once it is committed: pushes, stanzas, presence
// (RFC 6121 sections 2.1.6 and 3).

internal import Addresses
internal import Engine
internal import XML
internal import XMPP

extension Roster {
    /// Gives the version after each change, which its push carries (section 2.6.2).
    static func apply(_ outcome: Outcome, _ cache: RosterCache) -> [RosterVersion] {
        outcome.changes.map { account, item, _ in
            cache.apply(account, item.contact, item.isEmpty ? nil : item)
            return cache.version(of: account)
        }
    }

    static func carryOut(
        _ outcome: Outcome, _ versions: [RosterVersion], _ host: Host
    ) {
        for (contact, account) in outcome.revoked {
            host.hooks.presenceRevoked?(account, contact, host)
        }
        for stanza in outcome.away { host.sendAway(stanza) }
        // The stanza comes before the push that follows from it (sections 3.1.6, 3.2.3, 3.3.3).
        // A request goes to who is available, the rest to who has asked for the roster.
        for (account, verb, bytes) in outcome.deliveries {
            for session in host.sessions.sessions(of: account)
            where verb == .subscribe
                ? session.availability.isAvailable : session.flags.contains(.interestedInRoster)
            {
                session.deliver(OutboundStanza(.presence, bytes))
            }
        }
        for ((account, item, wasListed), version) in zip(outcome.changes, versions)
        where item.isListed || wasListed {
            let element = item.isListed ? item.element : RosterItem.removal(item.contact)
            push(element, to: account, version: version, host)
        }
        for (contact, account) in outcome.granted {
            host.hooks.presenceGranted?(account, contact, host)
        }
    }

    /// Tells every interested client of a change (RFC 6121 section 2.1.6).
    static func push(
        _ item: Element, to account: BareJID, version: RosterVersion, _ host: Host
    ) {
        for session in host.sessions.sessions(of: account)
        where session.flags.contains(.interestedInRoster) {
            let push = Element(
                "iq", Namespaces.client,
                [
                    ("to", session.jid.description), ("type", "set"),
                    ("id", host.nextIdentifier()),
                ],
                [
                    Element(
                        "query", RosterItem.namespace, [("ver", version.description)], [item])
                ])
            session.deliver(
                OutboundStanza(.iq, XMLWriter.bytes(push, contentNamespace: Namespaces.client)))
        }
    }
}
