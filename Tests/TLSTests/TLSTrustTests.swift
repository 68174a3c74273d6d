// Where trust comes from: the owner's files and the system's directory.

import Glibc
import NIOCore
import Testing

@testable import TLS

@Suite("Whom a server trusts")
struct TLSTrustTests {
    let folder: TemporaryFolder
    let root: TestAuthority

    init() throws {
        folder = try TemporaryFolder()
        root = try TestAuthority("Root")
    }

    private func failure(_ file: String) -> TLSError? {
        #expect(throws: TLSError.self) {
            _ = try TLSTrust(authorities: [file], usesSystem: false)
        }
    }

    @Test("A file that is missing, empty or damaged is named, with the option to check")
    func badFiles() throws {
        let pem = try root.pem()
        let missing = try #require(failure("\(folder.path)/absent"))
        #expect(missing.code == .fileMissing)
        #expect(missing.advice == "check federation.authorities in the configuration")
        #expect(failure(folder.path)?.code == .fileUnreadable)
        for text in [
            "", "hello", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            pem + "-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n",
        ] {
            let error = try #require(failure(try folder.write("bad.pem", text)))
            #expect(error.code == .malformed)
            #expect(error.subject == "\(folder.path)/bad.pem")
            #expect(error.advice.contains("federation.authorities"))
        }
        #expect(failure(try folder.write("key.pem", try root.own.key.pem()))?.code == .malformed)
    }

    @Test("A file that is too large is not read to its end")
    func tooLarge() throws {
        let path = try folder.write("large.pem", String(repeating: "x", count: 17 * 1024 * 1024))
        #expect(failure(path)?.message == "it is larger than 16384 KiB")
    }

    /// Verdicts with a system's authorities and no others.
    private func verdicts(_ system: SystemAuthorities, _ shown: TestCertificate) throws
        -> [CertificateVerdict]
    {
        let trust = try TLSTrust(authorities: [], system: system, wallClock: { testTime })
        #expect(trust.warnings.isEmpty)
        let server = try makeServer([shown.identity(in: folder, for: "example.org")])
        let link = try PeerLink(
            TLSClientContext(server, trust: trust), .forServers(of: server, trust: trust))
        try link.handshake()
        return link.verdicts
    }

    @Test("The system's directory is looked up when needed, its revocation lists too")
    func directory() throws {
        let shown = try root.issue("DNS:example.org")
        let hashed = try TemporaryFolder()
        let hash = try openSSL(
            "x509", "-in", folder.write("root.pem", root.pem()), "-noout", "-subject_hash"
        ).filter(\.isHexDigit)
        let system = SystemAuthorities(directories: [hashed.path], file: nil)
        let server = try makeServer([shown.identity(in: folder, for: "example.org")])
        func open(_ trust: TLSTrust) throws -> [CertificateVerdict] {
            let link = try PeerLink(
                TLSClientContext(server, trust: trust), .forServers(of: server, trust: trust))
            try link.handshake()
            return link.verdicts
        }
        let trust = try TLSTrust(authorities: [], system: system, wallClock: { testTime })
        #expect(try open(trust) == [.untrusted, .untrusted])
        _ = try hashed.write("\(hash).0", root.pem())
        #expect(try open(trust) == [.valid, .valid])
        _ = try hashed.write("\(hash).r0", root.revocationList([shown]))
        // As after a reload.
        let fresh = try TLSTrust(authorities: [], system: system, wallClock: { testTime })
        #expect(try open(fresh) == [.revoked, .revoked])
    }

    @Test("A system without a directory has its file read")
    func file() throws {
        let file = try folder.write("bundle.pem", root.pem())
        let system = SystemAuthorities(directories: [], file: file)
        #expect(try verdicts(system, root.issue("DNS:example.org")) == [.valid, .valid])
        let other = try TestAuthority("Other").issue("DNS:example.org")
        #expect(try verdicts(system, other) == [.untrusted, .untrusted])
    }

    @Test("SSL_CERT_DIR and SSL_CERT_FILE count; the standard file is left beside its directory")
    func environment() throws {
        let hashed = try TemporaryFolder()
        let second = try TemporaryFolder()
        let plain = try TemporaryFolder()
        _ = try hashed.write("0123abcd.0", "")
        _ = try second.write("0123abce.1", "")
        _ = try plain.write("ca.pem", "")
        let file = "\(plain.path)/ca.pem"
        func machine(_ variables: [String: String]) -> SystemAuthorities {
            .ofMachine(
                variable: { variables[$0] },
                standard: (directory: hashed.path, file: file))
        }
        #expect(machine([:]) == SystemAuthorities(directories: [hashed.path], file: nil))
        #expect(
            machine(["SSL_CERT_DIR": "\(hashed.path):\(plain.path):\(second.path)"])
                == SystemAuthorities(directories: [hashed.path, second.path], file: nil))
        #expect(
            machine(["SSL_CERT_DIR": plain.path])
                == SystemAuthorities(directories: [], file: file))
        #expect(
            machine(["SSL_CERT_FILE": "/elsewhere/ca.pem"])
                == SystemAuthorities(directories: [hashed.path], file: "/elsewhere/ca.pem"))
        #expect(
            machine(["SSL_CERT_FILE": file])
                == SystemAuthorities(directories: [hashed.path], file: nil))
    }

    @Test("A system without authorities is told of")
    func none() throws {
        let trust = try TLSTrust(
            authorities: [], system: SystemAuthorities(directories: [], file: "/absent"),
            wallClock: { testTime })
        #expect(trust.warnings.count == 1)
        #expect(trust.warnings.first?.contains("ca-certificates") == true)
    }
}
