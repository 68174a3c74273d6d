// The local authority: what it makes, what it can be used for, and what not.

import NIOCore
import Testing

@testable import TLS

@Suite struct LocalAuthorityTests {
    static let day: Int64 = 86_400

    func certificate(_ pem: String) throws -> Certificate {
        try Certificate.chain(pem: Array(pem.utf8), subject: "test")[0]
    }

    @Test("A client that trusts the authority accepts the server under all its domains")
    func trusted() throws {
        let site = try Site("example.org", "conference.example.net")
        let server = try makeServer([site.identity])
        for name in site.identity.domains {
            let settings = TLSClientSettings(serverName: name, authorityPEM: site.authorityPEM)
            #expect(try Link.open(server, settings).handshakeIsComplete)
        }
        let wrong = TLSClientSettings(serverName: "other.org", authorityPEM: site.authorityPEM)
        #expect(throws: TLSError.self) { _ = try Link.open(server, wrong) }
    }

    @Test("The authority lasts ten years, a server's certificate 397 days, both from yesterday")
    func validity() throws {
        let made = try LocalAuthority.create(
            domains: ["example.org"], authorityName: "Home", now: testTime)
        let authority = try certificate(made.authorityCertificatePEM)
        let server = try certificate(made.serverCertificatePEM)
        #expect(authority.notBefore == testTime - Self.day)
        #expect(authority.notAfter == testTime + 3650 * Self.day)
        #expect(server.notBefore == testTime - Self.day)
        #expect(server.notAfter == testTime + 397 * Self.day)
        #expect(authority.summary(file: "").subject == "CN=Home,O=Kinglet local authority")
    }

    @Test("Every certificate and every key is another")
    func unique() throws {
        let first = try LocalAuthority.create(
            domains: ["example.org"], authorityName: "Home", now: testTime)
        let second = try LocalAuthority.create(
            domains: ["example.org"], authorityName: "Home", now: testTime)
        let keys = [
            first.authorityKeyPEM, first.serverKeyPEM, second.authorityKeyPEM, second.serverKeyPEM,
        ]
        #expect(Set(keys).count == 4)
        #expect(first.serverCertificatePEM != second.serverCertificatePEM)
    }

    @Test("The authority renews a certificate for its domains and their sub-domains")
    func renewal() throws {
        let site = try Site("example.org")
        let later = testTime + 390 * Self.day
        let fresh = try LocalAuthority.issue(
            domains: ["example.org", "chat.example.org"], authorityKeyPEM: site.authorityKeyPEM,
            authorityCertificatePEM: site.authorityPEM, now: later)
        let certificate = try certificate(fresh.certificatePEM)
        #expect(certificate.summary(file: "").domains == ["example.org", "chat.example.org"])
        #expect(certificate.notAfter == later + 397 * Self.day)
    }

