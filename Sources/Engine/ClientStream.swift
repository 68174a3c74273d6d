// One client connection: bytes in, stanzas to the router; stanzas in, bytes out. Negotiation is
// in `ClientNegotiation`, this is what carries out its actions. Owner: the connection's event
// loop; nothing here is touched by another thread.

internal import Addresses
internal import Logging
public import NIOCore
internal import Options
internal import Prometheus
internal import SASL
internal import TLS
internal import XML
internal import XMPP

/// A client's stream (RFC 6120 section 4).
public final class ClientStream {
    static let specifications = [
        Specification("RFC 6120", "XMPP: Core"),
        Specification("RFC 6121", "XMPP: Instant Messaging and Presence"),
        Specification("RFC 7590", "Use of TLS in XMPP"),
        Specification("RFC 7622", "XMPP: Address Format"),
        Specification("XEP-0368", version: "1.1.0", "SRV records for XMPP over TLS"),
        Specification("XEP-0440", version: "1.0.0", "SASL Channel-Binding Type Capability"),
    ]

    let host: Host
    let loop: Loop
    private let transport: any StreamTransport
    private let description: ConnectionDescription
    private var tls: TLSLabel = .none
    private var reader: StreamReader
    private var negotiation: ClientNegotiation
    private var session: Session?
    /// The account of a stream whose `prepareSession` hooks were run.
    private var preparedAccount: BareJID?
    private var hasEnded = false
    private var hasSentHeader = false
    /// Input waits: the stream is being answered a question, or TLS begins.
    private var isPaused = false
    private var backlog = ByteBuffer()
    /// Bytes read together with `<starttls/>` are thrown away until TLS has begun.
    private var isStartingTLS = false
    /// When the stream is ended, unless it has got on by then.
    private var deadline: NIODeadline?
    private var isWatched = false

    private var outgoing = ByteBuffer()
    private var isWaitingForFlush = false
    /// Arrival times of the messages in `outgoing`.
    private var deliveries: [NIODeadline] = []
    /// Messages kept back while older ones come from the offline store; nil when none are.
    private var held: [OutboundStanza]?
    private var heldBytes = 0

    /// Whether the client has proved who it is.
    public private(set) var isAuthenticated = false

    /// Creates the stream of a connection that was admitted.
    public init(
        host: Host, loop: Loop, transport: any StreamTransport,
        description: ConnectionDescription
    ) {
        self.host = host
        self.loop = loop
        self.transport = transport
        self.description = description
        reader = StreamReader(limits: host.limits.unauthenticatedReader)
        negotiation = ClientNegotiation(
            security: TransportSecurity(
                offersTLS: description.offersTLS, allowsPlaintext: description.allowsPlaintext),
            domains: host.domains, isLocal: { host.isLocal($0) },
            maximumFailures: host.limits.loginAttempts.value, fake: host.fakeCredentials,
            identifier: { SecureRandom.identifier(bytes: 18) })
        host.metrics.connections[description.type, tls].add(1)
        setDeadline(.now() + TimeAmount(host.limits.negotiation.value))
    }

    // MARK: Events of the connection

    /// TLS is in force from here on.
    public func didSecure(_ version: TLSLabel) {
        host.metrics.connections[description.type, tls].add(-1)
        tls = version
        host.metrics.connections[description.type, tls].add(1)
        negotiation.security.isSecure = true
        negotiation.security.bindings = transport.channelBindings
        guard isStartingTLS else { return }
        isStartingTLS = false
        isPaused = false
    }

    /// The TLS handshake failed; the connection is of no use.
    public func didFailToSecure() {
        host.metrics.refusals[.tlsFailure].add(1, cell: loop.cell)
    }

    /// Bytes came in.
    public func receive(_ bytes: ByteBuffer) {
        // What comes between <starttls/> and TLS was sent in clear and is not believed.
        guard !hasEnded, !isStartingTLS else { return }
        if isPaused || backlog.readableBytes > 0 {
            backlog.writeImmutableBuffer(bytes)
            if !isPaused { readBacklog() }
            return
        }
        var bytes = bytes
        read(&bytes)
        if bytes.readableBytes > 0, !hasEnded, !isStartingTLS { backlog.writeBuffer(&bytes) }
    }

    /// The client sends no more; what it was sent reaches it before the end.
    public func endOfInput() {
        end(nil)
    }

    /// The connection is gone.
    public func didClose() {
        leave()
        host.metrics.connections[description.type, tls].add(-1)
    }

