// Errors to those whose stanzas cannot get to another domain (RFC 6120 section 10.4).

internal import Prometheus
internal import XMPP

extension Federation {
    /// These cannot get there: their senders hear of it.
    func bounce(
        _ entries: [QueuedStanza], _ failure: FederationFailure, _ key: RouteKey, _ host: Host
    ) {
        guard !entries.isEmpty else { return }
        let error = StanzaError(
            failure.isPermanent ? .remoteServerNotFound : .remoteServerTimeout,
            "\(key.remote) cannot be reached: \(failure.text)")
        var returning: [ReturnedError] = []
        var done: [Int64] = []
        for entry in entries {
            let stanza = Stanza(routed: entry.stanza.bytes)
            // A broadcast asks for nothing, and its sender need not hear of each.
            guard
                entry.id != nil || entry.stanza.kind != .presence
                    || stanza.map({ host.isDirected($0) }) ?? false
            else { continue }
            metrics.bounced.add()
            if let id = entry.id, let stanza,
                let returned = ReturnedError(id, stanza, error, host)
            {
                returning.append(returned)
                continue
            }
            if let stanza { host.bounce(stanza, error) }
            if let id = entry.id { done.append(id) }
        }
        forget(done, host)
        returned.keep(returning, host)
    }
}
