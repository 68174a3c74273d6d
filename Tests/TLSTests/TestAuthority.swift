// Authorities, certificates, revocation lists and statuses of the kinds that a peer may show.

import Glibc
import NIOCore
import NIOEmbedded
import Programs
import Testing

@testable import TLS

/// OpenSSL's numbers (NID) of attributes and extensions.
private enum Number {
    static let commonName: Int32 = 13
    static let keyUsage: Int32 = 83
    static let alternativeName: Int32 = 85
    static let basicConstraints: Int32 = 87
    static let authorityKey: Int32 = 90
    static let subjectKey: Int32 = 82
    static let extendedKeyUsage: Int32 = 126
}

private let day: Int64 = 86_400

/// A certificate with its key, and the chain above it but for the root.
struct TestCertificate {
    let certificate: Certificate
    let key: PrivateKey
    var above: [Certificate] = []

    /// In files of `folder`, as the certificate of `domain`.
    func identity(in folder: TemporaryFolder, for domain: String) throws -> TLSIdentity {
        let pem = try ([certificate] + above).map { try $0.pem() }.joined()
        let name = certificate.fingerprint
        return TLSIdentity(
            domains: [domain], certificateFile: try folder.write("\(name).crt", pem),
            keyFile: try folder.write("\(name).key", try key.pem()))
    }

    /// One that nobody else has signed.
    static func selfSigned(_ names: String) throws -> TestCertificate {
        let key = try PrivateKey.generate()
        var draft = try CertificateDraft(key: key, from: testTime - day, to: testTime + day)
        try draft.setSubject([(Number.commonName, "alone")])
        try draft.setIssuer(draft.certificate)
        try draft.add(Number.alternativeName, names)
        return TestCertificate(certificate: try draft.sign(with: key), key: key)
    }
}

/// A root, or an authority under another one.
final class TestAuthority {
    let own: TestCertificate
    private let folder: TemporaryFolder

    init(_ name: String, under parent: TestAuthority? = nil) throws {
        folder = try TemporaryFolder()
        let key = try PrivateKey.generate()
        var draft = try CertificateDraft(
            key: key, from: testTime - 100 * day, to: testTime + 100 * day)
        try draft.setSubject([(Number.commonName, name)])
        try draft.setIssuer(parent?.own.certificate ?? draft.certificate)
        try draft.add(Number.basicConstraints, "critical,CA:TRUE")
        try draft.add(Number.keyUsage, "critical,keyCertSign,cRLSign,digitalSignature")
        try draft.add(Number.subjectKey, "hash")
        own = TestCertificate(
            certificate: try draft.sign(with: parent?.own.key ?? key), key: key,
            above: parent.map { $0.own.above } ?? [])
    }

    func pem() throws -> String { try own.certificate.pem() }

    /// A certificate for `names` in OpenSSL's syntax, valid for a number of days around today;
    /// `chain` is what stands above it.
    func issue(
        _ names: String?, from: Int64 = -1, to: Int64 = 10, usage: String? = "serverAuth",
        above chain: [TestAuthority] = [], commonName: String = "leaf"
    ) throws -> TestCertificate {
        let key = try PrivateKey.generate()
        var draft = try CertificateDraft(
            key: key, from: testTime + from * day, to: testTime + to * day)
        try draft.setSubject([(Number.commonName, commonName)])
        try draft.setIssuer(own.certificate)
        try draft.add(Number.basicConstraints, "critical,CA:FALSE")
        if let usage { try draft.add(Number.extendedKeyUsage, usage) }
        if let names { try draft.add(Number.alternativeName, names) }
        try draft.add(Number.authorityKey, "keyid:always")
        return TestCertificate(
            certificate: try draft.sign(with: own.key), key: key,
            above: chain.map(\.own.certificate))
    }

    // MARK: By the program openssl

