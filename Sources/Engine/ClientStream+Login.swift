// A client's stream until it has logged in: carries out what `ClientNegotiation` wants done.

internal import Addresses
internal import Logging
internal import NIOCore
internal import Options
internal import Prometheus
internal import SASL
internal import Storage
internal import XML
internal import XMPP

extension ClientStream {
    func perform(_ actions: ArraySlice<ClientNegotiation.Action>) {
        var actions = actions
        while let action = actions.popFirst(), !hasEnded {
            switch action {
            case .send(let bytes):
                hasSentHeader = true
                send(bytes)
            case .sendFeatures(let context):
                send(featuresBytes(context))
            case .startTLS:
                startTLS()
            case .restart:
                reader.limits = host.limits.authenticatedReader
                reader.restart(keepingBytes: true)
                hasSentHeader = false
            case .find(let jid):
                find(jid)
            case .check(let password, let keys, let isKnown):
                check(password, keys, isKnown: isKnown)
            case .loginSucceeded(let jid, let mechanism):
                loginSucceeded(jid, mechanism)
            case .loginFailed(let bytes, let jid, let mechanism, let result):
                loginFailed(bytes, jid, mechanism, result)
            case .bind(let resource, let request):
                prepare(resource, request)
            case .resume(let request):
                resume(request)
            case .requestBeforeLogin(let request, let domain):
                requestBeforeLogin(request, domain)
            case .end(let error):
                if let error, error.condition == .notAuthorized, !isAuthenticated {
                    host.metrics.refusals[.beforeAuthentication].add(1, cell: loop.cell)
                }
                if negotiation.hasExhaustedAttempts {
                    host.metrics.refusals[.loginAttempts].add(1, cell: loop.cell)
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
            writer.write(Element("sm", StreamManagement.namespace))
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
        let now = loop.eventLoop.now
        switch host.loginThrottle.turn(network: description.network, account: jid, now: now) {
        case .refused:
            host.metrics.refusals[.loginThrottled].add(1, cell: loop.cell)
            perform(negotiation.lookupFailed(.throttled)[...])
        case .after(let delay):
            pause()
            guard delay > .zero else { return lookUp(jid) }
            isWaiting = true
            // The client's time to log in does not run while it waits for its turn.
            setDeadline(now + delay + TimeAmount(host.limits.negotiation.value))
            pauseEnd = loop.eventLoop.assumeIsolated().scheduleTask(in: delay) {
                self.pauseEnd = nil
                self.isWaiting = false
                self.lookUp(jid)
            }
        }
    }

    private func lookUp(_ jid: BareJID) {
        guard !hasEnded else { return }
        let loop = loop
        let stream = NIOLoopBound(self, eventLoop: loop.eventLoop)
        host.accounts.find(jid) { result in
            loop.eventLoop.execute {
                let stream = stream.value
                switch result {
                case .success(let found):
                    stream.lastLogin = found?.0.lastLogin
                    let account = found.map {
                        LoginAccount(keys: $1, isDisabled: $0.isDisabled)
                    }
                    stream.perform(stream.negotiation.supply(account: account)[...])
                case .failure(let error):
                    if error.code != .closed { stream.host.log.error("login: \(error)") }
                    stream.perform(stream.negotiation.lookupFailed()[...])
                }
                if !stream.isWaiting { stream.goOn() }
            }
        }
    }

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
        host.loginThrottle.succeeded(network: description.network, account: jid)
        loggedInAt = .now()
        let label = MechanismLabel(rawValue: mechanism.rawValue) ?? .unknown
        host.metrics.logins[label, .success].add(1, cell: loop.cell)
        host.log.debug("login", metadata: ["mechanism": "\(mechanism.rawValue)"])
        setDeadline(loop.eventLoop.now + TimeAmount(host.limits.negotiation.value))
    }

    private func loginFailed(
        _ bytes: [UInt8], _ jid: BareJID?, _ mechanism: MechanismLabel, _ result: LoginResult
    ) {
        host.metrics.logins[mechanism, result].add(1, cell: loop.cell)
        // What was no guess at a password slows nobody down.
        if let jid, result == .notAuthorized {
            host.loginThrottle.failed(
                network: description.network, account: jid, now: loop.eventLoop.now)
        }
        host.log.info(
            "login failed",
            metadata: ["address": "\(description.address)", "result": "\(result.rawValue)"])
        send(bytes)
    }

    private func requestBeforeLogin(_ request: IQRequest, _ domain: String) {
        let loop = loop
        let stream = NIOLoopBound(self, eventLoop: loop.eventLoop)
        let registration = RegistrationRequest(
            request: request, domain: domain, address: description.network)
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
}
