// Loading certificates and keys: what is refused, what is said, and replacing them.

import Glibc
import NIOCore
import Testing

@testable import TLS

@Suite struct ServerContextTests {
    let site: Site

    init() throws { site = try Site("example.org") }

    /// The error of a server with these files.
    func failure(
        certificate: String? = nil, key: String? = nil, now: Int64 = testTime
    ) -> TLSError? {
        var identity = site.identity
        if let certificate { identity.certificateFile = certificate }
        if let key { identity.keyFile = key }
        return #expect(throws: TLSError.self) { _ = try makeServer([identity], now: now) }
    }

    @Test("The summary tells what an operator wants to know")
    func summary() throws {
        let server = try makeServer([site.identity])
        let summary = try #require(server.certificates.first)
        #expect(summary.file == site.identity.certificateFile)
        #expect(summary.subject == "CN=example.org")
        #expect(summary.issuer == "CN=Test authority,O=Kinglet local authority")
        #expect(summary.domains == ["example.org"])
        #expect(summary.notBefore == testTime - 86_400)
        #expect(summary.notAfter == testTime + 397 * 86_400)
        #expect(summary.issuedByLocalAuthority)
        #expect(server.certificates.count == 1)
        #expect(server.warnings.isEmpty)
    }

    @Test("A missing file is named, with the option to check")
    func missing() throws {
        let path = "\(site.folder.path)/absent.pem"
        let noKey = try #require(failure(key: path))
        #expect(noKey.code == .fileMissing)
        #expect(
            noKey.description
                == "cannot read the private key (\(path)): No such file or directory; "
                + "check tls.key in the configuration")
        let noCertificate = try #require(failure(certificate: path))
        #expect(noCertificate.code == .fileMissing)
        #expect(noCertificate.advice == "check tls.certificate in the configuration")
    }

    @Test("What is not a file cannot be read")
    func notAFile() throws {
        let error = try #require(failure(key: site.folder.path))
        #expect(error.code == .fileUnreadable)
        #expect(error.message == "it is not a file")
        let device = try #require(failure(certificate: "/dev/zero"))
        #expect(device.code == .fileUnreadable)
    }

    @Test("A file without permission says who must be let in", .enabled(if: getuid() != 0))
    func unreadable() throws {
        let path = try site.folder.write("closed.key", "", mode: 0)
        let error = try #require(failure(key: path))
        #expect(error.code == .fileUnreadable)
        #expect(error.message == "Permission denied")
        #expect(error.advice == "let the user that runs the server read the file")
    }

    @Test("A file that is too large is not read to its end")
    func tooLarge() throws {
        let path = try site.folder.write("large.pem", String(repeating: "x", count: 300_000))
        let error = try #require(failure(certificate: path))
        #expect(error.code == .malformed)
        #expect(error.message == "it is larger than 256 KiB")
    }

    @Test("Files without PEM, and damaged PEM, are malformed")
    func malformed() throws {
        let text = try site.folder.write("text.pem", "hello\n")
        let empty = try site.folder.write("empty.pem", "")
        let damaged = try site.folder.write(
            "damaged.pem",
            "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIR\n-----END CERTIFICATE-----\n")
        #expect(failure(certificate: text)?.message == "no PEM certificate in it")
        #expect(failure(certificate: empty)?.code == .malformed)
        #expect(failure(certificate: damaged)?.code == .malformed)
        #expect(failure(key: text)?.code == .malformed)
        #expect(failure(key: empty)?.code == .malformed)
        // The two files swapped.
        #expect(failure(certificate: site.identity.keyFile)?.code == .malformed)
        let swapped = try #require(failure(key: site.identity.certificateFile))
        #expect(swapped.code == .malformed)
        #expect(swapped.advice.hasPrefix("check tls.key in the configuration"))
    }

    @Test("A key of another certificate is a mismatch")
    func mismatch() throws {
        let other = try Site("example.org")
        let error = try #require(failure(key: other.identity.keyFile))
        #expect(error.code == .keyMismatch)
        #expect(error.subject == other.identity.keyFile)
        #expect(error.advice.contains(site.identity.certificateFile))
    }

    @Test("A key with a password is refused, with the command that removes it")
    func encrypted() throws {
        let path = try site.folder.write("encrypted.key", CertificateSamples.encryptedKey)
        let error = try #require(failure(key: path))
        #expect(error.code == .keyEncrypted)
        #expect(error.advice.contains("openssl pkey"))
    }

    @Test("A certificate whose time is over is refused")
    func expired() throws {
        let end = testTime + 397 * 86_400
        let error = try #require(failure(now: end + 1))
        #expect(error.code == .certificateExpired)
        #expect(error.advice.contains("clock"))
        _ = try makeServer([site.identity], now: end)
    }

    @Test("A missing domain, a key open to all and a time to come are warnings only")
    func warnings() throws {
        var identity = site.identity
        identity.domains = ["example.org", "example.net"]
        chmod(identity.keyFile, 0o644)
        let warnings = try makeServer([identity], now: testTime - 2 * 86_400).warnings
        #expect(warnings.count == 3)
        #expect(warnings.contains { $0.contains("example.net") })
        #expect(warnings.contains { $0.contains(identity.keyFile) && $0.contains("chmod 600") })
        #expect(warnings.contains { $0.contains("not valid yet") })
    }

    @Test("No certificate, and settings out of bounds, are errors of the configuration")
    func configuration() {
        let none = #expect(throws: TLSError.self) { _ = try makeServer([]) }
        #expect(none?.code == .configuration)
        for protocols in [[""], [String(repeating: "x", count: 256)]] {
            let error = #expect(throws: TLSError.self) {
                _ = try makeServer([site.identity], applicationProtocols: protocols)
            }
            #expect(error?.code == .configuration)
        }
        for lifetime in [0, -1, 59, 604_801] {
            let error = #expect(throws: TLSError.self) {
                _ = try TLSServerContext([site.identity], ticketLifetime: lifetime)
            }
            #expect(error?.code == .configuration)
        }
    }

    @Test("After a reload new connections get the new certificate, old ones go on")
    func reload() throws {
        let server = try makeServer([site.identity])
        let before = server.certificates
        let old = try Link.open(server)
        let waiting = try Link(server)
        try waiting.deliver(waiting.client.receive())

        try site.renew()
        try server.reload([site.identity])
        #expect(server.certificates != before)
        let new = try Link.open(server)
        #expect(new.client.serverCertificate?.fingerprint == server.certificates[0].fingerprint)
        #expect(try old.send("<a/>") == "<a/>")
        #expect(try old.answer("<b/>") == "<b/>")
        #expect(old.handler.channelBinding(.tlsServerEndPoint) != nil)
        // A handshake that had begun ends with what it began with.
        try waiting.deliver(waiting.pumpToClient())
        #expect(waiting.handshakeIsComplete)
        #expect(waiting.client.serverCertificate?.fingerprint == before[0].fingerprint)
    }

    @Test("A reload that fails changes nothing")
    func failedReload() throws {
        let server = try makeServer([site.identity])
        let before = server.certificates
        let other = try Site("other.example")
        var broken = other.identity
        broken.keyFile = "/nonexistent"
        #expect(throws: TLSError.self) { try server.reload([other.identity, broken]) }
        #expect(server.certificates == before)
        #expect(try Link.open(server).handshakeIsComplete)
    }
}
