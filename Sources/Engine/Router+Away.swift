// Stanzas to and from other domains: servers (RFC 6120 section 10.4) and components (XEP-0114).

public import Addresses
internal import Prometheus
public import Storage
internal import Synchronization
internal import XML
public import XMPP

extension Host {
    // MARK: To another domain

    /// Handles what a local client sends to another domain, on the client's loop.
    func handleAway(_ stanza: Stanza, to: JID, from session: Session) {
        if let error = awayRefusal(of: stanza, to: to.domain, by: session) {
            return bounce(stanza, error)
        }
        if makesKnown(stanza) {
            federation.strangers.note(to.bare, isKnownTo: stanza.from.bare, now: loopTime)
        }
        switch stanza.kind {
        case .presence:
            if stanza.fragment.type == nil { unstored.note(session, in: to.bare) }
            hooks.presence?(stanza, session, self)
        case .message: handleMessage(stanza, to: to, from: session)
        case .iq: forward(stanza, to: to)
        }
    }

    /// Who is written to, asked or let in may write; not who is turned away.
    private func makesKnown(_ stanza: Stanza) -> Bool {
        switch stanza.kind {
        case .message: !stanza.isError
        case .presence:
            stanza.fragment.type == nil || stanza.isType("subscribe")
                || stanza.isType("subscribed")
        case .iq: false
        }
    }

    /// Why a stanza may not go to a domain at this moment; nil if it may. To a component that is not
    /// attached presence may go, and be lost, as to a contact who is offline: a roster can be changed
    /// meanwhile. A subscription can be ended at any time, or a contact would see presence again
    /// when the domain may.
    private func awayRefusal(
        of stanza: Stanza, to domain: String, by sender: Session?
    ) -> StanzaError? {
        if stanza.kind == .presence,
            stanza.isType("unsubscribe") || stanza.isType("unsubscribed")
        {
            return nil
        }
        if stanza.kind == .presence, components[domain] != nil { return nil }
        return awayRefusal(from: stanza.from.domain, to: domain, by: sender)
    }

    /// Why nothing may go to a domain at this moment; nil if it may.
    private func awayRefusal(
        from local: String, to domain: String, by sender: Session?
    ) -> StanzaError? {
        if let component = components[domain] { return component.refusal }
        return federation.refusal(from: local, to: domain, by: sender, self)
    }

    /// Sends a stanza to another domain; should it not get there, its sender hears of that if it
    /// wants an answer. Not kept over a restart. Any thread.
    public func sendAway(_ stanza: OutboundStanza, from: JID, to: JID) {
        if let component = components[to.domain] {
            component.deliver(stanza, self)
        } else {
            federation.send(stanza, from: from, to: to, self)
        }
    }

    /// Keeps a stanza until another domain has it, in a transaction; `sendAway` follows when that is
    /// committed. What goes to a component, or where nothing may go, is not kept.
    public func keepAway(
        _ bytes: [UInt8], _ kind: Stanza.Kind, from: JID, to: JID, _ connection: Connection
    ) throws -> AwayStanza {
        let stanza = OutboundStanza(kind, bytes)
        guard components[to.domain] == nil, federation.policy.allows(to.domain, .outgoing) else {
            return AwayStanza(stanza: stanza, from: from, to: to, id: nil)
        }
        return AwayStanza(
            stanza: stanza, from: from, to: to,
            id: try federation.keep(stanza, from: from, to: to, connection))
    }

    /// A stanza for another domain that is lost if it does not get there soon.
    public func unkeptAway(_ bytes: [UInt8], _ kind: Stanza.Kind, from: JID, to: JID) -> AwayStanza
    {
        AwayStanza(stanza: OutboundStanza(kind, bytes), from: from, to: to, id: nil)
    }

    /// Sends what `keepAway` gave, once that is committed. Any thread.
    public func sendAway(_ kept: AwayStanza) {
        guard let id = kept.id else {
            return sendAway(kept.stanza, from: kept.from, to: kept.to)
        }
        federation.enqueue(id, kept.stanza, from: kept.from, to: kept.to, self)
    }

    /// Whether a message to another domain is kept until that domain has it: all that say something
    /// and want to be kept (XEP-0334), also those to rooms. A component has no queue on the disk.
    func isQueuedDurably(_ stanza: Stanza, to: JID) -> Bool {
        guard components[to.domain] == nil, !stanza.isError else { return false }
        let isWorthIt =
            stanza.isType("groupchat") ? hooks.isWorthWaiting : hooks.waitsForReceiver
        return isWorthIt?(stanza) ?? false
    }

    /// Whether presence was meant for this receiver alone: who enters a room waits for an answer.
    func isDirected(_ presence: Stanza) -> Bool {
        guard presence.fragment.type == nil, let to = presence.to, !to.isBare,
            let session = sessions.session(presence.from)
        else { return false }
        return hooks.directedPresence?(session).contains(to) ?? false
    }

