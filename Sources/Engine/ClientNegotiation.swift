// From the first byte to the bound resource (RFC 6120 sections 4 to 7) as a state machine: an
// event in, actions out. It does no I/O and knows no time.

internal import Addresses
internal import SASL
internal import XML
internal import XMPP

/// What the connection under a stream is worth.
struct TransportSecurity {
    /// TLS is in force.
    var isSecure = false
    /// STARTTLS can be had.
    var offersTLS = false
    /// Clients may log in without TLS here: on loopback, if the owner wants it.
    var allowsPlaintext = false
    /// Channel binding data of this connection.
    var bindings = ChannelBindings(offered: [:])

    var mayAuthenticate: Bool { isSecure || allowsPlaintext }
}

/// The account that a login found.
struct LoginAccount: Sendable {
    var keys: [SCRAMCredentials]
    var isDisabled: Bool
}

struct ClientNegotiation {
    enum Action {
        case send([UInt8])
        /// Offer what this moment has; `ClientStream` knows the features.
        case sendFeatures(StreamFeatureContext)
        /// Begin TLS on the transport; the stream starts anew.
        case startTLS
        /// The stream starts anew on the same transport.
        case restart
        /// Answer with `supply(account:)`.
        case find(BareJID)
        /// Answer with `passwordChecked`. The keys are a stranger's when the user is unknown.
        case check(password: [UInt8], SCRAMCredentials, isKnown: Bool)
        case loginSucceeded(BareJID, SASLMechanism)
        /// Send, and slow down the next ones.
        case loginFailed([UInt8], BareJID?, MechanismLabel, LoginResult)
        /// Bind this resource, or one of the server's choice.
        case bind(String?, IQRequest)
        /// Take over the session of an earlier stream (XEP-0198 section 5).
        case resume(ResumptionRequest)
        /// A request of a client that has not logged in.
        case requestBeforeLogin(IQRequest, domain: String)
        case end(StreamError?)
    }

    private enum State {
        /// The stream header is due.
        case opening
        /// Features were sent; the client's choice is due.
        case choosing
        /// A SCRAM message is due.
        case exchanging(SCRAMExchange, SASLMechanism)
        /// The one message of PLAIN is due: the client did not send it with its choice.
        case awaitingPassword
        /// The owner is looking up the account of an exchange.
        case lookingUp(SCRAMExchange, SASLMechanism, BareJID)
        /// The owner is looking up the account for a password.
        case lookingUpPassword([UInt8], BareJID)
        /// The owner is checking a password.
        case checkingPassword(BareJID, LoginAccount?)
        /// The owner is binding a resource, or answering an early request.
        case waiting
        /// Everything is settled, or the stream has ended.
        case done
    }

    var security: TransportSecurity
    private(set) var domain = ""
    private(set) var account: BareJID?
    private(set) var language: String?
    private var state = State.opening
    private var failures = 0
    /// The stream ends because of too many failures.
    private(set) var hasExhaustedAttempts = false
    private let domains: [String]
    private let isLocal: (String) -> Bool
    private let redirection: String?
    private let maximumFailures: Int
    private let fake: FakeCredentials
    private let identifier: () -> String

    init(
        security: TransportSecurity, domains: [String], isLocal: @escaping (String) -> Bool,
        redirection: String? = nil, maximumFailures: Int, fake: FakeCredentials,
        identifier: @escaping () -> String
    ) {
        self.security = security
        self.domains = domains
        self.isLocal = isLocal
        self.redirection = redirection
        self.maximumFailures = maximumFailures
        self.fake = fake
        self.identifier = identifier
    }

    /// Mechanisms offered now, strongest first.
    var mechanisms: [SASLMechanism] {
        SASLMechanism.allCases.filter { mechanism in
            mechanism.isPlus ? !security.bindings.isEmpty : security.mayAuthenticate
        }
    }

    // MARK: Stream headers (RFC 6120 section 4.7)

