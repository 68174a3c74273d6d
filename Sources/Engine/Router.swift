// Where a stanza goes (RFC 6120 section 10, RFC 6121 section 8). Each rule asks the session
// table and never assumes that another user's session is in this process.

internal import Addresses
internal import NIOCore
internal import Storage
internal import XML
public import XMPP

extension Host {
    // MARK: From a client

    /// Handles what a client sent: the rules for a client's own server (RFC 6120 section 10.3).
    /// On the client's loop.
    func handle(_ stanza: Stanza, from session: Session) {
        // While a message of this client's waits for the disk, what comes after it must not
        // overtake it (RFC 6120 section 10.1).
        guard waits(stanza, session), let number = session.hold(stanza) else {
            return handleNow(stanza, from: session)
        }
        database.writer.afterQueued {
            session.resume(number) { self.handleNow(stanza, from: session) }
        }
    }

    /// Whether something that this client sent waits for the disk and could be overtaken. What
    /// its own server answers overtakes nothing, and a message that is stored goes the same way.
    func waits(_ stanza: Stanza, _ origin: some StanzaOrigin) -> Bool {
        guard origin.openCount > 0 else { return false }
        switch stanza.kind {
        case .presence: return true
        case .iq: return stanza.to.map { !$0.isBare || !isLocal($0.domain) } ?? false
        case .message:
            return !isKept(stanza, stanza.to ?? JID(bare: stanza.from.bare))
        }
    }

    private func handleNow(_ stanza: Stanza, from session: Session) {
        guard let to = stanza.to else {
            switch stanza.kind {
            case .message:
                handleMessage(stanza, to: JID(bare: session.jid.bare), from: session)
            case .presence: hooks.presence?(stanza, session, self)
            case .iq: answer(stanza, .ownAccount, session)
            }
            return
        }
        if stops(stanza, to: to) { return }
        guard isLocal(to.domain) else { return handleAway(stanza, to: to, from: session) }
        switch stanza.kind {
        case .presence:
            hooks.presence?(stanza, session, self)
        case .message:
            handleMessage(stanza, to: to, from: session)
        case .iq:
            if to.bare.isDomain {
                guard to.isBare else { return bounce(stanza, StanzaError(.serviceUnavailable)) }
                answer(stanza, .server, session)
            } else if to.isBare {
                answer(stanza, to.bare == session.jid.bare ? .ownAccount : .account, session)
            } else {
                deliverIQ(stanza, to: to)
            }
        }
    }

    // MARK: To a local account

    /// Where a message goes by the rules of RFC 6121 section 8.5, at this moment. Any thread.
    func route(_ stanza: Stanza, to: JID) -> MessageRoute {
        guard isLocal(to.domain) else { return .away }
        guard !to.bare.isDomain else {
            return .bounce(
                StanzaError(.serviceUnavailable, "the server takes no messages"))
        }
        let all = sessions.sessions(of: to.bare)
        if !to.isBare, let session = all.first(where: { $0.jid.resource == to.resource }) {
            return .sessions([session])
        }
        if stanza.isError { return .nowhere }
        if stanza.isType("groupchat") { return .bounce(StanzaError(.serviceUnavailable)) }
        let available = all.filter { session in
            let availability = session.availability
            return availability.isAvailable && availability.priority >= 0
        }
        if stanza.isType("headline") {
            return to.isBare && !available.isEmpty ? .sessions(available) : .nowhere
        }
        // To a full JID that is gone, only a chat falls back to the account (section 8.5.3.2.1).
        guard to.isBare || stanza.isType("chat") else {
            return .bounce(StanzaError(.serviceUnavailable))
        }
        guard let highest = available.map(\.availability.priority).max() else { return .account }
        return .sessions(available.filter { $0.availability.priority == highest })
    }

    func deliverIQ(_ stanza: Stanza, to: JID) {
        do throws(StanzaError) {
            try IQRequest.check(stanza)
        } catch {
            return bounce(stanza, error)
        }
        for hook in hooks.requestToClient {
            if let error = hook(stanza, to, self) { return bounce(stanza, error) }
        }
        if let session = sessions.session(to) {
            deliver(stanza, to: [session])
        } else {
            bounce(stanza, StanzaError(.serviceUnavailable))
        }
    }

