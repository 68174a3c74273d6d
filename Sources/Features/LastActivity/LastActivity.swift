// XEP-0012: Last Activity. Of the server: for how long it runs. Of an account: how long ago its
// last session ended, to those who may see its presence; the status text of that moment, which
// is optional, is not kept.
//
// The end of an account's last session is stored each time: a row of some fifty bytes in the next
// common commit. In memory alone it would be lost with a restart, and the last login, which is
// stored at most hourly, may lie weeks before the end of a session.

internal import Addresses
internal import Engine
internal import Logging
internal import NIOCore
internal import Storage
internal import XML
internal import XMPP

struct LastActivity: Feature {
    static let specifications = [Specification("XEP-0012", version: "2.0", "Last Activity")]
    static let namespace = "jabber:iq:last"

    init(in host: HostBuilder) {
        let start = NIODeadline.now()
        for step in LastActivityStore.schema { host.schema(step) }
        host.advertise(Self.namespace, for: [.server, .ownAccount])
        host.hooks.sessionEnded.append { account, session, host in
            guard session != nil, host.sessions.sessions(of: account).isEmpty else { return }
            let now = Clock.secondsSince1970()
            host.database.writer.submit(size: 128) { connection in
                // The session may have ended because the account is gone.
                guard try Accounts.exists(account, in: connection) else { return }
                try LastActivityStore.set(connection, account, now)
            } then: { _ in
            }
        }
        host.hooks.removeAccount.append { account, connection in
            try LastActivityStore.delete(connection, account)
        }
        host.hooks.requestToClient.append(Self.problem)
        host.answerAnybody("query", Self.namespace, for: [.server, .ownAccount, .account]) {
            request, target, host throws(StanzaError) in
            guard !request.isSet else { throw notChangeable }
            guard target != .server else {
                return .result(Self.query((NIODeadline.now() - start).nanoseconds / 1_000_000_000))
            }
            let account = request.stanza.to?.bare ?? request.stanza.from.bare
            // Section 3; the same answer for an account that does not exist.
            return try host.answer(request, about: account, else: StanzaError(.forbidden)) { done in
                guard host.sessions.sessions(of: account).isEmpty else {
                    return done(.success(Self.query(0)))
                }
                Self.look(account, host, done)
            }
        }
    }

    /// A client's idle time is for those who may see its presence, too (section 4).
    private static let problem: @Sendable (Stanza, JID, Host) -> StanzaError? = {
        stanza, to, host in
        let fragment = stanza.fragment
        guard stanza.isType("get"), let child = fragment.children.first,
            fragment.child(child, isNamed: "query", "jabber:iq:last")
        else { return nil }
        let maySee = host.hooks.maySeePresence?(stanza.from.bare, to.bare) ?? false
        return maySee ? nil : StanzaError(.forbidden)
    }

    /// After a crash the end of a session is not known, but its beginning is.
    private static func look(
        _ account: BareJID, _ host: Host,
        _ done: @escaping @Sendable (Result<Element?, StanzaError>) -> Void
    ) {
        host.database.read({ connection in
            [
                try LastActivityStore.find(connection, account),
                try Accounts.lastLogin(account, in: connection),
            ].compactMap { $0 }.max()
        }) { result in
            switch result {
            case .success(let time?):
                done(.success(query(max(0, Clock.secondsSince1970() - time))))
            case .success(nil):
                done(.failure(StanzaError(.itemNotFound, "never seen here")))
            case .failure(let error):
                host.log.error("last activity: \(error)")
                done(.failure(StanzaError(.internalServerError, kind: .wait)))
            }
        }
    }

    private static func query(_ seconds: Int64) -> Element {
        Element("query", namespace, [("seconds", "\(seconds)")])
    }
}