    /// Ends the stream if its time is up.
    func checkDeadline(_ now: NIODeadline) {
        guard let deadline, now >= deadline, !hasEnded else { return }
        let isLate = session == nil
        host.metrics.refusals[isLate ? .negotiationTimeout : .stanzaTimeout].add(cell: loop.cell)
        end(StreamError(isLate ? .connectionTimeout : .policyViolation, "too slow"))
    }

    private func setDeadline(_ deadline: NIODeadline?) {
        self.deadline = deadline
        if deadline != nil, !isWatched {
            isWatched = true
            loop.watch(self)
        } else if deadline == nil, isWatched {
            isWatched = false
            loop.unwatch(self)
        }
    }

    // MARK: Reading

    private func readBacklog() {
        var bytes = ByteBuffer()
        swap(&bytes, &backlog)
        read(&bytes)
        guard bytes.readableBytes > 0, !hasEnded, !isStartingTLS else { return }
        bytes.writeBuffer(&backlog)
        backlog = bytes
    }

    private func read(_ bytes: inout ByteBuffer) {
        let receivedAt = NIODeadline.now()
        var gotOn = false
        do throws(XMLError) {
            while !isPaused, !hasEnded, let event = try next(&bytes) {
                gotOn = true
                handle(event)
            }
        } catch {
            count(error)
            end(StreamError(error))
        }
        guard session != nil, !hasEnded else { return }
        // A stanza that was begun has to be finished in time; each one has a time of its own.
        if reader.isInsideElement {
            if deadline == nil || gotOn {
                setDeadline(receivedAt + TimeAmount(host.limits.negotiation.value))
            }
        } else if deadline != nil {
            setDeadline(nil)
        }
    }

    private func next(_ bytes: inout ByteBuffer) throws(XMLError) -> StreamEvent? {
        // The closure of ByteBuffer is untyped in what it throws, so the result carries it.
        let result: Result<StreamEvent?, XMLError> = bytes.readWithUnsafeReadableBytes { raw in
            var offset = 0
            do throws(XMLError) {
                let buffer = raw.bindMemory(to: UInt8.self)
                let event = try reader.next(in: buffer.span, at: &offset)
                return (offset, .success(event))
            } catch {
                return (raw.count, .failure(error))
            }
        }
        return try result.get()
    }

    private func count(_ error: XMLError) {
        let reason: RefusalReason =
            switch error.condition {
            case .limit: .xmlLimit
            case .restricted: .restrictedXML
            case .notWellFormed, .unsupportedEncoding, .badFormat: .malformedXML
            }
        host.metrics.refusals[reason].add(1, cell: loop.cell)
    }

    private func handle(_ event: StreamEvent) {
        switch event {
        case .header(let header):
            perform(negotiation.receive(header)[...])
        case .end:
            end(nil)
        case .element(let fragment):
            guard let session else { return perform(negotiation.receive(fragment)[...]) }
            receive(fragment, session)
        }
    }

    /// A stanza of a client that has a session.
    private func receive(_ fragment: Fragment, _ session: Session) {
        guard let kind = Stanza.kind(of: fragment) else {
            return refuse(StreamError(.unsupportedStanzaType))
        }
        host.metrics.stanzas[StanzaKindLabel(kind), .received].add(1, cell: loop.cell)
        if let from = fragment.from, !isSender(fragment.value(from), session) {
            return refuse(StreamError(.invalidFrom))
        }
        var to: JID?
        if let address = fragment.to {
            do throws(JIDError) {
                to = try JID(fragment.value(address))
            } catch {
                let stanza = Stanza(fragment, kind, from: session.jid, to: nil)
                return host.bounce(stanza, StanzaError(.jidMalformed, error.message))
            }
        }
        host.handle(
            Stanza(fragment, kind, from: session.jid, to: to, streamLanguage: negotiation.language),
            from: session)
    }

    /// RFC 6120 section 8.1.2.1: the bare or the full JID of the client, if anything.
    private func isSender(_ text: String, _ session: Session) -> Bool {
        guard let jid = try? JID(text) else { return false }
        return jid.bare == session.jid.bare && (jid.isBare || jid == session.jid)
    }

    private func refuse(_ error: StreamError) {
        host.metrics.refusals[.streamError].add(1, cell: loop.cell)
        end(error)
    }

    // MARK: Negotiation