    /// Delivers a stanza as it came to these sessions. The bytes are made once.
    public func deliver(_ stanza: Stanza, to receivers: [Session]) {
        guard !receivers.isEmpty else { return }
        let outbound = OutboundStanza(
            stanza.kind, stanza.routedBytes(),
            receivedAt: stanza.kind == .message && stanza.receivedAt > 0
                ? .uptimeNanoseconds(stanza.receivedAt) : nil,
            isOnlyCopy: stanza.kind != .presence && receivers.count == 1)
        for session in receivers { session.deliver(outbound) }
    }

    /// A stanza whose session ended before its client had it goes where it would have gone without
    /// that session. Any thread.
    func redeliver(_ stanza: OutboundStanza) {
        var stanza = stanza
        if let shared = stanza.shared {
            guard shared.isLostByAll() else { return }
            stanza = stanza.withBytes(shared.message)
        } else if !stanza.isOnlyCopy {
            return
        }
        guard var source = Stanza(routed: stanza.bytes) else { return }
        let to = source.to ?? JID(bare: source.from.bare)
        if stanza.receivedAt != nil,
            let delayed = Stanza(routed: stanza.delayed(by: to.domain).bytes)
        {
            source = delayed
        }
        if stops(source, to: to) { return }
        switch source.kind {
        case .message: redeliver(source, stanza.record, to: to)
        case .iq: deliverIQ(source, to: to)
        case .presence: break
        }
    }

    /// Answers a stanza with an error, unless it must not be answered: errors and results never
    /// are (RFC 6120 section 8.3.1).
    public func bounce(_ stanza: Stanza, _ error: StanzaError) {
        if stanza.isError || (stanza.kind == .iq && stanza.isType("result")) { return }
        guard isLocal(stanza.from.domain) else {
            return sendAway(
                OutboundStanza(stanza.kind, stanza.errorBytes(error)),
                from: stanza.to ?? JID(bare: BareJID(preparedDomain: domains[0])),
                to: stanza.from)
        }
        // The server's own (RFC 6121 section 4.3): nobody waits for an answer.
        if stanza.kind == .presence, stanza.isType("probe") { return }
        // What the server asks in an account's name, such as XEP-0357 has it.
        if stanza.kind == .iq, stanza.from.isBare, let to = stanza.to,
            let answer = Stanza(routed: stanza.errorBytes(error, from: to)),
            requests.answer(answer)
        {
            return
        }
        guard let sender = sessions.session(stanza.from) else {
            // A subscription goes from bare address to bare address.
            guard stanza.kind == .presence, stanza.from.isBare else { return }
            let answer = OutboundStanza(.presence, stanza.errorBytes(error))
            for session in sessions.sessions(of: stanza.from.bare)
            where session.availability.isAvailable {
                session.deliver(answer)
            }
            return
        }
        let answer = OutboundStanza(stanza.kind, stanza.errorBytes(error))
        sender.deliver(answer)
        if stanza.kind == .message { copyError(answer, to: sender) }
    }

    // MARK: Requests that the server answers

    private func answer(_ stanza: Stanza, _ target: IQTarget, _ session: Session) {
        do throws(StanzaError) {
            guard let request = try IQRequest(stanza) else { return }  // an answer to nothing
            if let handler = openHandlers[request.key], handler.targets.contains(target) {
                return answer(request, target, by: handler, from: session)
            }
            guard let handler = iqHandlers[request.key], handler.targets.contains(target) else {
                throw StanzaError(.serviceUnavailable)
            }
            // Until it is answered; `Session.answer` releases it.
            _ = session.hold(stanza)
            do throws(StanzaError) {
                switch try handler.answer(request, target, session, self) {
                case .result(let payload): session.answer(request, .success(payload))
                case .later: break
                }
            } catch {
                session.answer(request, .failure(error))
            }
        } catch {
            bounce(stanza, error)
        }
    }
}
