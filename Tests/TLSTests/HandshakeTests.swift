// Versions, names, application protocols, and handshakes that must fail.

import NIOCore
import NIOEmbedded
import Testing

@testable import TLS

@Suite struct HandshakeTests {
    @Test("Both versions carry bytes both ways", arguments: TLSVersion.allCases)
    func versions(_ version: TLSVersion) throws {
        let site = try Site("example.org")
        let link = try Link.open(
            makeServer([site.identity]),
            TLSClientSettings(
                serverName: "example.org", maximumVersion: version.protocolNumber,
                authorityPEM: site.authorityPEM))
        #expect(
            link.application.events == [
                .handshakeCompleted(
                    version: version, applicationProtocol: nil, serverName: "example.org")
            ])
        #expect(link.handshakeIsComplete)
        #expect(link.handler.version == version)
        #expect(link.handler.serverName == "example.org")
        #expect(try link.send("<presence/>") == "<presence/>")
        #expect(try link.answer("<message/>") == "<message/>")
        #expect(link.application.errors.isEmpty)
    }

    @Test("The result does not depend on how the bytes are cut", arguments: [1, 2, 3, 7, 100])
    func anyCut(_ cut: Int) throws {
        let site = try Site("example.org")
        for version in TLSVersion.allCases {
            let link = try Link.open(
                makeServer([site.identity]),
                TLSClientSettings(
                    serverName: "example.org", maximumVersion: version.protocolNumber,
                    authorityPEM: site.authorityPEM), cut: cut)
            let text = String(repeating: "<message/>", count: 100)
            #expect(try link.send(text) == text)
            #expect(try link.answer(text) == text)
            #expect(link.application.events.count == 1)
        }
    }

    @Test("Handshake and first stanza in one read: the event comes before the bytes")
    func firstFlight() throws {
        let site = try Site("example.org")
        let link = try Link(makeServer([site.identity]))
        try link.deliver(link.client.receive())
        var last = try link.pumpToClient()
        var stanza = try link.client.send(ByteBuffer(string: "<stream>"))
        last.writeBuffer(&stanza)
        var readsAtEvent: Int?
        link.application.onEvent = { _, _ in readsAtEvent = link.application.reads.count }
        try link.deliver(last)
        #expect(readsAtEvent == 0)
        #expect(link.application.text == "<stream>")
        link.application.onEvent = nil
    }

    @Test("TLS begins in the middle of a live channel, after STARTTLS (RFC 6120 section 5.4)")
    func startTLS() throws {
        let site = try Site("example.org")
        let link = try Link(makeServer([site.identity]))
        // Link adds the handler to a channel that is active already.
        #expect(link.channel.isActive)
        #expect(!link.handshakeIsComplete)
        try link.handshake()
        #expect(link.handshakeIsComplete)
    }

    @Test("The client's server name chooses the certificate (RFC 6066 section 3)")
    func serverName() throws {
        let first = try Site("first.example")
        let second = try Site("second.example", "also.example")
        let wild = try Site("chat.wild.example")
        let wildIdentity = TLSIdentity(
            domains: ["*.wild.example"], certificateFile: wild.identity.certificateFile,
            keyFile: wild.identity.keyFile)
        let server = try makeServer([first.identity, second.identity, wildIdentity])
        func presented(_ name: String?, _ version: TLSVersion) throws -> [String]? {
            let settings = TLSClientSettings(
                serverName: name, maximumVersion: version.protocolNumber)
            let link = try Link.open(server, settings)
            #expect(link.handler.serverName == name?.asciiLowercased)
            return link.client.serverCertificate?.summary(file: "").domains
        }
        for version in TLSVersion.allCases {
            #expect(try presented("first.example", version) == ["first.example"])
            #expect(
                try presented("second.example", version) == ["second.example", "also.example"])
            #expect(try presented("ALSO.Example", version) == ["second.example", "also.example"])
            #expect(try presented("chat.wild.example", version) == ["chat.wild.example"])
            // A wildcard stands for one label, and not for none.
            #expect(try presented("a.b.wild.example", version) == ["first.example"])
            #expect(try presented("wild.example", version) == ["first.example"])
            #expect(try presented("unknown.example", version) == ["first.example"])
            #expect(try presented(nil, version) == ["first.example"])
        }
    }

    @Test("The application protocol is chosen from the client's offer (RFC 7301)")
    func applicationProtocol() throws {
        let site = try Site("example.org")
        let server = try makeServer([site.identity])
        let offered = try Link.open(
            server, TLSClientSettings(applicationProtocols: ["h2", "xmpp-client"]))
        #expect(offered.handler.applicationProtocol == "xmpp-client")
        #expect(offered.client.connection.applicationProtocol == "xmpp-client")
        #expect(
            offered.application.events == [
                .handshakeCompleted(
                    version: .tls13, applicationProtocol: "xmpp-client", serverName: nil)
            ])
        let silent = try Link.open(server)
        #expect(silent.handler.applicationProtocol == nil)
        #expect(silent.handshakeIsComplete)
    }

    @Test("The web's listener takes what browsers offer, and no XMPP")
    func webProtocol() throws {
        let site = try Site("example.org")
        let server = try makeServer([site.identity])
        let web = TLSServerContext.forWeb(of: server)
        let browser = try Link.open(
            web, TLSClientSettings(applicationProtocols: ["h2", "http/1.1"]))
        #expect(browser.handler.applicationProtocol == "http/1.1")
        #expect(try Link.open(web).handler.applicationProtocol == nil)
        for offer in ["xmpp-client", "h2"] {
            let link = try Link(web, TLSClientSettings(applicationProtocols: [offer]))
            #expect(throws: TLSError.self) { try link.handshake() }
            #expect(link.application.errors.map(\.code) == [.noApplicationProtocol])
        }
        // A renewed certificate is on both ports at once.
        let before = browser.client.serverCertificate?.fingerprint
        try site.renew()
        try server.reload([site.identity])
        let after = try Link.open(web).client.serverCertificate?.fingerprint
        #expect(after != nil && after != before)
        #expect(try Link.open(server).client.serverCertificate?.fingerprint == after)
    }

    @Test("An offer without a common application protocol ends the handshake (RFC 7301 3.2)")
    func noApplicationProtocol() throws {
        let site = try Site("example.org")
        let link = try Link(
            makeServer([site.identity]), TLSClientSettings(applicationProtocols: ["h2"]))
        let error = #expect(throws: TLSError.self) { try link.handshake() }
        #expect(error?.code == .refusedByPeer)
        #expect(error?.message.contains("no application protocol") == true)
        #expect(link.application.errors.map(\.code) == [.noApplicationProtocol])
        #expect(!link.channel.isActive)
    }

    @Test("TLS 1.1 is refused with an alert (RFC 8996)")
    func oldVersion() throws {
        let site = try Site("example.org")
        let link = try Link(
            makeServer([site.identity]),
            TLSClientSettings(
                minimumVersion: 0x0301, maximumVersion: 0x0302, cipherList: "ALL:@SECLEVEL=0"))
        let error = #expect(throws: TLSError.self) { try link.handshake() }
        #expect(error?.message.contains("protocol version") == true)
        #expect(link.application.errors.map(\.code) == [.unsupportedVersion])
        #expect(!link.channel.isActive)
    }

    @Test("A TLS 1.2 client without forward secrecy is refused (RFC 9325 section 4.1)")
    func noForwardSecrecy() throws {
        let site = try Site("example.org")
        let link = try Link(
            makeServer([site.identity]),
            TLSClientSettings(maximumVersion: 0x0303, cipherList: "AES128-SHA:AES128-GCM-SHA256"))
        #expect(throws: TLSError.self) { try link.handshake() }
        #expect(link.application.errors.map(\.code) == [.noSharedAlgorithm])
    }

    @Test(
        "What is not TLS is refused",
        arguments: ["<?xml version='1.0'?><stream:stream>", "GET / HTTP/1.1\r\n\r\n"])
    func garbage(_ text: String) throws {
        let site = try Site("example.org")
        let link = try Link(makeServer([site.identity]))
        try link.deliver(ByteBuffer(string: text))
        #expect(link.application.errors.map(\.code) == [.notTLS])
        #expect(link.application.reads.isEmpty)
        #expect(!link.channel.isActive)
    }

    @Test("A handshake that does not end is cut off at 64 KiB")
    func oversizedHandshake() throws {
        let site = try Site("example.org")
        let link = try Link(makeServer([site.identity]))
        // The header of a ClientHello of 130,000 bytes, in records of 16 KiB.
        var hello = ByteBuffer(bytes: [1, 0x01, 0xFB, 0xD0])
        hello.writeRepeatingByte(0, count: 130_000)
        var delivered = 0
        while link.channel.isActive, let part = hello.readSlice(length: 16_384) {
            var record = ByteBuffer(bytes: [22, 3, 1, 0x40, 0])
            record.writeImmutableBuffer(part)
            delivered += record.readableBytes
            try link.deliver(record)
        }
        #expect(link.application.errors.map(\.code) == [.handshakeTooLarge])
        #expect(delivered > 64 * 1024 && delivered <= 64 * 1024 + 16_389)
    }

    @Test("A ClientHello with any one byte damaged brings nothing to the application")
    func damagedHello() throws {
        let site = try Site("example.org")
        let server = try makeServer([site.identity])
        let settings = TLSClientSettings(
            serverName: "example.org", applicationProtocols: ["xmpp-client"])
        let length = try TLSClientEngine(settings).receive().readableBytes
        #expect(length > 200)
        for offset in 0..<length {
            let link = try Link(server, settings)
            var hello = try link.client.receive()
            let byte = hello.getInteger(at: hello.readerIndex + offset, as: UInt8.self) ?? 0
            hello.setInteger(byte ^ 0xFF, at: hello.readerIndex + offset)
            try link.deliver(hello)
            #expect(link.application.reads.isEmpty)
            #expect(link.application.events.isEmpty)
            link.channel.pipeline.fireChannelInactive()
            // Refused at once, or abandoned because the server waited for more.
            #expect(link.application.errors.count == 1)
        }
        #expect(try Link.open(server, settings).handshakeIsComplete)
    }

    @Test("A client that does not trust the certificate is reported as such")
    func distrust() throws {
        let site = try Site("example.org")
        let other = try Site("example.org")
        let link = try Link(
            makeServer([site.identity]),
            TLSClientSettings(serverName: "example.org", authorityPEM: other.authorityPEM))
        try link.deliver(link.client.receive())
        #expect(throws: TLSError.self) { _ = try link.pumpToClient() }
        try link.deliver(link.client.takeOutput())
        #expect(link.application.errors.map(\.code) == [.refusedByPeer])
        #expect(link.application.errors.first?.advice.contains("authority") == true)
    }

    @Test("ChaCha20-Poly1305 wins where the processor lacks AES, or where the client prefers it")
    func cipherOrder() throws {
        let site = try Site("example.org")
        let chacha12 = "ECDHE-ECDSA-CHACHA20-POLY1305"
        let aes12 = "ECDHE-ECDSA-AES128-GCM-SHA256"
        func chosen(_ prefersChaCha: Bool, _ list: [String]) throws -> String? {
            let server = try makeServer([site.identity], prefersChaCha: prefersChaCha)
            let settings = TLSClientSettings(
                maximumVersion: 0x0303, cipherList: list.joined(separator: ":"))
            return try Link.open(server, settings).cipher
        }
        #expect(try chosen(false, [aes12, chacha12]) == aes12)
        #expect(try chosen(false, [chacha12, aes12]) == chacha12)
        #expect(try chosen(true, [aes12, chacha12]) == chacha12)
        #expect(try chosen(true, [aes12]) == aes12)
    }

    @Test("What OpenSSL found of the processor is read for x86 and Arm")
    func processorFeatures() {
        // A Cortex-A76, a Cortex-A72 in QEMU, and one as in the Pi 4.
        #expect(ProcessorFeatures.saysAES("OPENSSL_armcap=0xbd"))
        #expect(ProcessorFeatures.saysAES("OPENSSL_armcap=0x3d env:0x3d"))
        #expect(!ProcessorFeatures.saysAES("OPENSSL_armcap=0x81"))
        #expect(ProcessorFeatures.saysAES("OPENSSL_ia32cap=0xfeda220b078bffff:0x219c97a9"))
        #expect(!ProcessorFeatures.saysAES("OPENSSL_ia32cap=0xfcda220b078bffff:0x219c97a9"))
        #expect(!ProcessorFeatures.saysAES("OPENSSL_riscvcap=0xffffffffffffffff"))
        #expect(!ProcessorFeatures.saysAES("OPENSSL_armcap="))
        #expect(!ProcessorFeatures.saysAES("N/A"))
        #expect(!ProcessorFeatures.saysAES(""))
    }
}