    private func pause() {
        isPaused = true
        transport.setReading(false)
    }

    private func goOn() {
        isPaused = false
        guard !hasEnded else { return }
        transport.setReading(true)
        // Whole elements may also wait in the reader, behind the one that made the stream pause.
        if backlog.readableBytes > 0 || reader.isInsideElement { readBacklog() }
    }

    private func perform(_ actions: ArraySlice<ClientNegotiation.Action>) {
        var actions = actions
        while let action = actions.popFirst(), !hasEnded {
            switch action {
            case .send(let bytes):
                hasSentHeader = true
                send(bytes)
            case .sendFeatures(let context):
                send(featuresBytes(context))
            case .startTLS:
                // What stands behind <starttls/> was sent in clear and is not believed
                // (RFC 6120 section 5.4.3.3).
                isStartingTLS = true
                backlog = ByteBuffer()
                reader.restart()
                hasSentHeader = false
                flush()
                isPaused = true
                transport.startTLS()
            case .restart:
                reader = StreamReader(limits: host.limits.authenticatedReader)
                hasSentHeader = false
            case .find(let jid):
                find(jid)
            case .check(let password, let keys, let isKnown):
                check(password, keys, isKnown: isKnown)
            case .loginSucceeded(let jid, let mechanism):
                loginSucceeded(jid, mechanism)
            case .loginFailed(let bytes, let jid, let mechanism, let result):
                // What follows waits as long as the answer does.
                loginFailed(bytes, jid, mechanism, result, then: actions)
                return
            case .bind(let resource, let request):
                prepare(resource, request)
            case .requestBeforeLogin(let request, let domain):
                requestBeforeLogin(request, domain)
            case .end(let error):
                if let error, error.condition == .notAuthorized, !isAuthenticated {
                    host.metrics.refusals[.beforeAuthentication].add(1, cell: loop.cell)
                }
                end(error)
            }
        }
    }

    private func featuresBytes(_ context: StreamFeatureContext) -> [UInt8] {
        var writer = XMLWriter(contentNamespace: Namespaces.client)
        writer.raw("<stream:features>")
        let security = negotiation.security
        if context.account == nil {
            if !security.isSecure, security.offersTLS {
                let isRequired = !security.mayAuthenticate
                writer.write(
                    Element(
                        "starttls", Namespaces.tls, [],
                        isRequired ? [Element("required", Namespaces.tls)] : []))
            }
            if security.mayAuthenticate {
                writer.write(
                    Element(
                        "mechanisms", Namespaces.sasl, [],
                        negotiation.mechanisms.map {
                            Element("mechanism", Namespaces.sasl, text: $0.rawValue)
                        }))
                if !security.bindings.isEmpty {
                    writer.write(
                        Element(
                            "sasl-channel-binding", Namespaces.channelBinding, [],
                            security.bindings.types.map {
                                Element(
                                    "channel-binding", Namespaces.channelBinding, [("type", $0)])
                            }))
                }
            }
        } else {
            writer.write(Element("bind", Namespaces.bind))
        }
        if context.account != nil || security.mayAuthenticate {
            for hook in host.hooks.streamFeatures {
                if let element = hook(context, host) { writer.write(element) }
            }
        }
        writer.raw("</stream:features>")
        return writer.bytes
    }

    private func find(_ jid: BareJID) {
        if host.loginThrottle.isBlocked(address: description.address, now: .now()) {
            host.metrics.refusals[.loginThrottled].add(1, cell: loop.cell)
            return perform(negotiation.lookupFailed(.throttled)[...])
        }
        pause()
        let loop = loop
        let stream = NIOLoopBound(self, eventLoop: loop.eventLoop)
        host.accounts.find(jid) { result in
            let answer = result.map { found in
                found.map { LoginAccount(keys: $1, isDisabled: $0.isDisabled) }
            }
            loop.eventLoop.execute {
                let stream = stream.value
                switch answer {
                case .success(let account):
                    stream.perform(stream.negotiation.supply(account: account)[...])
                case .failure(let error):
                    stream.host.log.error("login: \(error)")
                    stream.perform(stream.negotiation.lookupFailed()[...])
                }
                if !stream.isWaiting { stream.goOn() }
            }
        }
    }

    /// A further answer is due, so the stream stays paused.
    private var isWaiting = false