    mutating func receive(_ header: StreamHeader) -> [Action] {
        func refuse(_ condition: StreamError.Condition, _ text: String? = nil) -> [Action] {
            [.send(openingBytes(header)), .end(StreamError(condition, text))]
        }
        guard header.name == "stream", header.namespace == Namespaces.streams else {
            return refuse(.invalidNamespace, "a stream is in \(Namespaces.streams)")
        }
        guard header.contentNamespace == Namespaces.client else {
            return refuse(.invalidNamespace, "clients speak \(Namespaces.client)")
        }
        guard let version = header.version, Self.isSupported(version) else {
            return refuse(.unsupportedVersion, "version 1.0 is needed")
        }
        guard let to = header.to else {
            return refuse(.improperAddressing, "the stream header needs a 'to' with the domain")
        }
        guard let wanted = try? Preparation.domain(to), isLocal(wanted),
            account == nil || account?.domain == wanted
        else {
            return refuse(.hostUnknown, "no such domain here")
        }
        domain = wanted
        // Not in clear, where anybody could send the client anywhere (section 4.9.3.19).
        if let redirection, security.mayAuthenticate {
            return [
                .send(openingBytes(header)),
                .end(StreamError(.seeOtherHost, value: redirection)),
            ]
        }
        language = header.lang.flatMap { $0.utf8.count <= 64 && !$0.isEmpty ? $0 : nil }
        state = .choosing
        return [
            .send(openingBytes(header)),
            .sendFeatures(
                StreamFeatureContext(
                    domain: domain, account: account, isSecure: security.isSecure)),
        ]
    }

    /// Major version 1 or more; a higher one gets 1.0 in return (RFC 6120 section 4.7.5).
    private static func isSupported(_ version: String) -> Bool {
        let parts = version.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let major = Int(parts[0]), Int(parts[1]) != nil else {
            return false
        }
        return major >= 1
    }

    /// The server's header, with which it also answers a broken one (section 4.9.1.2).
    func openingBytes(_ header: StreamHeader?) -> [UInt8] {
        var writer = XMLWriter(contentNamespace: "")
        writer.raw("<?xml version='1.0'?><stream:stream xmlns='jabber:client'")
        writer.raw(" xmlns:stream='http://etherx.jabber.org/streams'")
        writer.attribute("id", identifier())
        writer.attribute("from", domain.isEmpty ? domains.first ?? "" : domain)
        if let from = header?.from, from.utf8.count <= 3071, let jid = try? JID(from) {
            writer.attribute("to", jid.description)
        }
        writer.raw(" version='1.0' xml:lang='en'>")
        return writer.bytes
    }

    // MARK: First-level elements before the resource is bound

    mutating func receive(_ fragment: Fragment) -> [Action] {
        switch state {
        case .choosing: return choose(fragment)
        case .exchanging(let exchange, let mechanism):
            return respond(fragment, mechanism) { $0.step(exchange, mechanism, $1) }
        case .awaitingPassword:
            return respond(fragment, .plain) { $0.password($1, .plain) }
        case .opening, .lookingUp, .lookingUpPassword, .checkingPassword, .waiting, .done:
            return end(.policyViolation, "too early")
        }
    }

    private mutating func choose(_ fragment: Fragment) -> [Action] {
        switch fragment.namespace {
        case Namespaces.tls where fragment.isNamed("starttls", "urn:ietf:params:xml:ns:xmpp-tls"):
            guard security.offersTLS, !security.isSecure, account == nil else {
                state = .done
                return [
                    .send(Array("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".utf8)),
                    .end(nil),
                ]
            }
            state = .opening
            return [
                .send(Array("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".utf8)),
                .startTLS,
            ]
        case Namespaces.sasl:
            guard fragment.isNamed("auth", "urn:ietf:params:xml:ns:xmpp-sasl"), account == nil
            else {
                return end(.unsupportedStanzaType, "not now")
            }
            return authenticate(fragment.element())
        case StreamManagement.namespace where account != nil:
            if let request = ResumptionRequest(fragment) {
                state = .waiting
                return [.resume(request)]
            }
            if fragment.holds(fragment.name, "resume") {
                return [.send(StreamManagement.failed(.badRequest))]
            }
            // Not before the resource is bound (XEP-0198 section 3); the client may go on.
            return [.send(StreamManagement.failed(.unexpectedRequest))]
        default: break
        }
        guard let kind = Stanza.kind(of: fragment) else {
            return account == nil
                ? end(.notAuthorized, "log in first") : end(.unsupportedStanzaType, nil)
        }
        guard kind == .iq else { return end(.notAuthorized, "bind a resource first") }
        let sender = JID(bare: account ?? BareJID(preparedDomain: domain))
        let stanza = Stanza(fragment, .iq, from: sender, to: nil)
        guard let request = try? IQRequest(stanza) else {
            return end(.notAuthorized, "bind a resource first")
        }
        guard account != nil else {
            guard security.mayAuthenticate else { return end(.notAuthorized, "TLS first") }
            state = .waiting
            return [.requestBeforeLogin(request, domain: domain)]
        }
        guard request.isSet, request.payload.name == "bind",
            request.payload.namespace == Namespaces.bind
        else {
            return end(.notAuthorized, "bind a resource first")
        }
        guard let wanted = request.payload.child("resource")?.text, !wanted.isEmpty else {
            state = .waiting
            return [.bind(nil, request)]
        }
        guard let resource = try? Preparation.resource(wanted) else {
            return [
                .send(request.stanza.errorBytes(StanzaError(.badRequest, "a bad resource")))
            ]
        }
        state = .waiting
        return [.bind(resource, request)]
    }

