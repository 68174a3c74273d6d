// What an owner can do about each reason for which another server is not reached. The same table is
// in firmware-notes/federation.md.

internal import Administration
internal import Engine

extension FederationTestStep {
    /// What to do; nil when the step did not fail.
    func advice(_ test: FederationTestProgress) -> String? {
        guard let reason = reason.flatMap(FederationFailureReason.init(rawValue:)) else {
            return nil
        }
        if step == .ping { return Self.pingAdvice(reason, test) }
        return Self.advice(reason, test)
    }

    /// We got there; they did not get back.
    private static func pingAdvice(
        _ reason: FederationFailureReason, _ test: FederationTestProgress
    ) -> String {
        if reason == .policy {
            return "allow it: kinglet federation allow \(test.domain) --in"
        }
        return "their server could not come back to us, or does not answer pings: see that port "
            + "5269 of this machine is open to them, that DNS leads \(test.local) here, and that "
            + "they trust our certificate for \(test.local)"
    }

    private static func advice(
        _ reason: FederationFailureReason, _ test: FederationTestProgress
    ) -> String {
        let domain = test.domain
        switch reason {
        case .noSuchDomain: return "see that the name is spelt as its owner spells it"
        case .dnsTimeout:
            return "see that this machine's name server answers, or name others in "
                + "federation.nameservers"
        case .dnsFailure:
            return "the domain's name servers are broken, or ours refuses: try another one in "
                + "federation.nameservers"
        case .noService: return "\(domain) says that it has no XMPP server; ask its owner"
        case .noAddress: return "its owner has to give its server an address in DNS"
        case .forbiddenAddress:
            return "if it is in your own network, set federation.allow_private_addresses"
        case .connectionRefused:
            return "its server is down, or a firewall there refuses: ask its owner"
        case .connectionTimeout:
            return "a firewall drops it, here or there, or its server is down; see that this "
                + "machine may connect to port 5269 of others"
        case .unreachable: return "see that this machine has a way to the internet (ip route)"
        case .connectionLost: return "try again; if it stays, ask its owner for its log"
        case .noTLS: return "it offers no TLS, without which we send nothing: ask its owner"
        case .tls:
            return "ask its owner which versions and ciphers of TLS it has: we want 1.2 or 1.3"
        case .certificateAbsent: return "it shows no certificate: ask its owner"
        case .certificateExpired:
            return "its owner has to renew it; if it is in date, see this machine's clock"
        case .certificateNotYetValid: return "see this machine's clock (timedatectl)"
        case .certificateSelfSigned, .certificateUntrusted:
            return "its owner needs one of a public authority; if the server is yours, name its "
                + "authority in federation.authorities"
        case .certificateWrongName: return "its owner needs a certificate for \(domain)"
        case .certificateRevoked: return "its owner needs a new certificate"
        case .certificateInvalid: return "its certificate is broken: ask its owner"
        case .noAuthentication:
            return "it takes neither certificates nor dialback from us: ask its owner, or set "
                + "federation.dialback"
        case .authenticationRefused:
            return "it does not accept us: see that our certificate for \(test.local) is of a "
                + "public authority and in date (kinglet status), and ask whether it allows us"
        case .dialback:
            return "see that DNS leads \(test.local) to this machine, port 5269, and that "
                + "\(domain) is allowed both ways: its server has to come and ask about our key"
        case .streamError: return "the other server's words say why; its log says more"
        case .protocolError: return "its server does not keep to XMPP: is it one?"
        case .timeout: return "it is slow or stuck: try again later"
        case .policy:
            return "allow it: kinglet federation allow \(domain) (federation.policy must not be "
                + "off)"
        case .shutdown: return "start the server without --isolated"
        }
    }
}
