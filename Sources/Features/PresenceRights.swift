// What accounts tell only those who may see their presence (RFC 6121 section 8.5.1): nobody else
// learns who exists.

internal import Addresses
internal import Engine
internal import Logging
internal import Storage
internal import XML
internal import XMPP

extension Host {
    /// Answers a request about an account to one who may see its presence.
    ///
    /// - Parameters:
    ///   - refusal: what all others get, whether there is such an account or not.
    ///   - tell: calls back with the answer, on any thread.
    func answer(
        _ request: IQRequest, about account: BareJID, else refusal: StanzaError,
        _ tell:
            @escaping @Sendable (@escaping @Sendable (Result<Element?, StanzaError>) -> Void) ->
            Void
    ) throws(StanzaError) -> OpenIQAnswer {
        let asker = request.stanza.from.bare
        if hooks.maySeePresence?(asker, account) ?? false {
            return .later(tell)
        }
        // The roster of one of the two is known when they are online.
        guard !isLocal(asker.domain), sessions.sessions(of: account).isEmpty,
            let isSubscriber = hooks.isSubscriber
        else { throw refusal }
        return .later { done in
            self.database.read({ try isSubscriber(asker, account, $0) }) { result in
                switch result {
                case .success(true): tell(done)
                case .success(false): done(.failure(refusal))
                case .failure(let error):
                    self.log.error("roster: \(error)")
                    done(.failure(StanzaError(.internalServerError, kind: .wait)))
                }
            }
        }
    }
}