    /// The owner has answered what it was asked while the machine waited; the client may go on.
    mutating func goOn() { if case .waiting = state { state = .choosing } }

    /// The resource is bound: stanzas flow.
    mutating func finish() { state = .done }

    private mutating func end(_ condition: StreamError.Condition, _ text: String?) -> [Action] {
        state = .done
        return [.end(StreamError(condition, text))]
    }

    // MARK: SASL (RFC 6120 section 6)

    private mutating func authenticate(_ element: Element) -> [Action] {
        let name = element["mechanism"] ?? ""
        guard let mechanism = SASLMechanism(rawValue: name), mechanisms.contains(mechanism) else {
            if name == SASLMechanism.plain.rawValue, !security.mayAuthenticate {
                return fail(.encryptionRequired, nil, nil)
            }
            return fail(.invalidMechanism, nil, nil)
        }
        // "=" stands for an empty initial response, nothing for none (section 6.4.2).
        let text = element.text
        guard let message = text == "=" ? [] : Base64.decode(text) else {
            return fail(.incorrectEncoding, nil, mechanism)
        }
        if mechanism.usesPassword {
            guard text.isEmpty else { return password(message, mechanism) }
            // A client that waits for its turn gets it (RFC 4422 section 3.3).
            state = .awaitingPassword
            return [.send(saslBytes("challenge", []))]
        }
        let exchange = SCRAMExchange(
            mechanism: mechanism, bindings: security.bindings,
            plusWasOffered: !security.bindings.isEmpty, nonce: identifier())
        if text.isEmpty {
            state = .exchanging(exchange, mechanism)
            return [.send(saslBytes("challenge", []))]
        }
        return step(exchange, mechanism, message)
    }

    private mutating func respond(
        _ fragment: Fragment, _ mechanism: SASLMechanism,
        _ proceed: (inout ClientNegotiation, [UInt8]) -> [Action]
    ) -> [Action] {
        if fragment.isNamed("abort", "urn:ietf:params:xml:ns:xmpp-sasl") {
            return fail(.aborted, nil, mechanism)
        }
        guard fragment.isNamed("response", "urn:ietf:params:xml:ns:xmpp-sasl") else {
            return end(.notAuthorized, "log in first")
        }
        let text = fragment.element().text
        guard let message = text == "=" ? [] : Base64.decode(text) else {
            return fail(.incorrectEncoding, nil, mechanism)
        }
        return proceed(&self, message)
    }

    private mutating func step(
        _ exchange: SCRAMExchange, _ mechanism: SASLMechanism, _ message: [UInt8]
    ) -> [Action] {
        var exchange = exchange
        switch exchange.receive(message) {
        case .needCredentials(let username, let authorizationID):
            guard let jid = accountJID(username) else {
                return fail(.notAuthorized, nil, mechanism)
            }
            guard isOwn(authorizationID, jid) else { return fail(.invalidAuthzid, jid, mechanism) }
            state = .lookingUp(exchange, mechanism, jid)
            return [.find(jid)]
        case .challenge(let bytes):
            state = .exchanging(exchange, mechanism)
            return [.send(saslBytes("challenge", bytes))]
        case .success(let bytes):
            return succeed(pending ?? BareJID(preparedDomain: domain), mechanism, bytes)
        case .failure(let condition, _):
            return fail(condition, pending, mechanism)
        }
    }

    /// The account whose proof is due.
    private var pending: BareJID?
    private var pendingIsDisabled = false

    /// What `find` found, nil for no such account.
    mutating func supply(account: LoginAccount?) -> [Action] {
        switch state {
        case .lookingUp(var exchange, let mechanism, let jid):
            pending = jid
            pendingIsDisabled = account?.isDisabled ?? false
            let hash = mechanism.hash ?? .sha256
            let keys = account?.keys.first { $0.hash == hash }
            // Computed for everybody, so that the known and the unknown take the same time.
            let stranger = fake.credentials(username: jid.local, domain: jid.domain, hash: hash)
            switch exchange.supply(keys, fake: stranger) {
            case .challenge(let bytes):
                state = .exchanging(exchange, mechanism)
                return [.send(saslBytes("challenge", bytes))]
            case .failure(let condition, _):
                return fail(condition, jid, mechanism)
            case .needCredentials, .success:
                return fail(.temporaryAuthFailure, jid, mechanism)
            }
        case .lookingUpPassword(let password, let jid):
            let keys = account?.keys.first { $0.hash == .sha256 } ?? account?.keys.first
            let stranger = fake.credentials(
                username: jid.local, domain: jid.domain, hash: .sha256)
            state = .checkingPassword(jid, account)
            return [.check(password: password, keys ?? stranger, isKnown: keys != nil)]
        case .opening, .choosing, .exchanging, .awaitingPassword, .checkingPassword, .waiting,
            .done:
            return []
        }
    }

