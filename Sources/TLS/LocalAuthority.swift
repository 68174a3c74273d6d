// A certificate authority of one's own, for a server that no public authority can reach.

import COpenSSL

/// Makes an authority that may vouch for given domains only, and server certificates under it.
///
/// The owner installs the authority's certificate on each device. Its name constraints (RFC 5280
/// section 4.2.1.10) keep a stolen authority key from vouching for anybody else's domain.
public enum LocalAuthority {
    /// The organization in the name of each authority made here, by which it is recognised.
    public static let organization = "Kinglet local authority"
    /// Validity of the authority's certificate, in days.
    public static let authorityDays = 3650
    /// Validity of a server's certificate, in days: what phones accept from any authority.
    public static let serverDays = 397
    /// The most domains in one certificate.
    public static let domainLimit = 100

    private static let secondsPerDay: Int64 = 86_400

    /// A new authority for `domains` and their sub-domains, and a server certificate for `domains`.
    ///
    /// - Parameters:
    ///   - domains: ASCII (A-label) domains, the server's own first.
    ///   - authorityName: what a person sees in a list of authorities; at most 64 characters.
    ///   - now: seconds since 1970.
    /// - Returns: keys as PKCS #8 and certificates as X.509, all in PEM.
    public static func create(
        domains: [String], authorityName: String, now: Int64
    ) throws(TLSError) -> (
        authorityKeyPEM: String, authorityCertificatePEM: String, serverKeyPEM: String,
        serverCertificatePEM: String
    ) {
        let domains = try check(domains)
        try check(clock: now)
        let key = try PrivateKey.generate()
        let authority = try makeAuthority(key, domains, name: authorityName, now: now)
        let server = try issue(domains, under: authority, key, now: now)
        return (try key.pem(), try authority.pem(), server.keyPEM, server.certificatePEM)
    }

    /// A new key and certificate for a server, under an authority that exists.
    ///
    /// Fails when the authority may not vouch for one of `domains`, or its own time is over.
    public static func issue(
        domains: [String], authorityKeyPEM: String, authorityCertificatePEM: String, now: Int64
    ) throws(TLSError) -> (keyPEM: String, certificatePEM: String) {
        let domains = try check(domains)
        try check(clock: now)
        let subject = "the local authority"
        let chain = try Certificate.chain(
            pem: Array(authorityCertificatePEM.utf8), subject: subject)
        let key = try PrivateKey(pem: Array(authorityKeyPEM.utf8), subject: subject)
        ERR_clear_error()
        guard X509_check_private_key(chain[0].pointer, key.pointer) == 1 else {
            throw .fromOpenSSL(
                .keyMismatch, operation: "use the authority's key", subject: subject,
                advice: "restore the authority's key and certificate from one backup")
        }
        return try issue(domains, under: chain[0], key, now: now)
    }

    /// The SHA-256 of a certificate in hexadecimal with colons, for a person to compare.
    public static func fingerprint(certificatePEM: String) throws(TLSError) -> String {
        try Certificate.chain(pem: Array(certificatePEM.utf8), subject: "")[0].fingerprint
    }

    // MARK: Certificates

    private static func makeAuthority(
        _ key: PrivateKey, _ domains: [String], name: String, now: Int64
    ) throws(TLSError) -> Certificate {
        var draft = try CertificateDraft(
            key: key, from: now - secondsPerDay, to: now + Int64(authorityDays) * secondsPerDay)
        try draft.setSubject([(NID_organizationName, organization), (NID_commonName, name)])
        try draft.setIssuer(draft.certificate)
        try draft.add(NID_basic_constraints, "critical,CA:TRUE,pathlen:0")
        try draft.add(NID_key_usage, "critical,keyCertSign,cRLSign")
        // A constraint on a domain covers its sub-domains; a kind of name that is not mentioned
        // would be free, hence the addresses.
        let constraints =
            domains.map { "permitted;DNS:\($0)" } + [
                "excluded;IP:0.0.0.0/0.0.0.0", "excluded;IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0",
            ]
        try draft.add(NID_name_constraints, "critical," + constraints.joined(separator: ","))
        try draft.add(NID_subject_key_identifier, "hash")
        try draft.add(NID_authority_key_identifier, "keyid:always")
        return try draft.sign(with: key)
    }

    private static func issue(
        _ domains: [String], under authority: Certificate, _ authorityKey: PrivateKey, now: Int64
    ) throws(TLSError) -> (keyPEM: String, certificatePEM: String) {
        let key = try PrivateKey.generate()
        var draft = try CertificateDraft(
            key: key, from: max(now - secondsPerDay, authority.notBefore),
            to: min(now + Int64(serverDays) * secondsPerDay, authority.notAfter))
        // Names are in the extension; a common name has room for 64 characters only.
        let commonName = domains.first { $0.utf8.count <= 64 } ?? "XMPP server"
        try draft.setSubject([(NID_commonName, commonName)])
        try draft.setIssuer(authority)
        try draft.add(NID_basic_constraints, "critical,CA:FALSE")
        try draft.add(NID_key_usage, "critical,digitalSignature")
        // The second for connections to other servers, where it is the client's certificate.
        try draft.add(NID_ext_key_usage, "serverAuth,clientAuth")
        try draft.add(
            NID_subject_alt_name, domains.map { "DNS:\($0)" }.joined(separator: ","))
        try draft.add(NID_subject_key_identifier, "hash")
        try draft.add(NID_authority_key_identifier, "keyid:always")
        let certificate = try draft.sign(with: authorityKey)
        for domain in domains {
            try certificate.verify(under: authority, for: domain, at: now)
        }
        return (try key.pem(), try certificate.pem())
    }

    // MARK: Checks

    /// The domains in lower case. They go into OpenSSL's textual extension syntax, so nothing but
    /// letters, digits, hyphens and dots may pass (RFC 1123 section 2.1).
    private static func check(_ domains: [String]) throws(TLSError) -> [String] {
        let operation = "make a certificate"
        guard !domains.isEmpty, domains.count <= domainLimit else {
            throw TLSError(
                code: .domainRefused, operation: operation,
                message: "1 to \(domainLimit) domains are needed, not \(domains.count)")
        }
        var checked: [String] = []
        for domain in domains.map(\.asciiLowercased) {
            guard isHostName(domain) else {
                throw TLSError(
                    code: .domainRefused, operation: operation, subject: domain,
                    message: "it is not a domain name in ASCII",
                    advice: "use a name such as example.org or raspberrypi.local")
            }
            if !checked.contains(domain) { checked.append(domain) }
        }
        return checked
    }

    static func isHostName(_ name: String) -> Bool {
        let labels = name.split(separator: ".", omittingEmptySubsequences: false)
        guard name.utf8.count <= 253, let last = labels.last else { return false }
        // An address looks like a name whose last label is a number.
        guard !last.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return false }
        return labels.allSatisfy { label in
            (1...63).contains(label.utf8.count) && !label.hasPrefix("-") && !label.hasSuffix("-")
                && label.utf8.allSatisfy {
                    (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D
                }
        }
    }

    /// A machine without a battery-backed clock wakes up in the past; a certificate from then would
    /// be over when the clock is set.
    private static func check(clock now: Int64) throws(TLSError) {
        let start2025: Int64 = 1_735_689_600
        let start2200: Int64 = 7_258_118_400
        guard (start2025..<start2200).contains(now) else {
            throw TLSError(
                code: .clockNotSet, operation: "make a certificate",
                message: "the clock shows a time that cannot be right",
                advice: "set the clock (timedatectl status) and try again")
        }
    }
}