    /// A revocation list (RFC 5280 section 5) that names `revoked`, until a number of days from now.
    func revocationList(_ revoked: [TestCertificate], until days: Int64 = 30) throws -> String {
        try prepare(revoked)
        try openSSL(
            "ca", "-gencrl", "-config", path("ca.conf"), "-keyfile", path("ca.key"), "-cert",
            path("ca.crt"), "-crl_lastupdate", Self.time(-60), "-crl_nextupdate", Self.time(days),
            "-out", path("crl.pem"))
        let bytes = try PEMFile(path: path("crl.pem"), operation: "test", option: "test").bytes
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The file of a status (RFC 6960) of `certificate`, good unless it is among `revoked`, and valid
    /// for an hour; signed by `signer`.
    func status(
        of certificate: TestCertificate, revoked: [TestCertificate] = [],
        signer: TestAuthority? = nil
    ) throws -> String {
        try prepare(revoked, good: [certificate])
        let signer = signer ?? self
        _ = try signer.folder.write("signer.crt", try signer.pem())
        _ = try signer.folder.write("signer.key", try signer.own.key.pem())
        _ = try folder.write("leaf.crt", try certificate.certificate.pem())
        try openSSL(
            "ocsp", "-issuer", path("ca.crt"), "-cert", path("leaf.crt"), "-no_nonce", "-reqout",
            path("request.der"))
        try openSSL(
            "ocsp", "-index", path("index.txt"), "-CA", path("ca.crt"), "-rsigner",
            signer.path("signer.crt"), "-rkey", signer.path("signer.key"), "-reqin",
            path("request.der"), "-respout", path("response.der"), "-nmin", "60",
            "-resp_no_certs")
        return path("response.der")
    }

    private func path(_ name: String) -> String { "\(folder.path)/\(name)" }

    private func prepare(_ revoked: [TestCertificate], good: [TestCertificate] = []) throws {
        var index = ""
        for certificate in revoked {
            index += "R\t\(Self.time(10, "%y"))\t\(Self.time(0, "%y"))\t"
            index += "\(try serial(certificate))\tunknown\t/CN=x\n"
        }
        let serials = try revoked.map(serial)
        for certificate in good {
            let number = try serial(certificate)
            guard !serials.contains(number) else { continue }
            index += "V\t\(Self.time(10, "%y"))\t\t\(number)\tunknown\t/CN=x\n"
        }
        _ = try folder.write("index.txt", index)
        _ = try folder.write("index.txt.attr", "unique_subject = no\n")
        _ = try folder.write("ca.crt", try pem())
        _ = try folder.write("ca.key", try own.key.pem())
        _ = try folder.write(
            "ca.conf",
            """
            [ca]
            default_ca = this
            [this]
            database = \(path("index.txt"))
            default_md = sha256
            """)
    }

    private func serial(_ certificate: TestCertificate) throws -> String {
        let file = try folder.write("serial.crt", try certificate.certificate.pem())
        let line = try openSSL("x509", "-in", file, "-noout", "-serial")
        return String(line.dropFirst("serial=".count).filter(\.isHexDigit))
    }

    /// A time some days from now, as openssl wants it.
    private static func time(_ days: Int64, _ year: String = "%Y") -> String {
        var seconds = Int(testTime + days * day)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        var text = [CChar](repeating: 0, count: 32)
        let length = strftime(&text, text.count, "\(year)%m%d%H%M%SZ", &parts)
        return String(
            decoding: text.prefix(length).map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}

@discardableResult
func openSSL(_ arguments: String...) throws -> String {
    var output: [UInt8] = []
    var errors: [UInt8] = []
    let end = try Program("/usr/bin/openssl", arguments).run(
        output: { output += $0 }, errors: { errors += $0 })
    try #require(end == .exited(0), "\(arguments): \(String(decoding: errors, as: UTF8.self))")
    return String(decoding: output, as: UTF8.self)
}

/// A client's and a server's handler of two servers, joined by hand.
final class PeerLink {
    let clientChannel = EmbeddedChannel()
    let serverChannel = EmbeddedChannel()
    let client: TLSHandler
    let server: TLSHandler
    let clientApplication = Application()
    let serverApplication = Application()

    init(
        _ context: TLSClientContext, _ listener: TLSServerContext,
        serverName: String = "example.org", localDomain: String = "example.org"
    ) throws {
        client = try context.makeHandler(serverName: serverName, localDomain: localDomain)
        server = listener.makeHandler()
        try serverChannel.pipeline.syncOperations.addHandlers([server, serverApplication])
        try serverChannel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        try clientChannel.pipeline.syncOperations.addHandlers([client, clientApplication])
    }

    deinit {
        _ = try? clientChannel.finish(acceptAlreadyClosed: true)
        _ = try? serverChannel.finish(acceptAlreadyClosed: true)
    }

    /// Connects and carries bytes until nobody has more to say.
    func handshake() throws {
        try clientChannel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 5269)).wait()
        try pump()
    }

    func pump() throws {
        var isMoving = true
        while isMoving {
            isMoving = false
            for (from, to) in [(clientChannel, serverChannel), (serverChannel, clientChannel)] {
                while let bytes = try from.readOutbound(as: ByteBuffer.self) {
                    isMoving = true
                    if to.isActive { try to.writeInbound(bytes) }
                }
            }
        }
    }

    /// Sends one text each way and gives what has arrived.
    func exchange(_ toServer: String, _ toClient: String) throws -> (String, String) {
        (clientApplication.reads, serverApplication.reads) = ([], [])
        clientChannel.writeAndFlush(ByteBuffer(string: toServer), promise: nil)
        serverChannel.writeAndFlush(ByteBuffer(string: toClient), promise: nil)
        try pump()
        return (serverApplication.text, clientApplication.text)
    }
}

/// Two servers that show certificates and trust authorities.
struct PeerSite {
    let folder: TemporaryFolder
    let trust: TLSTrust
    let listener: TLSServerContext
    let context: TLSClientContext

    /// Both show `shown`; `authorities` are PEM texts. The clock of those who show is set to a time
    /// at which they may.
    init(
        _ shown: TestCertificate, authorities: [String], domain: String = "example.org",
        now: Int64 = testTime
    ) throws {
        folder = try TemporaryFolder()
        let files = try authorities.enumerated().map { [folder] in
            try folder.write("authority-\($0).pem", $1)
        }
        trust = try TLSTrust(authorities: files, system: nil, wallClock: { now })
        let server = try makeServer(
            [shown.identity(in: folder, for: domain)], now: shown.certificate.notBefore + 1)
        listener = .forServers(of: server, trust: trust)
        context = TLSClientContext(server, trust: trust)
    }

    func open(serverName: String = "example.org") throws -> PeerLink {
        let link = try PeerLink(context, listener, serverName: serverName)
        try link.handshake()
        return link
    }
}
