// Channel bindings: both ends must compute the same, or logins with SCRAM-PLUS fail.

import NIOCore
import Testing

@testable import TLS

@Suite struct ChannelBindingTests {
    @Test("tls-exporter is equal on both sides (RFC 9266)", arguments: TLSVersion.allCases)
    func exporter(_ version: TLSVersion) throws {
        let site = try Site("example.org")
        let server = try makeServer([site.identity])
        let settings = TLSClientSettings(maximumVersion: version.protocolNumber)
        let link = try Link(server, settings)
        #expect(link.handler.channelBinding(.tlsExporter) == nil)
        try link.handshake()
        let binding = try #require(link.handler.channelBinding(.tlsExporter))
        #expect(binding.count == 32)
        #expect(binding == link.client.channelBinding(.tlsExporter))
        let other = try Link.open(server, settings)
        #expect(other.handler.channelBinding(.tlsExporter) != binding)
    }

    @Test("tls-exporter is withheld without the extended master secret (RFC 9266 section 3)")
    func noExtendedMasterSecret() throws {
        let site = try Site("example.org")
        let noExtendedMasterSecret: UInt64 = 1
        let link = try Link.open(
            makeServer([site.identity]),
            TLSClientSettings(maximumVersion: 0x0303, options: noExtendedMasterSecret))
        #expect(link.handler.version == .tls12)
        #expect(link.handler.channelBinding(.tlsExporter) == nil)
        #expect(link.handler.channelBinding(.tlsServerEndPoint) != nil)
    }

    @Test(
        "tls-server-end-point is the SHA-256 of an ECDSA-SHA256 certificate (RFC 5929 section 4)",
        arguments: TLSVersion.allCases)
    func serverEndPoint(_ version: TLSVersion) throws {
        let first = try Site("first.example")
        let second = try Site("second.example")
        let server = try makeServer([first.identity, second.identity])
        let settings = TLSClientSettings(
            serverName: "second.example", maximumVersion: version.protocolNumber)
        let link = try Link(server, settings)
        #expect(link.handler.channelBinding(.tlsServerEndPoint) == nil)
        try link.handshake()
        let binding = try #require(link.handler.channelBinding(.tlsServerEndPoint))
        #expect(binding == link.client.channelBinding(.tlsServerEndPoint))
        let hexadecimal = try #require(server.certificates.last).fingerprint
        let expected = hexadecimal.split(separator: ":").compactMap { UInt8($0, radix: 16) }
        #expect(binding == expected)
    }

    /// Self-signed certificates for example.org, made for these cases.
    static let digests: [(name: String, pem: String, length: Int?)] = [
        ("SHA-1 gives SHA-256", CertificateSamples.rsaSHA1, 32),
        ("SHA-384", CertificateSamples.ecdsaSHA384, 48),
        ("RSA-PSS with SHA-512", CertificateSamples.rsaPSSSHA512, 64),
        ("Ed25519 has none", CertificateSamples.ed25519, nil),
    ]

    @Test("The digest follows the certificate's signature (RFC 5929 4.1)", arguments: digests)
    func digest(_ sample: (name: String, pem: String, length: Int?)) throws {
        let certificate = try Certificate.chain(pem: Array(sample.pem.utf8), subject: "sample")[0]
        #expect(certificate.serverEndPoint?.count == sample.length, "\(sample.name)")
    }

    @Test(
        "A session resumed after a reload keeps the certificate that its client knows",
        arguments: TLSVersion.allCases)
    func resumedEndPoint(_ version: TLSVersion) throws {
        let site = try Site("example.org")
        let server = try makeServer([site.identity])
        var settings = TLSClientSettings(
            serverName: "example.org", maximumVersion: version.protocolNumber)
        let first = try Link.open(server, settings)
        let old = try #require(first.handler.channelBinding(.tlsServerEndPoint))

        try site.renew()
        try server.reload([site.identity])
        let full = try Link.open(server, settings)
        let new = try #require(full.handler.channelBinding(.tlsServerEndPoint))
        #expect(new != old)

        settings.session = first.client.session
        for _ in 0..<2 {
            let resumed = try Link.open(server, settings)
            #expect(resumed.isResumed)
            #expect(resumed.handler.channelBinding(.tlsServerEndPoint) == old)
            #expect(resumed.client.channelBinding(.tlsServerEndPoint) == old)
            let exporter = try #require(resumed.handler.channelBinding(.tlsExporter))
            #expect(exporter == resumed.client.channelBinding(.tlsExporter))
            // Once more, with the ticket that the resumed connection has got.
            settings.session = resumed.client.session
        }
    }
}
