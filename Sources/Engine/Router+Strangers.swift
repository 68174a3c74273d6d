// Stanzas from people on other domains whom their receivers do not know are limited, so that nobody
// is buried by them.

internal import Addresses
internal import NIOCore
internal import Options
internal import Prometheus
internal import Storage
internal import XML
internal import XMPP

extension Host {
    /// Handles what came from another domain for a local account, unless a stranger has sent too
    /// much. On its origin's loop.
    func admit(_ stanza: Stanza, to: JID, from peer: any StanzaOrigin) {
        // Components are this server's own.
        let cost = cost(of: stanza, to: to)
        guard cost != .nothing, !to.bare.isDomain, components[stanza.from.domain] == nil else {
            return handleAdmitted(stanza, to: to, from: peer)
        }
        let pair = Acquaintance(account: to.bare, contact: stanza.from.bare)
        let rate = federation.options.strangerRate.value
        let answer = federation.strangers.admit(
            pair, rate: rate, isLookup: cost == .lookup, now: loopTime
        ) { self.knowEachOther(pair) }
        switch answer {
        case .admit: handleAdmitted(stanza, to: to, from: peer)
        case .refuse: refuseStranger(stanza)
        case .ask: ask(whether: pair, stanza, to: to, from: peer)
        }
    }

    /// What counts in a stranger's allowance.
    private enum Cost {
        case nothing, stanza
        /// The database is asked who may know of the account.
        case lookup
    }

    private func cost(of stanza: Stanza, to: JID) -> Cost {
        switch stanza.kind {
        case .message: return .stanza
        case .presence:
            if isAboutSubscription(stanza) { return .stanza }
            switch stanza.type {
            case "probe": return .lookup
            case nil, "unavailable", "error":
                // Who knows a full address was given it, and who is offline gets no presence.
                return to.isBare && !sessions.sessions(of: to.bare).isEmpty ? .stanza : .nothing
            default: return .nothing
            }
        case .iq:
            guard stanza.isType("get") || stanza.isType("set") else { return .nothing }
            // The server answers for bare addresses.
            return to.isBare ? .lookup : .stanza
        }
    }

    /// Whether presence asks for, grants or ends a subscription (RFC 6121 section 3).
    private func isAboutSubscription(_ presence: Stanza) -> Bool {
        switch presence.type {
        case "subscribe", "subscribed", "unsubscribe", "unsubscribed": true
        default: false
        }
    }

    /// Whether one may see the other, as far as the memory of who is online tells, or the account is
    /// in that room, which is in no roster.
    private func knowEachOther(_ pair: Acquaintance) -> Bool {
        let here = sessions.sessions(of: pair.account)
        guard !here.isEmpty else { return false }
        return hooks.maySeePresence?(pair.contact, pair.account) ?? false
            || hooks.maySeePresence?(pair.account, pair.contact) ?? false
            || here.contains { session in
                (hooks.directedPresence?(session) ?? []).contains { $0.bare == pair.contact }
            }
    }

    /// Asks the writer, so that nothing of the same sender's overtakes what waits.
    private func ask(
        whether pair: Acquaintance, _ stanza: Stanza, to: JID, from peer: any StanzaOrigin
    ) {
        let number = peer.hold(stanza)
        database.writer.submit(
            size: 0,
            { try self.hooks.hasContact?(pair.account, pair.contact, $0) ?? false },
            then: { result in
                let isKnown = try? result.get()
                let goOn: @Sendable () -> Void = {
                    self.federation.strangers.conclude(pair, isKnown: isKnown, now: self.loopTime)
                    if isKnown ?? true {
                        self.handleAdmitted(stanza, to: to, from: peer)
                    } else {
                        self.refuseStranger(stanza)
                    }
                }
                if let number { peer.resume(number, goOn) } else { peer.run(goOn) }
            })
    }

    private func refuseStranger(_ stanza: Stanza) {
        federation.metrics.refusedStrangers.add()
        // Nobody waits for an answer to other presence.
        if stanza.kind == .presence, !isAboutSubscription(stanza) { return }
        bounce(
            stanza,
            StanzaError(
                .resourceConstraint, "too much from senders whom the receiver does not know"))
    }
}
