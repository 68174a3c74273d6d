// Statuses that a server attaches to its handshake (RFC 6066 section 8, RFC 6960), with the program
// openssl as that server.

import Glibc
import NIOCore
import NIOEmbedded
import Programs
import Testing

@testable import TLS

@Suite("Stapled statuses")
struct StapledStatusTests {
    let root: TestAuthority
    let middle: TestAuthority
    let shown: TestCertificate
    let folder: TemporaryFolder

    init() throws {
        root = try TestAuthority("Root")
        middle = try TestAuthority("Middle", under: root)
        shown = try middle.issue("DNS:example.org", above: [middle])
        folder = try TemporaryFolder()
    }

    /// The verdict on a server that shows `shown` with the status in a file, some hours from now.
    private func verdict(
        _ status: String?, version: TLSVersion = .tls13, hours: Int64 = 0
    ) throws -> CertificateVerdict {
        let authority = try folder.write("authority.pem", root.pem())
        let trust = try TLSTrust(
            authorities: [authority], system: nil, wallClock: { testTime + hours * 3600 })
        let own = try root.issue("DNS:example.net", usage: "serverAuth,clientAuth")
        let server = try makeServer([own.identity(in: folder, for: "example.net")])
        let identity = try shown.identity(in: folder, for: "example.org")
        let handler = try TLSClientContext(server, trust: trust).makeHandler(
            serverName: "example.org", localDomain: "example.net")
        let channel = EmbeddedChannel(handler: handler)
        defer { _ = try? channel.finish(acceptAlreadyClosed: true) }

        var arguments = [
            "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-alpn", "xmpp-server", "-cert",
            identity.certificateFile, "-cert_chain", identity.certificateFile, "-key",
            identity.keyFile, version == .tls12 ? "-tls1_2" : "-tls1_3",
            // It refuses the handshake where it finds our certificate wanting.
            "-Verify", "3", "-verify_return_error", "-CAfile", authority,
        ]
        if let status { arguments += ["-status_file", status] }
        var program = Program("/usr/bin/openssl", arguments)
        program.holdsInput = true
        var output = ""
        var result: Result<CertificateVerdict, any Error>?
        _ = try program.run(
            isWanted: { result == nil },
            output: { bytes in
                output += String(decoding: bytes, as: UTF8.self)
                guard result == nil, let port = Self.port(in: output) else { return }
                result = Result {
                    try Self.connect(channel, to: port) { handler.version != nil }
                    #expect(handler.version == version)
                    return handler.verdict(for: "example.org")
                }
            })
        return try #require(result).get()
    }

    /// The port in `ACCEPT 127.0.0.1:1234`.
    private static func port(in output: String) -> UInt16? {
        guard
            let line = output.split(separator: "\n", omittingEmptySubsequences: false)
                .dropLast().first(where: { $0.hasPrefix("ACCEPT ") })
        else { return nil }
        return line.split(separator: ":").last.flatMap { UInt16($0) }
    }

    /// Carries bytes between a channel and a socket until `isDone`.
    private static func connect(
        _ channel: EmbeddedChannel, to port: UInt16, until isDone: () -> Bool
    ) throws {
        let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        // The layout of a timeval, whose own name belongs to another module in some builds.
        var limit = (seconds: 120, microseconds: 0)
        setsockopt(
            socket, SOL_SOCKET, SO_RCVTIMEO, &limit,
            socklen_t(MemoryLayout<(seconds: Int, microseconds: Int)>.size))
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: Int(port))
        let answer = address.withSockAddr { Glibc.connect(socket, $0, socklen_t($1)) }
        try #require(answer == 0)
        try channel.connect(to: address).wait()
        var bytes = [UInt8](repeating: 0, count: 16_384)
        while true {
            while let write = try channel.readOutbound(as: ByteBuffer.self) {
                let sent = write.withUnsafeReadableBytes {
                    send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                try #require(sent == write.readableBytes)
            }
            if isDone() { return }
            let count = recv(socket, &bytes, bytes.count, 0)
            try #require(count > 0, "the server has closed the connection or stalls")
            try channel.writeInbound(ByteBuffer(bytes: bytes[..<count]))
        }
    }

    @Test("A proved revocation counts in both versions", arguments: TLSVersion.allCases)
    func revoked(_ version: TLSVersion) throws {
        let status = try middle.status(of: shown, revoked: [shown])
        #expect(try verdict(status, version: version) == .revoked)
    }

    @Test("None and a good one leave the certificate as it is")
    func good() throws {
        #expect(try verdict(nil) == .valid)
        #expect(try verdict(middle.status(of: shown)) == .valid)
    }

    @Test("One that is over says nothing")
    func expired() throws {
        let status = try middle.status(of: shown, revoked: [shown])
        #expect(try verdict(status, hours: 3) == .valid)
    }

    @Test("One that somebody else has signed says nothing")
    func foreign() throws {
        let stranger = try TestAuthority("Stranger")
        let status = try middle.status(of: shown, revoked: [shown], signer: stranger)
        #expect(try verdict(status) == .valid)
    }

    @Test("One of another certificate says nothing")
    func ofAnother() throws {
        let other = try middle.issue("DNS:example.org")
        let status = try middle.status(of: other, revoked: [other])
        #expect(try verdict(status) == .valid)
    }

    @Test("A forged one says nothing")
    func forged() throws {
        let file = try middle.status(of: shown, revoked: [shown])
        var bytes = try PEMFile(path: file, operation: "test", option: "test").bytes
        // The signature ends it.
        bytes[bytes.count - 1] ^= 0x01
        let path = "\(folder.path)/forged.der"
        let target = try #require(fopen(path, "w"))
        let count = fwrite(bytes, 1, bytes.count, target)
        fclose(target)
        try #require(count == bytes.count)
        #expect(try verdict(path) == .valid)
    }
}
