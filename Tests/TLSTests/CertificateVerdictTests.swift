// What is said of the certificates that two servers show to each other, in both roles.

import NIOCore
import NIOEmbedded
import Testing

@testable import TLS

@Suite("Verdicts on the certificates of other servers")
struct CertificateVerdictTests {
    let root: TestAuthority
    let other: TestAuthority
    let middle: TestAuthority

    init() throws {
        root = try TestAuthority("Root")
        other = try TestAuthority("Other root")
        middle = try TestAuthority("Middle", under: root)
    }

    /// The verdict on `shown`, which must be the same whoever opens the connection.
    func verdict(
        _ shown: TestCertificate, authorities: [String]? = nil, for domain: String = "example.org",
        unicode: String? = nil, now: Int64 = testTime
    ) throws -> CertificateVerdict {
        let site = try PeerSite(shown, authorities: authorities ?? [root.pem()], now: now)
        let link = try site.open(serverName: domain)
        #expect(link.client.handshakeIsComplete && link.server.handshakeIsComplete)
        #expect(try link.exchange("<a/>", "<b/>") == ("<a/>", "<b/>"))
        let verdict = link.client.verdict(for: domain, unicode: unicode)
        #expect(link.server.verdict(for: domain, unicode: unicode) == verdict)
        #expect(link.client.certificateProblem == link.server.certificateProblem)
        let isChainGood = verdict == .valid || verdict == .wrongName
        #expect((link.client.certificateProblem == nil) == isChainGood)
        return verdict
    }

    // MARK: The chain

    @Test("A certificate of a trusted authority is valid for its name")
    func valid() throws {
        #expect(try verdict(root.issue("DNS:example.org")) == .valid)
        #expect(try verdict(root.issue("DNS:Example.ORG"), for: "EXAMPLE.org") == .valid)
    }

