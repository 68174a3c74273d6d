// Resource binding (RFC 6120 section 7): a client becomes a session.

internal import Addresses
internal import NIOCore
internal import Options
internal import Prometheus
internal import Synchronization
internal import TLS
internal import XML
internal import XMPP

extension ClientStream {
    func prepare(_ resource: String?, _ request: IQRequest) {
        guard let account = negotiation.account else { return }
        preparedAccount = account
        pause()
        isWaiting = true
        let loop = loop
        let stream = NIOLoopBound(self, eventLoop: loop.eventLoop)
        host.prepareSession(account) { isReady in
            loop.eventLoop.execute {
                let stream = stream.value
                guard isReady else { return stream.preparationFailed(request) }
                guard !stream.hasEnded else { return stream.discardPreparation() }
                stream.bind(account, resource, request)
            }
        }
    }

    /// Something that a session needs could not be read; the client may try again.
    private func preparationFailed(_ request: IQRequest) {
        preparedAccount = nil
        guard !hasEnded else { return }
        negotiation.goOn()
        isWaiting = false
        send(request.stanza.errorBytes(StanzaError(.internalServerError, kind: .wait)))
        goOn()
    }

    private func bind(_ account: BareJID, _ wanted: String?, _ request: IQRequest) {
        let resource = wanted ?? SecureRandom.identifier(bytes: 12)
        let session = Session(
            JID(bare: account, preparedResource: resource), address: description.address,
            host: host)
        let state = SessionState(session, host: host, loop: loop)
        session.place.withLock {
            $0 = .at(loop, NIOLoopBound(state, eventLoop: loop.eventLoop))
        }
        switch host.sessions.insert(session, limit: host.limits.resources.value) {
        case .inserted:
            self.state = state
            state.attach(self)
            preparedAccount = nil
            negotiation.finish()
            host.metrics.sessions.add(1)
            noteLogin(account)
            let payload = Element(
                "bind", Namespaces.bind, [],
                [Element("jid", Namespaces.bind, text: session.jid.description)])
            send(request.resultBytes(payload))
            setDeadline(nil)
            isWaiting = false
            guard !host.revocations.contains(account, since: loggedInAt) else {
                return end(StreamError(.notAuthorized, "the account was closed meanwhile"))
            }
            guard !host.isStopping else { return end(StreamError(.systemShutdown)) }
            goOn()
        case .conflict(let other):
            session.place.withLock { $0 = .ended }
            // The newest connection of a resource is the one that works (section 7.7.2.2); the
            // other is gone for everybody before this one exists.
            let loop = loop
            let stream = NIOLoopBound(self, eventLoop: loop.eventLoop)
            other.terminate(StreamError(.conflict, "replaced by a new connection")) {
                loop.eventLoop.execute {
                    let stream = stream.value
                    guard !stream.hasEnded else { return stream.discardPreparation() }
                    stream.bind(account, resource, request)
                }
            }
        case .tooMany:
            session.place.withLock { $0 = .ended }
            host.metrics.refusals[.resources].add(1, cell: loop.cell)
            discardPreparation()
            negotiation.goOn()
            isWaiting = false
            send(request.stanza.errorBytes(StanzaError(.resourceConstraint, "too many devices")))
            goOn()
        }
    }

    /// Once an hour is enough: each note is a write to the card. The clock may have jumped.
    func noteLogin(_ account: BareJID) {
        let now = Clock.secondsSince1970()
        guard let lastLogin, abs(now - lastLogin) < 3600 else {
            return host.accounts.noteLogin(account, now: now)
        }
    }

    func discardPreparation() {
        guard let account = preparedAccount else { return }
        preparedAccount = nil
        host.discardPreparation(account)
    }
}