    /// Delivers what waited for a domain that is served here now; gives the error, where its sender
    /// is to hear of that.
    func deliverHere(_ row: OutgoingStore.Row) -> ReturnedError? {
        guard let stanza = Stanza(routed: row.stanza), let to = stanza.to else { return nil }
        if let component = components[to.domain] {
            if let error = component.refusal,
                let returned = ReturnedError(row.id, stanza, error, self)
            {
                return returned
            }
            sendAway(OutboundStanza(stanza.kind, row.stanza), from: stanza.from, to: to)
        } else if stanza.kind == .message {
            if case .bounce(let error) = route(stanza, to: to) {
                return ReturnedError(row.id, stanza, error, self)
            }
            let message = Message(
                again: stanza, to: to, isInSendersArchive: true, domains: domainSet)
            store(message, from: nil)
        }
        return nil
    }

    private func forward(_ stanza: Stanza, to: JID) {
        do throws(StanzaError) {
            try IQRequest.check(stanza)
        } catch {
            return bounce(stanza, error)
        }
        sendAway(OutboundStanza(.iq, stanza.routedBytes()), from: stanza.from, to: to)
    }

    // MARK: From another domain

    /// Handles what another server, a component or a service sent, whose right to the address it bears was
    /// checked. On the stream's loop.
    func handle(_ stanza: Stanza, from peer: any StanzaOrigin) {
        guard waits(stanza, peer), let number = peer.hold(stanza) else {
            return handleNow(stanza, from: peer)
        }
        database.writer.afterQueued {
            peer.resume(number) { self.handleNow(stanza, from: peer) }
        }
    }

    private func handleNow(_ stanza: Stanza, from peer: any StanzaOrigin) {
        guard let to = stanza.to else { return }
        if stops(stanza, to: to) { return }
        guard isLocal(to.domain) else {
            // The server asks in the name of a component's domain, too.
            if stanza.kind == .iq, to.isBare, to.bare.isDomain, requests.answer(stanza) { return }
            if let error = awayRefusal(of: stanza, to: to.domain, by: nil) {
                return bounce(stanza, error)
            }
            guard stanza.kind == .message else {
                return sendAway(
                    OutboundStanza(stanza.kind, stanza.routedBytes()), from: stanza.from, to: to)
            }
            return handleMessage(stanza, to: to, from: peer)
        }
        admit(stanza, to: to, from: peer)
    }

    /// What is for a local account, once it is known that it may come in.
    func handleAdmitted(_ stanza: Stanza, to: JID, from peer: any StanzaOrigin) {
        switch stanza.kind {
        case .message: handleMessage(stanza, to: to, from: peer)
        case .presence: hooks.presenceFromAway?(stanza, to, peer, self)
        case .iq: handleIQ(stanza, to: to, from: peer)
        }
    }

    private func handleIQ(_ stanza: Stanza, to: JID, from peer: any StanzaOrigin) {
        guard to.isBare else {
            guard !to.bare.isDomain else { return bounce(stanza, StanzaError(.serviceUnavailable)) }
            return deliverIQ(stanza, to: to)
        }
        do throws(StanzaError) {
            guard let request = try IQRequest(stanza) else {
                _ = requests.answer(stanza)
                return
            }
            let target: IQTarget = to.bare.isDomain ? .server : .account
            guard let handler = openHandlers[request.key], handler.targets.contains(target) else {
                throw StanzaError(.serviceUnavailable)
            }
            answer(request, target, by: handler, from: peer)
        } catch {
            bounce(stanza, error)
        }
    }

    // MARK: Requests that anybody may send

    func answer(
        _ request: IQRequest, _ target: IQTarget, by handler: OpenIQHandler,
        from origin: any StanzaOrigin
    ) {
        do throws(StanzaError) {
            switch try handler.answer(request, target, self) {
            case .result(let payload): answer(request, .success(payload))
            case .later(let look):
                let number = origin.hold(request.stanza)
                look { result in
                    self.answer(request, result)
                    if let number { origin.release(number) }
                }
            }
        } catch {
            answer(request, .failure(error))
        }
    }

    /// Answers a request, wherever it came from. Any thread.
    private func answer(_ request: IQRequest, _ result: Result<Element?, StanzaError>) {
        let asker = request.stanza.from
        guard !isLocal(asker.domain) else {
            sessions.session(asker)?.answer(request, result)
            return
        }
        let bytes: [UInt8] =
            switch result {
            case .success(let payload): request.resultBytes(payload)
            case .failure(let error): request.stanza.errorBytes(error)
            }
        sendAway(
            OutboundStanza(.iq, bytes),
            from: request.stanza.to ?? JID(bare: BareJID(preparedDomain: domains[0])), to: asker)
    }
}

/// A stanza on its way to another domain.
public struct AwayStanza: Sendable {
    let stanza: OutboundStanza
    let from: JID
    let to: JID
    /// Its number in the database; nil if it is not kept.
    let id: Int64?
}

/// What an account that goes says to other domains, from the transaction to what follows it. Safe
/// on any thread.
final class Farewells: Sendable {
    private let stanzas = Mutex<[AwayStanza]>([])

    var all: [AwayStanza] { stanzas.withLock { $0 } }

    /// A transaction may run twice.
    func set(_ new: [AwayStanza]) { stanzas.withLock { $0 = new } }
}