    private func check(_ password: [UInt8], _ keys: SCRAMCredentials, isKnown: Bool) {
        pause()
        isWaiting = true
        let loop = loop
        let stream = NIOLoopBound(self, eventLoop: loop.eventLoop)
        let isQueued = host.keyStretcher.run {
            let isRight = keys.verifies(password: password) && isKnown
            loop.eventLoop.execute {
                let stream = stream.value
                stream.isWaiting = false
                stream.perform(stream.negotiation.passwordChecked(isRight)[...])
                if !stream.isWaiting { stream.goOn() }
            }
        }
        guard !isQueued else { return }
        isWaiting = false
        perform(negotiation.lookupFailed()[...])
    }

    private func loginSucceeded(_ jid: BareJID, _ mechanism: SASLMechanism) {
        isAuthenticated = true
        host.admission.authenticated()
        host.loginThrottle.succeeded(address: description.address, account: jid)
        let label = MechanismLabel(rawValue: mechanism.rawValue) ?? .unknown
        host.metrics.logins[label, .success].add(1, cell: loop.cell)
        host.log.debug("login", metadata: ["mechanism": "\(mechanism.rawValue)"])
        setDeadline(.now() + TimeAmount(host.limits.negotiation.value))
    }

    private func loginFailed(
        _ bytes: [UInt8], _ jid: BareJID?, _ mechanism: MechanismLabel, _ result: LoginResult,
        then rest: ArraySlice<ClientNegotiation.Action>
    ) {
        host.metrics.logins[mechanism, result].add(1, cell: loop.cell)
        if !rest.isEmpty { host.metrics.refusals[.loginAttempts].add(1, cell: loop.cell) }
        let delay = host.loginThrottle.failed(
            address: description.address, account: jid, now: .now())
        host.log.info(
            "login failed",
            metadata: ["address": "\(description.address)", "result": "\(result.rawValue)"])
        pause()
        isWaiting = true
        // The answer comes even if it is later than the client's time to log in.
        setDeadline(.now() + delay + TimeAmount(host.limits.negotiation.value))
        loop.eventLoop.assumeIsolated().scheduleTask(in: delay) {
            guard !self.hasEnded else { return }
            self.isWaiting = false
            self.send(bytes)
            self.perform(rest)
            self.goOn()
        }
    }

    private func requestBeforeLogin(_ request: IQRequest, _ domain: String) {
        let loop = loop
        let stream = NIOLoopBound(self, eventLoop: loop.eventLoop)
        let registration = RegistrationRequest(
            request: request, domain: domain, address: description.address)
        pause()
        isWaiting = true
        for hook in host.hooks.requestBeforeLogin {
            let isTaken = hook(registration, host) { result in
                loop.eventLoop.execute {
                    let stream = stream.value
                    stream.isWaiting = false
                    stream.negotiation.goOn()
                    switch result {
                    case .success(let payload): stream.send(request.resultBytes(payload))
                    case .failure(let error): stream.send(request.stanza.errorBytes(error))
                    }
                    stream.goOn()
                }
            }
            if isTaken { return }
        }
        isWaiting = false
        host.metrics.refusals[.beforeAuthentication].add(1, cell: loop.cell)
        end(StreamError(.notAuthorized, "log in first"))
        goOn()
    }

    // MARK: Resource binding (RFC 6120 section 7)

    private func prepare(_ resource: String?, _ request: IQRequest) {
        guard let account = negotiation.account else { return }
        preparedAccount = account
        pause()
        isWaiting = true
        let loop = loop
        let stream = NIOLoopBound(self, eventLoop: loop.eventLoop)
        Self.run(host.hooks.prepareSession[...], account, host) {
            loop.eventLoop.execute {
                let stream = stream.value
                guard !stream.hasEnded else { return stream.discardPreparation() }
                stream.bind(account, resource, request)
            }
        }
    }

    private static func run(
        _ hooks: ArraySlice<@Sendable (BareJID, Host, @escaping @Sendable () -> Void) -> Void>,
        _ account: BareJID, _ host: Host, _ done: @escaping @Sendable () -> Void
    ) {
        guard let first = hooks.first else { return done() }
        first(account, host) { run(hooks.dropFirst(), account, host, done) }
    }