    @Test("Authorities between it and a trusted one come from the peer (RFC 6120 section 13.7.2)")
    func intermediate() throws {
        #expect(try verdict(middle.issue("DNS:example.org", above: [middle])) == .valid)
        #expect(try verdict(middle.issue("DNS:example.org")) == .untrusted)
        // Trusting the one in the middle is enough, without the root.
        #expect(
            try verdict(middle.issue("DNS:example.org"), authorities: [middle.pem()]) == .valid)
    }

    @Test("A certificate for servers alone is taken from whoever connects, too")
    func usages() throws {
        #expect(try verdict(root.issue("DNS:example.org", usage: "serverAuth")) == .valid)
        #expect(
            try verdict(root.issue("DNS:example.org", usage: "serverAuth,clientAuth")) == .valid)
        #expect(try verdict(root.issue("DNS:example.org", usage: nil)) == .valid)
        #expect(try verdict(root.issue("DNS:example.org", usage: "emailProtection")) == .invalid)
    }

    @Test("Times (RFC 5280 section 4.1.2.5), also those of the authorities")
    func times() throws {
        #expect(try verdict(root.issue("DNS:example.org", from: -9, to: -1)) == .expired)
        #expect(try verdict(root.issue("DNS:example.org", from: 1, to: 9)) == .notYetValid)
        let late = testTime + 101 * 86_400
        #expect(
            try verdict(root.issue("DNS:example.org", to: 200), now: late) == .expired)
    }

    @Test("Without a trusted authority above it, a certificate proves nothing")
    func untrusted() throws {
        #expect(try verdict(.selfSigned("DNS:example.org")) == .selfSigned)
        #expect(try verdict(other.issue("DNS:example.org")) == .untrusted)
        #expect(
            try verdict(other.issue("DNS:example.org", above: [other])) == .untrusted,
            "its root came along")
        let namesake = try TestAuthority("Root")
        #expect(try verdict(namesake.issue("DNS:example.org")) == .untrusted)
        #expect(
            try verdict(root.issue("DNS:example.org"), authorities: []) == .untrusted)
    }

    @Test("A self-signed certificate that is named as an authority is trusted")
    func pinned() throws {
        let alone = try TestCertificate.selfSigned("DNS:example.org")
        let pem = try alone.certificate.pem()
        #expect(try verdict(alone, authorities: [pem]) == .valid)
        #expect(try verdict(alone, authorities: [pem], for: "example.net") == .wrongName)
    }

    @Test("What only an authority may do is not done by a server's certificate")
    func leafAsAuthority() throws {
        let leaf = try root.issue("DNS:evil.example")
        let key = try PrivateKey.generate()
        var draft = try CertificateDraft(key: key, from: testTime - 10, to: testTime + 1000)
        try draft.setSubject([(13, "forged")])
        try draft.setIssuer(leaf.certificate)
        try draft.add(85, "DNS:example.org")
        let forged = TestCertificate(
            certificate: try draft.sign(with: leaf.key), key: key, above: [leaf.certificate])
        #expect(try verdict(forged) == .invalid)
    }

    @Test("A local authority vouches for its own domains, in both directions")
    func localAuthority() throws {
        let site = try Site("example.org")
        let folder = site.folder
        let trust = try TLSTrust(
            authorities: [try folder.write("authority.pem", site.authorityPEM)], usesSystem: false)
        let server = try makeServer([site.identity])
        let link = try PeerLink(
            TLSClientContext(server, trust: trust), .forServers(of: server, trust: trust))
        try link.handshake()
        #expect(link.client.verdict(for: "example.org") == .valid)
        #expect(link.server.verdict(for: "example.org") == .valid)
        let usage = try openSSL(
            "x509", "-in", site.identity.certificateFile, "-noout", "-ext", "extendedKeyUsage")
        #expect(usage.contains("TLS Web Server Authentication, TLS Web Client Authentication"))
    }

    // MARK: Names

    static let names: [(names: String, domain: String, verdict: CertificateVerdict)] = [
        ("DNS:example.net", "example.org", .wrongName),
        ("DNS:example.org", "chat.example.org", .wrongName),
        ("DNS:chat.example.org", "example.org", .wrongName),
        ("DNS:example.net,DNS:example.org", "example.org", .valid),
        // Wildcards (RFC 6125 section 6.4.3).
        ("DNS:*.example.org", "chat.example.org", .valid),
        ("DNS:*.example.org", "xn--mnchen-3ya.example.org", .valid),
        ("DNS:*.example.org", "example.org", .wrongName),
        ("DNS:*.example.org", "a.chat.example.org", .wrongName),
        ("DNS:c*.example.org", "chat.example.org", .wrongName),
        ("DNS:chat.*.org", "chat.example.org", .wrongName),
        ("DNS:*.org", "example.org", .wrongName),
        ("DNS:*", "example.org", .wrongName),
        ("DNS:*.*.org", "chat.example.org", .wrongName),
        // SRV-ID (RFC 4985, RFC 6120 section 13.7.1.2).
        (srv("_xmpp-server.example.org"), "example.org", .valid),
        (srv("_XMPP-Server.Example.org"), "example.org", .valid),
        (srv("_xmpp-client.example.org"), "example.org", .wrongName),
        (srv("_xmpp-server.example.net"), "example.org", .wrongName),
        (srv("example.org"), "example.org", .wrongName),
        (srv("_xmpp-server.*.example.org"), "chat.example.org", .wrongName),
        // XmppAddr (RFC 6120 section 13.7.1.4).
        (xmpp("example.org"), "example.org", .valid),
        (xmpp("romeo@example.org"), "example.org", .wrongName),
        (xmpp("*.example.org"), "chat.example.org", .wrongName),
        // Another type of name, or of text in it, is no name.
        ("otherName:1.3.6.1.5.5.7.8.5;IA5STRING:example.org", "example.org", .wrongName),
        ("otherName:1.3.6.1.5.5.7.8.9;UTF8:example.org", "example.org", .wrongName),
        ("email:example.org", "example.org", .wrongName),
        ("URI:xmpp:example.org", "example.org", .wrongName),
        ("IP:192.0.2.1", "192.0.2.1", .wrongName),
        // A zero must not end a name early: 'example.org\0.evil.example'.
        (
            der([0x82] + counted(Array("example.org\0.evil.example".utf8))), "example.org",
            .wrongName
        ),
        // Internationalised names in A-labels (RFC 6125 section 6.4.2).
        ("DNS:xn--mnchen-3ya.example", "xn--mnchen-3ya.example", .valid),
    ]

    @Test("Names (RFC 6120 section 13.7, RFC 6125)", arguments: names)
    func name(_ sample: (names: String, domain: String, verdict: CertificateVerdict)) throws {
        let shown = try root.issue(sample.names)
        #expect(
            try verdict(shown, for: sample.domain) == sample.verdict,
            "\(sample.names) for \(sample.domain)")
    }

    @Test("A common name is no proof (RFC 6120 section 13.7.1.2.1 leaves it out)")
    func commonName() throws {
        #expect(try verdict(root.issue(nil, commonName: "example.org")) == .wrongName)
    }

    @Test("An XmppAddr may be in U-labels, where the domain is given so (RFC 6120 13.7.1.4)")
    func unicode() throws {
        let text = Array("münchen.example".utf8)
        let identifier: [UInt8] = [6, 8, 0x2B, 6, 1, 5, 5, 7, 8, 5]
        let name =
            [0xA0] + Self.counted(identifier + [0xA0] + Self.counted([12] + Self.counted(text)))
        let shown = try root.issue(Self.der(name))
        let domain = "xn--mnchen-3ya.example"
        #expect(try verdict(shown, for: domain, unicode: "münchen.example") == .valid)
        #expect(try verdict(shown, for: domain) == .wrongName)
        #expect(try verdict(shown, for: domain, unicode: "munchen.example") == .wrongName)
        let ascii = try root.issue(Self.xmpp(domain))
        #expect(try verdict(ascii, for: domain, unicode: "münchen.example") == .valid)
    }

    static func srv(_ name: String) -> String { "otherName:1.3.6.1.5.5.7.8.7;IA5STRING:\(name)" }
    static func xmpp(_ name: String) -> String { "otherName:1.3.6.1.5.5.7.8.5;UTF8:\(name)" }

    /// Bytes with their length before them, below 128.
    static func counted(_ bytes: [UInt8]) -> [UInt8] { [UInt8(bytes.count)] + bytes }

    /// A list of one name, encoded.
    static func der(_ name: [UInt8]) -> String {
        let bytes = [0x30] + counted(name)
        let digits = Array("0123456789abcdef")
        return "DER:" + String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
    }

    // MARK: Limits

    @Test("A chain of more than eight authorities is not followed")
    func longChain() throws {
        var chain = [root]
        for number in 1...9 {
            chain.append(try TestAuthority("Middle \(number)", under: chain.last))
        }
        let above = Array(chain.dropFirst().reversed())
        #expect(
            try verdict(chain[8].issue("DNS:example.org", above: Array(above.dropFirst())))
                == .valid)
        #expect(try verdict(chain[9].issue("DNS:example.org", above: above)) == .untrusted)
    }

    @Test("Names without end are looked through without harm")
    func manyNames() throws {
        let many = (0..<1_000).map { "DNS:d\($0).example" }.joined(separator: ",")
        #expect(try verdict(root.issue(many)) == .wrongName)
        #expect(try verdict(root.issue(many + ",DNS:example.org")) == .valid)
    }

    // MARK: Several faults

    @Test("Of several faults the chain's come first, then times, then revocation, then names")
    func order() throws {
        let expired = try root.issue("DNS:example.net", from: -9, to: -1)
        #expect(try verdict(expired) == .expired)
        #expect(try verdict(other.issue("DNS:example.net", from: -9, to: -1)) == .untrusted)
        let lists = try [root.pem() + root.revocationList([expired])]
        #expect(try verdict(expired, authorities: lists) == .expired)
        let revoked = try root.issue("DNS:example.net")
        #expect(
            try verdict(revoked, authorities: [root.pem() + root.revocationList([revoked])])
                == .revoked)
    }

    // MARK: Revocation lists

    @Test("A list in an authority's file revokes (RFC 5280 section 6.3)")
    func revoked() throws {
        let bad = try root.issue("DNS:example.org")
        let good = try root.issue("DNS:example.org")
        let authorities = try [root.pem() + root.revocationList([bad])]
        #expect(try verdict(bad, authorities: authorities) == .revoked)
        #expect(try verdict(good, authorities: authorities) == .valid)
    }

    @Test("A list may be in a file of its own, and that of one authority says nothing of another's")
    func separateList() throws {
        let bad = try root.issue("DNS:example.org")
        let list = try root.revocationList([bad])
        #expect(try verdict(bad, authorities: [root.pem(), list]) == .revoked)
        let stranger = try other.issue("DNS:example.org")
        #expect(
            try verdict(stranger, authorities: [root.pem(), other.pem(), list]) == .valid)
    }

    @Test("An authority in the middle that was revoked takes its certificates with it")
    func revokedIntermediate() throws {
        let shown = try middle.issue("DNS:example.org", above: [middle])
        let lists = try [root.pem() + root.revocationList([middle.own])]
        #expect(try verdict(shown, authorities: lists) == .revoked)
        // The list of the middle one alone does not, nor is the root's needed for it.
        let own = try [root.pem(), middle.revocationList([])]
        #expect(try verdict(shown, authorities: own) == .valid)
        let leaf = try [root.pem(), middle.revocationList([shown])]
        #expect(try verdict(shown, authorities: leaf) == .revoked)
    }

    @Test("A list past its time still revokes, and is told of")
    func oldList() throws {
        let bad = try root.issue("DNS:example.org")
        let good = try root.issue("DNS:example.org")
        let list = try root.pem() + root.revocationList([bad], until: -1)
        #expect(try verdict(bad, authorities: [list]) == .revoked)
        #expect(try verdict(good, authorities: [list]) == .valid)
        let site = try PeerSite(good, authorities: [list])
        let link = try site.open()
        #expect(link.client.usedOldRevocationList)
        #expect(link.server.usedOldRevocationList)
        #expect(site.trust.warnings.count == 1)
        #expect(site.trust.warnings.first?.contains("past its time") == true)
        let fresh = try PeerSite(good, authorities: [root.pem() + root.revocationList([bad])])
        #expect(try fresh.open().client.usedOldRevocationList == false)
        #expect(fresh.trust.warnings.isEmpty)
    }

    @Test("A list in the owner's files that its authority has not signed leaves nobody valid")
    func forgedList() throws {
        let shown = try root.issue("DNS:example.org")
        let namesake = try TestAuthority("Root")
        for revoked in [[], [shown]] {
            let list = try namesake.revocationList(revoked)
            #expect(try verdict(shown, authorities: [root.pem(), list]) == .invalid)
        }
    }
}
