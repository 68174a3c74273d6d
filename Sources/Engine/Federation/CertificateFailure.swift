// What is wrong with another server's certificate, in a sentence for its administrator.

internal import TLS
internal import XMPP

extension FederationFailure {
    /// The failure that a verdict other than `valid` is.
    init(_ verdict: CertificateVerdict, _ text: String) {
        let reason: FederationFailureReason =
            switch verdict {
            case .absent: .certificateAbsent
            case .expired: .certificateExpired
            case .notYetValid: .certificateNotYetValid
            case .selfSigned: .certificateSelfSigned
            case .untrusted: .certificateUntrusted
            case .wrongName: .certificateWrongName
            case .revoked: .certificateRevoked
            case .valid, .invalid: .certificateInvalid
            }
        self.init(reason, text)
    }
}

extension CertificateVerdict {
    /// More names of a certificate are not listed.
    private static let mostNames = 5

    /// What is wrong, given what the certificate says of itself.
    func explanation(_ certificate: CertificateSummary?, domain: String) -> String {
        switch self {
        case .valid: return "its certificate is valid"
        case .absent: return "it shows no certificate"
        case .expired:
            guard let certificate, certificate.notAfter < Clock.secondsSince1970() else {
                return "a certificate of its chain has expired"
            }
            return "its certificate expired on \(Self.date(certificate.notAfter))"
        case .notYetValid:
            guard let certificate, certificate.notBefore > Clock.secondsSince1970() else {
                return "a certificate of its chain is not valid yet; is the clock right?"
            }
            return "its certificate is not valid before \(Self.date(certificate.notBefore)); "
                + "is the clock right?"
        case .selfSigned: return "its certificate is signed by itself"
        case .untrusted:
            let issuer = certificate.map { " \($0.issuer.prefix(200))" } ?? ""
            return "its certificate was issued by an authority that is not trusted:\(issuer)"
        case .wrongName:
            let names = certificate?.domains ?? []
            guard !names.isEmpty else { return "its certificate names no domain" }
            let more = names.count > Self.mostNames ? " and others" : ""
            return "its certificate is for \(names.prefix(Self.mostNames).joined(separator: ", "))"
                + "\(more), not for \(domain)"
        case .revoked: return "its certificate was revoked"
        case .invalid: return "its certificate cannot be checked or was not made for this"
        }
    }

    private static func date(_ seconds: Int64) -> String {
        let (milliseconds, overflows) = seconds.multipliedReportingOverflow(by: 1000)
        return overflows ? "an unknown day" : String(Timestamp.text(milliseconds).prefix(10))
    }
}