    private func bind(_ account: BareJID, _ wanted: String?, _ request: IQRequest) {
        let resource = wanted ?? SecureRandom.identifier(bytes: 12)
        let session = Session(
            JID(bare: account, preparedResource: resource), address: description.address,
            loop: loop, stream: self)
        switch host.sessions.insert(session, limit: host.limits.resources.value) {
        case .inserted:
            self.session = session
            preparedAccount = nil
            negotiation.finish()
            host.metrics.sessions.add(1)
            host.accounts.noteLogin(account, now: Clock.secondsSince1970())
            let payload = Element(
                "bind", Namespaces.bind, [],
                [Element("jid", Namespaces.bind, text: session.jid.description)])
            send(request.resultBytes(payload))
            setDeadline(nil)
            isWaiting = false
            goOn()
        case .conflict(let other):
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
            host.metrics.refusals[.resources].add(1, cell: loop.cell)
            discardPreparation()
            negotiation.goOn()
            isWaiting = false
            send(request.stanza.errorBytes(StanzaError(.resourceConstraint, "too many devices")))
            goOn()
        }
    }

    private func discardPreparation() {
        guard let account = preparedAccount else { return }
        preparedAccount = nil
        for hook in host.hooks.sessionEnded.reversed() { hook(account, nil, host) }
    }

    // MARK: Writing

    /// Queues a stanza for the client. On the loop.
    func deliver(_ stanza: OutboundStanza) {
        guard !hasEnded else { return }
        if stanza.kind == .message, held != nil { return hold(stanza) }
        queue(stanza)
    }

    private func queue(_ stanza: OutboundStanza) {
        guard !hasEnded else { return }
        host.metrics.stanzas[StanzaKindLabel(stanza.kind), .sent].add(1, cell: loop.cell)
        if let receivedAt = stanza.receivedAt { deliveries.append(receivedAt) }
        send(stanza.bytes)
    }

    private func send(_ bytes: [UInt8]) {
        guard !hasEnded else { return }
        outgoing.writeBytes(bytes)
        guard !isWaitingForFlush else { return }
        isWaitingForFlush = true
        loop.flushAtEndOfTick(self)
    }

    /// Hands what is queued to the connection, as one write.
    func flush() {
        isWaitingForFlush = false
        guard outgoing.readableBytes > 0 else { return }
        var bytes = ByteBuffer()
        swap(&bytes, &outgoing)
        transport.write(bytes)
        if !deliveries.isEmpty {
            let now = NIODeadline.now()
            for receivedAt in deliveries {
                host.metrics.deliveryTime.observe((now - receivedAt).seconds, cell: loop.cell)
            }
            deliveries.removeAll(keepingCapacity: deliveries.count <= 16)
        }
        if !hasEnded, transport.pendingBytes > host.limits.outgoingQueue.value {
            host.metrics.refusals[.slowReader].add(1, cell: loop.cell)
            end(StreamError(.resourceConstraint, "the client does not read"))
        }
    }

    // MARK: Messages that wait for older ones

    func holdMessages() { if held == nil { held = [] } }

    private func hold(_ stanza: OutboundStanza) {
        heldBytes += stanza.bytes.count
        held?.append(stanza)
        guard heldBytes > host.limits.outgoingQueue.value else { return }
        host.metrics.refusals[.heldMessages].add(1, cell: loop.cell)
        end(StreamError(.resourceConstraint, "too many messages at once"))
    }

    func releaseMessages(
        after earlier: [OutboundStanza], isLast: Bool, thenWritten: @escaping @Sendable () -> Void
    ) {
        guard !hasEnded else { return }
        for stanza in earlier { queue(stanza) }
        flush()
        if !hasEnded { thenWritten() }
        guard isLast else { return }
        let waiting = held ?? []
        held = nil
        heldBytes = 0
        for stanza in waiting { queue(stanza) }
    }

    // MARK: The end

    /// Ends the stream, with an error or in peace (RFC 6120 section 4.4). On the loop.
    func end(_ error: StreamError?) {
        guard !hasEnded else { return }
        if let error {
            if !hasSentHeader { send(negotiation.openingBytes(nil)) }
            send(error.bytes)
        }
        if hasSentHeader || error != nil { send(Array("</stream:stream>".utf8)) }
        hasEnded = true
        flush()
        leave()
        transport.close()
    }

    /// Takes the session out of the world, once.
    private func leave() {
        hasEnded = true
        setDeadline(nil)
        backlog = ByteBuffer()
        held = nil
        discardPreparation()
        guard let session else { return }
        self.session = nil
        host.sessions.remove(session)
        host.metrics.sessions.add(-1)
        for hook in host.hooks.sessionEnded.reversed() { hook(session.jid.bare, session, host) }
    }
}
