// Handshakes between servers: who begins, what is shown, what is not kept.

import NIOCore
import NIOEmbedded
import Testing

@testable import TLS

@Suite("Handshakes between servers")
struct PeerHandshakeTests {
    let root: TestAuthority
    let shown: TestCertificate
    let site: PeerSite

    init() throws {
        root = try TestAuthority("Root")
        shown = try root.issue("DNS:example.org")
        site = try PeerSite(shown, authorities: [root.pem()])
    }

    @Test("A client's handler says hello when its channel becomes active, and not before")
    func hello() throws {
        let link = try PeerLink(site.context, site.listener)
        #expect(try link.clientChannel.readOutbound(as: ByteBuffer.self) == nil)
        try link.handshake()
        let expected = TLSEvent.handshakeCompleted(
            version: .tls13, applicationProtocol: "xmpp-server", serverName: "example.org")
        #expect(link.clientApplication.events == [expected])
        #expect(link.serverApplication.events == [expected])
    }

    @Test("Added to an active channel, it says hello at once (RFC 6120 section 5.4.2.3)")
    func startTLS() throws {
        let channel = EmbeddedChannel()
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 5269)).wait()
        let handler = try site.context.makeHandler(
            serverName: "example.org", localDomain: "example.org")
        try channel.pipeline.syncOperations.addHandler(handler)
        let hello = try #require(try channel.readOutbound(as: ByteBuffer.self))
        #expect(recordTypes(in: [hello]) == [22])
        _ = try channel.finish()
    }

    @Test("What is written before the end of the handshake waits for it")
    func earlyWrite() throws {
        let link = try PeerLink(site.context, site.listener)
        link.clientChannel.writeAndFlush(ByteBuffer(string: "<stream>"), promise: nil)
        try link.handshake()
        #expect(link.serverApplication.text == "<stream>")
    }

    @Test("The local domain chooses what is shown, the server's name what is asked for")
    func names() throws {
        let second = try root.issue("DNS:second.example")
        let server = try makeServer([
            shown.identity(in: site.folder, for: "example.org"),
            second.identity(in: site.folder, for: "second.example"),
        ])
        let context = TLSClientContext(server, trust: site.trust)
        let listener = TLSServerContext.forServers(of: server, trust: site.trust)
        func shownNames(_ serverName: String, _ local: String) throws -> [[String]?] {
            let link = try PeerLink(context, listener, serverName: serverName, localDomain: local)
            try link.handshake()
            #expect(link.server.serverName == serverName)
            return [link.server.peerCertificate?.domains, link.client.peerCertificate?.domains]
        }
        #expect(
            try shownNames("second.example", "example.org") == [
                ["example.org"], ["second.example"],
            ])
        #expect(
            try shownNames("example.org", "Second.Example") == [
                ["second.example"], ["example.org"],
            ])
        // Of what is not ours the first is shown.
        #expect(
            try shownNames("unknown.example", "unknown.example") == [
                ["example.org"], ["example.org"],
            ])
    }

    @Test(
        "What is no domain is not asked for (RFC 6066 section 3)",
        arguments: ["192.0.2.1", "2001:db8::1", "", String(repeating: "a", count: 300)])
    func noServerName(_ name: String) throws {
        let link = try PeerLink(site.context, site.listener, serverName: name)
        try link.handshake()
        #expect(link.server.handshakeIsComplete)
        #expect(link.server.serverName == nil)
        #expect(link.client.verdict(for: name) == .wrongName)
    }

    @Test(
        "A peer without a certificate gets in, and proves nothing", arguments: TLSVersion.allCases)
    func absent(_ version: TLSVersion) throws {
        let link = try Link.open(
            site.listener,
            TLSClientSettings(
                serverName: "example.org", applicationProtocols: ["xmpp-server"],
                maximumVersion: version.protocolNumber, authorityPEM: root.pem()))
        #expect(link.handshakeIsComplete)
        #expect(link.handler.verdict(for: "example.org") == .absent)
        #expect(link.handler.peerCertificate == nil)
        #expect(link.handler.certificateProblem == nil)
        #expect(try link.send("<a/>") == "<a/>")
    }

    @Test("Before the handshake and after the end there is nothing to judge")
    func withoutConnection() throws {
        let link = try PeerLink(site.context, site.listener)
        #expect(link.client.verdict(for: "example.org") == .absent)
        #expect(link.server.verdict(for: "example.org") == .absent)
        try link.handshake()
        #expect(link.server.verdict(for: "example.org") == .valid)
        #expect(link.client.peerCertificate?.fingerprint == shown.certificate.fingerprint)
        link.clientChannel.close(promise: nil)
        try link.pump()
        #expect(link.serverApplication.events.last == .closedByPeer)
        link.clientChannel.embeddedEventLoop.run()
        #expect(link.client.verdict(for: "example.org") == .absent)
        #expect(link.client.peerCertificate == nil)
    }

    @Test("A certificate that was forgotten proves nothing, and the connection goes on")
    func forgotten() throws {
        let link = try PeerLink(site.context, site.listener)
        link.client.forgetPeerCertificate()
        try link.handshake()
        #expect(link.verdicts == [.valid, .valid])
        let cipher = try #require(link.client.cipher)
        for handler in [link.client, link.server] { handler.forgetPeerCertificate() }
        #expect(link.verdicts == [.absent, .absent])
        #expect(link.client.peerCertificate == nil)
        #expect(link.server.peerCertificate == nil)
        #expect([link.client.cipher, link.server.cipher] == [cipher, cipher])
        #expect([link.client.version, link.server.version] == [.tls13, .tls13])
        let long = String(repeating: "<message/>", count: 10_000)
        #expect(try link.exchange(long, "<b/>") == (long, "<b/>"))
        link.clientChannel.close(promise: nil)
        try link.pump()
        #expect(link.serverApplication.events.last == .closedByPeer)
    }

    @Test("It is forgotten at any time of a connection's", arguments: TLSVersion.allCases)
    func forgottenOnEitherVersion(_ version: TLSVersion) throws {
        let link = try Link.open(
            site.listener,
            TLSClientSettings(
                serverName: "example.org", applicationProtocols: ["xmpp-server"],
                maximumVersion: version.protocolNumber, authorityPEM: root.pem()))
        link.handler.forgetPeerCertificate()
        link.client.connection.forgetPeerCertificate()
        #expect(link.client.serverCertificate == nil)
        #expect(try link.send("<a/>") == "<a/>")
        link.handler.forgetPeerCertificate()
        guard version == .tls13 else { return }
        // New keys come from what the handshake agreed on (RFC 8446 section 4.6.3).
        try link.deliver(link.client.requestKeyUpdate())
        #expect(try link.send("<b/>") == "<b/>")
    }

    @Test("Clients are not asked for certificates: phones would ask their owners")
    func clientsPort() throws {
        let server = try makeServer([shown.identity(in: site.folder, for: "example.org")])
        let context = TLSClientContext(server, trust: site.trust, applicationProtocols: [])
        let link = try PeerLink(context, server)
        try link.handshake()
        #expect(link.client.verdict(for: "example.org") == .valid)
        #expect(link.server.verdict(for: "example.org") == .absent)
        #expect(link.server.peerCertificate == nil)
    }

    @Test("Another application protocol than a server's is refused (RFC 7301 section 3.2)")
    func applicationProtocol() throws {
        let server = try makeServer([shown.identity(in: site.folder, for: "example.org")])
        let context = TLSClientContext(server, trust: site.trust)
        let link = try PeerLink(context, server)
        try link.handshake()
        #expect(link.serverApplication.errors.map(\.code) == [.noApplicationProtocol])
        #expect(link.clientApplication.errors.map(\.code) == [.refusedByPeer])
        // What a phone's owner could do is no advice here.
        #expect(link.clientApplication.errors.first?.advice.isEmpty == true)
        #expect(!link.clientChannel.isActive)
    }

    @Test("Names of application protocols that cannot be sent are refused")
    func badApplicationProtocol() throws {
        let server = try makeServer([shown.identity(in: site.folder, for: "example.org")])
        let context = TLSClientContext(server, trust: site.trust, applicationProtocols: [""])
        #expect(throws: TLSError.self) {
            _ = try context.makeHandler(serverName: "example.org", localDomain: "example.org")
        }
    }

    @Test(
        "A server's listener gives no tickets, so each handshake shows certificates",
        arguments: TLSVersion.allCases)
    func noTickets(_ version: TLSVersion) throws {
        var settings = TLSClientSettings(maximumVersion: version.protocolNumber)
        let first = try Link.open(site.listener, settings)
        // In TLS 1.3 a ticket would be a record of its own after the handshake.
        settings.session = first.client.session
        #expect(try !Link.open(site.listener, settings).isResumed)
    }

    @Test("A server that goes away during the handshake is told of")
    func abandoned() throws {
        let link = try PeerLink(site.context, site.listener)
        try link.clientChannel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        link.clientChannel.pipeline.fireChannelInactive()
        #expect(link.clientApplication.errors.map(\.code) == [.handshakeAbandoned])
    }

    @Test(
        "A server that speaks no TLS is told of", arguments: ["<stream:stream>", "HTTP/1.1 400 "])
    func noTLS(_ text: String) throws {
        let link = try PeerLink(site.context, site.listener)
        try link.clientChannel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        try link.clientChannel.writeInbound(ByteBuffer(string: text))
        #expect(link.clientApplication.errors.map(\.code) == [.notTLS])
        #expect(!link.clientChannel.isActive)
    }

    @Test("A reload changes what is shown in both roles, and leaves connections alone")
    func reload() throws {
        let folder = site.folder
        let server = try makeServer([shown.identity(in: folder, for: "example.org")])
        let listener = TLSServerContext.forServers(of: server, trust: site.trust)
        let context = TLSClientContext(server, trust: site.trust)
        let old = try PeerLink(context, listener)
        try old.handshake()
        let renewed = try root.issue("DNS:example.org")
        try server.reload([renewed.identity(in: folder, for: "example.org")])
        let new = try PeerLink(context, listener)
        try new.handshake()
        for handler in [new.client, new.server] {
            #expect(handler.peerCertificate?.fingerprint == renewed.certificate.fingerprint)
        }
        for handler in [old.client, old.server] {
            #expect(handler.peerCertificate?.fingerprint == shown.certificate.fingerprint)
            #expect(handler.verdict(for: "example.org") == .valid)
        }
        #expect(try old.exchange("<a/>", "<b/>") == ("<a/>", "<b/>"))
        #expect(listener.certificates.map(\.fingerprint) == [renewed.certificate.fingerprint])
    }

    @Test("Many threads open connections while certificates and trust are read again")
    func threads() async throws {
        let trust = site.trust
        let authority = try site.folder.write(
            "all.pem", root.pem() + root.revocationList([]))
        let identity = try shown.identity(in: site.folder, for: "example.org")
        let server = try makeServer([identity])
        let listener = TLSServerContext.forServers(of: server, trust: trust)
        let context = TLSClientContext(server, trust: trust)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<8 {
                group.addTask {
                    for _ in 0..<20 {
                        if number == 0 {
                            try server.reload([identity])
                            try trust.reload(authorities: [authority], usesSystem: false)
                        }
                        let link = try PeerLink(context, listener)
                        try link.handshake()
                        #expect(link.verdicts == [.valid, .valid])
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    @Test("New trust holds for new connections; those that exist keep their verdict")
    func reloadTrust() throws {
        let old = try site.open()
        let list = try site.folder.write(
            "list.pem", root.pem() + root.revocationList([shown]))
        try site.trust.reload(authorities: [list], usesSystem: false)
        #expect(try site.open().verdicts == [.revoked, .revoked])
        #expect(old.verdicts == [.valid, .valid])
        #expect(throws: TLSError.self) {
            try site.trust.reload(authorities: ["\(site.folder.path)/absent"], usesSystem: false)
        }
        #expect(try site.open().verdicts == [.revoked, .revoked])
        try site.trust.reload(authorities: [], usesSystem: false)
        #expect(try site.open().verdicts == [.untrusted, .untrusted])
    }
}

extension PeerLink {
    /// The client's and the server's, for example.org.
    var verdicts: [CertificateVerdict] {
        [client.verdict(for: "example.org"), server.verdict(for: "example.org")]
    }
}
