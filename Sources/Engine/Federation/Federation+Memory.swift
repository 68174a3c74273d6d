// What is remembered of servers that came: refusals that were logged, certificates that were seen.

internal import NIOCore
internal import Synchronization
internal import TLS

extension Federation {
    struct Refused: Hashable {
        let network: String
        /// The domain that was proved; anybody can name another one each time.
        let domain: String?
        let reason: FederationFailureReason
    }

    /// Whether a refusal is worth a line in the log; anybody can be refused as often as they like.
    /// Loopback is this machine, as elsewhere.
    func isNew(
        _ reason: FederationFailureReason, of network: String, domain: String?, now: NIODeadline
    ) -> Bool {
        guard !network.hasPrefix("127."), network != "::1" else { return true }
        let key = Refused(network: network, domain: domain, reason: reason)
        return refused.withLock { refused in
            if let logged = refused[key], now - logged < Self.refusalPause { return false }
            refused[key] = now
            return true
        }
    }

    /// Whether a server of a domain may do without a certificate that proves the domain; `verdict`
    /// says what its certificate proves. Not where a valid one was seen since the start: dialback
    /// believes DNS, and whoever can forge that would get the mail of a domain that needs none.
    func mayDial(_ domain: String, _ verdict: CertificateVerdict) -> Bool {
        certified.withLock { certified in
            if verdict == .valid { certified.insert(domain) }
            return verdict == .valid || !certified.contains(domain)
        }
    }
}
