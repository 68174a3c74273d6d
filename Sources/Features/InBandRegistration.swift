// XEP-0077: In-Band Registration. New accounts by the registration policy (closed by default) and
// only over a stream on which one may also log in; for one's own account, changing the password
// and leaving. Left out: data forms, and accounts at other services.

internal import Addresses
internal import Engine
internal import NIOCore
internal import Options
internal import Prometheus
internal import Synchronization
internal import XML
internal import XMPP

/// Who may make an account by themselves.
enum RegistrationPolicy: String, CaseIterable, Sendable {
    /// Nobody: the administrator makes accounts.
    case closed
    /// Everybody who reaches the server.
    case open
}

struct InBandRegistration: Feature {
    static let specifications = [
        Specification("XEP-0077", version: "2.4", "In-Band Registration")
    ]
    static let namespace = "jabber:iq:register"

    private let policy: Setting<RegistrationPolicy>
    private let shortestPassword: Setting<Int>
    private let rate: RegistrationRate

    init(in host: HostBuilder) {
        host.options.section(
            "registration", help: "Accounts that people make for themselves (XEP-0077).")
        policy = host.options.choice(
            "registration.policy", default: .closed, reloadable: true,
            help: "closed: only the administrator makes accounts. open: everybody who can reach "
                + "the server may make one.")
        shortestPassword = host.options.integer(
            "registration.password_minimum", default: 6, in: 1...128, reloadable: true,
            help: "Fewest characters of a password that a client chooses.")
        rate = RegistrationRate(
            perHour: host.options.integer(
                "registration.per_address_per_hour", default: 10, in: 1...1_000_000,
                reloadable: true,
                help: "New accounts per hour from one address; loopback is not limited."))
        let feature = self
        host.advertise(Self.namespace)
        host.hooks.streamFeatures.append { context, _ in
            guard context.account == nil, feature.policy.value == .open else { return nil }
            return Element("register", "http://jabber.org/features/iq-register")
        }
        host.hooks.requestBeforeLogin.append { registration, host, done in
            guard registration.request.payload.name == "query",
                registration.request.payload.namespace == Self.namespace
            else { return false }
            feature.register(registration, host, done)
            return true
        }
        host.answer("query", Self.namespace, for: [.server, .ownAccount]) {
            request, _, session, host throws(StanzaError) in
            try feature.answer(request, session, host)
        }
    }

    // MARK: A new account (section 3.1)

    private func register(
        _ registration: RegistrationRequest, _ host: Host,
        _ done: @escaping @Sendable (Result<Element?, StanzaError>) -> Void
    ) {
        do throws(StanzaError) {
            guard policy.value == .open else {
                host.metrics.refusals[.registrationClosed].add()
                throw StanzaError(
                    .notAllowed, "accounts are made by the administrator of this server")
            }
            let query = registration.request.payload
            guard registration.request.isSet else { return done(.success(form(registered: nil))) }
            let (jid, password) = try credentials(query, domain: registration.domain)
            guard rate.allows(registration.address, now: .now()) else {
                host.metrics.refusals[.registrationRate].add()
                throw StanzaError(
                    .resourceConstraint, "too many new accounts from your address; try later")
            }
            try derive(password, host) { keys in
                host.accounts.create(jid, keys, now: Clock.secondsSince1970()) { result in
                    done(result.map { nil }.mapError(Self.stanzaError))
                }
            }
        } catch {
            done(.failure(error))
        }
    }

    private func credentials(
        _ query: Element, domain: String
    ) throws(StanzaError) -> (BareJID, String) {
        guard let username = query.child("username")?.text, !username.isEmpty,
            let password = query.child("password")?.text
        else {
            throw StanzaError(.notAcceptable, "a username and a password are needed")
        }
        guard let local = try? Preparation.local(username) else {
            throw StanzaError(.jidMalformed, "this username cannot be part of an address")
        }
        try check(password)
        return (BareJID(preparedLocal: local, preparedDomain: domain), password)
    }

    private func check(_ password: String) throws(StanzaError) {
        guard password.count >= shortestPassword.value else {
            throw StanzaError(
                .notAcceptable, "a password has at least \(shortestPassword.value) characters")
        }
        guard (try? Preparation.password(password)) != nil else {
            throw StanzaError(.notAcceptable, "this password holds characters that cannot be used")
        }
    }

    private func derive(
        _ password: String, _ host: Host, _ then: @escaping @Sendable (PasswordKeys) -> Void
    ) throws(StanzaError) {
        let isQueued = host.deriveKeys(password) { keys in if let keys { then(keys) } }
        guard isQueued else { throw StanzaError(.resourceConstraint, "too busy; try later") }
    }

    private static func stanzaError(_ error: AccountError) -> StanzaError {
        switch error {
        case .alreadyExists: StanzaError(.conflict, "this username is taken")
        case .doesNotExist: StanzaError(.itemNotFound)
        case .storage(let error): .notStored(error)
        }
    }

    private func form(registered username: String?) -> Element {
        func field(_ name: String, _ text: String = "") -> Element {
            Element(name, Self.namespace, text: text.isEmpty ? nil : text)
        }
        guard let username else {
            return Element(
                "query", Self.namespace, [],
                [
                    field("instructions", "Choose a username and a password."),
                    field("username"), field("password"),
                ])
        }
        return Element(
            "query", Self.namespace, [],
            [field("registered"), field("username", username), field("password")])
    }

    // MARK: One's own account (sections 3.2 and 3.3)

    private func answer(
        _ request: IQRequest, _ session: Session, _ host: Host
    ) throws(StanzaError) -> IQAnswer {
        let account = session.jid.bare
        guard request.isSet else { return .result(form(registered: account.local)) }
        if request.payload.child("remove") != nil {
            guard request.payload.elements.count == 1 else {
                throw StanzaError(.badRequest, "<remove/> stands alone")
            }
            host.removeAccount(account, beforeEnd: { session.answer(request, .success(nil)) }) {
                result in
                if case .failure(let error) = result {
                    session.answer(request, .failure(.notStored(error)))
                }
            }
            return .later
        }
        let (jid, password) = try credentials(request.payload, domain: account.domain)
        guard jid == account else {
            throw StanzaError(.notAllowed, "only your own password can be changed")
        }
        try derive(password, host) { keys in
            host.setPassword(jid, keys) { result in
                session.answer(request, result.map { nil }.mapError(Self.stanzaError))
            }
        }
        return .later
    }
}

/// New accounts per address in the running hour. Safe on any thread.
private final class RegistrationRate: Sendable {
    private struct Window {
        var start: NIODeadline
        var count = 0
    }

    private static let capacity = 10_000
    private let perHour: Setting<Int>
    private let windows = Mutex<[String: Window]>([:])

    init(perHour: Setting<Int>) {
        self.perHour = perHour
    }

    func allows(_ address: String, now: NIODeadline) -> Bool {
        if address == "::1" || address.hasPrefix("127.") { return true }
        return windows.withLock { windows in
            if windows.count >= Self.capacity {
                windows = windows.filter { $0.value.start + .hours(1) > now }
                if windows.count >= Self.capacity { return false }
            }
            var window = windows[address] ?? Window(start: now)
            if window.start + .hours(1) <= now { window = Window(start: now) }
            guard window.count < perHour.value else { return false }
            window.count += 1
            windows[address] = window
            return true
        }
    }
}