    /// The database did not answer, or too much waits.
    mutating func lookupFailed(_ result: LoginResult = .serverError) -> [Action] {
        fail(.temporaryAuthFailure, nil, nil, result)
    }

    private mutating func password(_ message: [UInt8], _ mechanism: SASLMechanism) -> [Action] {
        do {
            let plain = try PlainExchange.parse(message)
            guard let jid = accountJID(plain.username) else {
                return fail(.notAuthorized, nil, mechanism)
            }
            guard isOwn(plain.authorizationID, jid) else {
                return fail(.invalidAuthzid, jid, mechanism)
            }
            guard
                let prepared = try? Preparation.password(
                    String(decoding: plain.password, as: UTF8.self))
            else { return fail(.notAuthorized, jid, mechanism) }
            state = .lookingUpPassword(Array(prepared.utf8), jid)
            return [.find(jid)]
        } catch {
            return fail(error.condition, nil, mechanism)
        }
    }

    /// Whether the password was right.
    mutating func passwordChecked(_ isRight: Bool) -> [Action] {
        guard case .checkingPassword(let jid, let account) = state else { return [] }
        guard isRight, let account else { return fail(.notAuthorized, jid, .plain) }
        pendingIsDisabled = account.isDisabled
        return succeed(jid, .plain, nil)
    }

    private func accountJID(_ username: String) -> BareJID? {
        guard let local = try? Preparation.local(username) else { return nil }
        return BareJID(preparedLocal: local, preparedDomain: domain)
    }

    /// Nobody may act as somebody else; one's own bare JID may be spelt out (RFC 6120 section
    /// 6.3.8).
    private func isOwn(_ authorizationID: String?, _ jid: BareJID) -> Bool {
        guard let authorizationID, !authorizationID.isEmpty else { return true }
        return (try? BareJID(authorizationID)) == jid
    }

    private mutating func succeed(
        _ jid: BareJID, _ mechanism: SASLMechanism, _ data: [UInt8]?
    ) -> [Action] {
        // Told only to who knows the password.
        if pendingIsDisabled { return fail(.accountDisabled, jid, mechanism, .accountDisabled) }
        account = jid
        pending = nil
        state = .opening
        return [.loginSucceeded(jid, mechanism), .send(saslBytes("success", data)), .restart]
    }

    private mutating func fail(
        _ condition: SASLCondition, _ jid: BareJID?, _ mechanism: SASLMechanism?,
        _ result: LoginResult? = nil
    ) -> [Action] {
        pending = nil
        pendingIsDisabled = false
        failures += 1
        hasExhaustedAttempts = failures >= maximumFailures
        state = .choosing
        var writer = XMLWriter(contentNamespace: Namespaces.client)
        writer.write(
            Element("failure", Namespaces.sasl, [], [Element(condition.rawValue, Namespaces.sasl)]))
        let label = mechanism.flatMap { MechanismLabel(rawValue: $0.rawValue) } ?? .unknown
        let meaning: LoginResult =
            switch condition {
            case .notAuthorized, .invalidAuthzid, .credentialsExpired: .notAuthorized
            case .accountDisabled: .accountDisabled
            case .temporaryAuthFailure: .serverError
            case .aborted, .encryptionRequired, .incorrectEncoding, .invalidMechanism,
                .malformedRequest, .mechanismTooWeak:
                .broken
            }
        var actions = [Action.loginFailed(writer.bytes, jid, label, result ?? meaning)]
        if hasExhaustedAttempts {
            state = .done
            actions.append(.end(StreamError(.policyViolation, "too many failed logins")))
        }
        return actions
    }

    private func saslBytes(_ name: StaticString, _ data: [UInt8]?) -> [UInt8] {
        var writer = XMLWriter(contentNamespace: "")
        writer.raw("<")
        writer.raw(name)
        writer.raw(" xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>")
        if let data { writer.text(Base64.encode(data)) }
        writer.raw("</")
        writer.raw(name)
        writer.raw(">")
        return writer.bytes
    }
}