    @Test("A renewed certificate does not outlive its authority")
    func lastRenewal() throws {
        let site = try Site("example.org")
        let end = testTime + 3650 * Self.day
        let fresh = try LocalAuthority.issue(
            domains: ["example.org"], authorityKeyPEM: site.authorityKeyPEM,
            authorityCertificatePEM: site.authorityPEM, now: end - 10 * Self.day)
        #expect(try certificate(fresh.certificatePEM).notAfter == end)
        let error = #expect(throws: TLSError.self) {
            _ = try LocalAuthority.issue(
                domains: ["example.org"], authorityKeyPEM: site.authorityKeyPEM,
                authorityCertificatePEM: site.authorityPEM, now: end + Self.day)
        }
        #expect(error?.code == .certificateExpired)
    }

    @Test("Name constraints keep the authority from other domains (RFC 5280 section 4.2.1.10)")
    func nameConstraints() throws {
        let site = try Site("example.org")
        let error = #expect(throws: TLSError.self) {
            _ = try LocalAuthority.issue(
                domains: ["bank.example"], authorityKeyPEM: site.authorityKeyPEM,
                authorityCertificatePEM: site.authorityPEM, now: testTime)
        }
        #expect(error?.code == .domainRefused)
        #expect(error?.message == "permitted subtree violation")
    }

    @Test(
        "Whoever steals the authority's key cannot vouch for other names, nor for addresses",
        arguments: [
            ("DNS:example.org", nil),
            ("DNS:deep.chat.example.org", nil),
            ("DNS:bank.example", "permitted subtree violation"),
            ("DNS:notexample.org", "permitted subtree violation"),
            ("DNS:example.org,DNS:bank.example", "permitted subtree violation"),
            ("DNS:example.org,IP:192.0.2.1", "excluded subtree violation"),
            ("DNS:example.org,IP:2001:db8::1", "excluded subtree violation"),
        ])
    func stolenKey(_ names: String, _ reason: String?) throws {
        let site = try Site("example.org")
        let authority = try certificate(site.authorityPEM)
        let forged = try forge(names, site)
        let host = names.split(separator: ",")[0].dropFirst(4)
        do throws(TLSError) {
            try forged.verify(under: authority, for: String(host), at: testTime)
            #expect(reason == nil)
        } catch {
            #expect(error.message == reason)
        }
    }

    @Test("No authority can stand under the local one (pathlen 0)")
    func noSubordinate() throws {
        let site = try Site("example.org")
        let stolenKey = try PrivateKey(pem: Array(site.authorityKeyPEM.utf8), subject: "stolen")
        let subordinateKey = try PrivateKey.generate()
        let subordinate = try sign(
            subordinateKey, constraints: "critical,CA:TRUE", names: "DNS:example.org",
            by: certificate(site.authorityPEM), stolenKey, now: testTime)
        let leafKey = try PrivateKey.generate()
        let leaf = try sign(
            leafKey, constraints: "critical,CA:FALSE", names: "DNS:example.org", by: subordinate,
            subordinateKey, now: testTime)
        let identity = TLSIdentity(
            domains: ["example.org"],
            certificateFile: try site.folder.write("chain.pem", leaf.pem() + subordinate.pem()),
            keyFile: try site.folder.write("leaf.key", leafKey.pem()))
        let link = try Link(
            makeServer([identity]),
            TLSClientSettings(serverName: "example.org", authorityPEM: site.authorityPEM))
        try link.deliver(link.client.receive())
        #expect(throws: TLSError.self) { _ = try link.pumpToClient() }
        #expect(link.client.verificationText == "path length constraint exceeded")
    }

    /// A certificate that OpenSSL signs without asking, as a thief would.
    private func forge(_ names: String, _ site: Site) throws -> Certificate {
        try sign(
            .generate(), constraints: "critical,CA:FALSE", names: names,
            by: certificate(site.authorityPEM),
            PrivateKey(pem: Array(site.authorityKeyPEM.utf8), subject: "stolen"), now: testTime)
    }

    private func sign(
        _ key: PrivateKey, constraints: String, names: String, by issuer: Certificate,
        _ issuerKey: PrivateKey, now: Int64
    ) throws -> Certificate {
        // OpenSSL's numbers (NID) of these attributes and extensions.
        let commonName: Int32 = 13
        let subjectAlternativeName: Int32 = 85
        let basicConstraints: Int32 = 87
        var draft = try CertificateDraft(key: key, from: now - Self.day, to: now + Self.day)
        try draft.setSubject([(commonName, "forged \(constraints)")])
        try draft.setIssuer(issuer)
        try draft.add(basicConstraints, constraints)
        try draft.add(subjectAlternativeName, names)
        return try draft.sign(with: issuerKey)
    }

    @Test(
        "What is not a host name in ASCII gets no certificate",
        arguments: [
            [], [""], ["192.0.2.1"], ["münchen.example"], ["a,DNS:bank.example"], ["a b"],
            ["-a.example"], ["a..example"], ["example.org."], ["*.example.org"], ["a_b.example"],
            [String(repeating: "a", count: 64) + ".example"],
            [Array(repeating: "abcdefgh", count: 29).joined(separator: ".")],
            (0...100).map { "d\($0).example" },
        ])
    func badDomains(_ domains: [String]) {
        let error = #expect(throws: TLSError.self) {
            _ = try LocalAuthority.create(
                domains: domains, authorityName: "Home", now: testTime)
        }
        #expect(error?.code == .domainRefused)
    }

    @Test("Long domains, single labels and capitals are fine")
    func goodDomains() throws {
        let long = Array(repeating: "abcdefghi", count: 25).joined(separator: ".")
        let made = try LocalAuthority.create(
            domains: [long, "raspberrypi", "Kinglet.LOCAL", "kinglet.local"],
            authorityName: "Zuhause bei Müller", now: testTime)
        let summary = try certificate(made.serverCertificatePEM).summary(file: "")
        #expect(summary.domains == [long, "raspberrypi", "kinglet.local"])
        #expect(summary.issuer == "CN=Zuhause bei Müller,O=Kinglet local authority")
    }

    @Test("A clock that was never set makes no certificate")
    func clock() {
        for now: Int64 in [0, 1_700_000_000, -1, .max, .min] {
            let error = #expect(throws: TLSError.self) {
                _ = try LocalAuthority.create(
                    domains: ["example.org"], authorityName: "Home", now: now)
            }
            #expect(error?.code == .clockNotSet)
        }
    }

    @Test("A name for the authority of more than 64 characters is refused")
    func longName() {
        let error = #expect(throws: TLSError.self) {
            _ = try LocalAuthority.create(
                domains: ["example.org"], authorityName: String(repeating: "n", count: 65),
                now: testTime)
        }
        #expect(error?.code == .configuration)
    }

    @Test("The key of another authority is not taken")
    func wrongAuthorityKey() throws {
        let first = try Site("example.org")
        let second = try Site("example.org")
        let error = #expect(throws: TLSError.self) {
            _ = try LocalAuthority.issue(
                domains: ["example.org"], authorityKeyPEM: first.authorityKeyPEM,
                authorityCertificatePEM: second.authorityPEM, now: testTime)
        }
        #expect(error?.code == .keyMismatch)
    }

    @Test("The fingerprint is the SHA-256 of the certificate, as browsers show it")
    func fingerprint() throws {
        let fingerprint = try LocalAuthority.fingerprint(
            certificatePEM: CertificateSamples.ed25519)
        #expect(fingerprint == CertificateSamples.ed25519Fingerprint)
        #expect(throws: TLSError.self) { try LocalAuthority.fingerprint(certificatePEM: "x") }
    }
}
