// What others hear of a client's comings and goings, and what its client has not got.

import Addresses
import Synchronization
import Testing
import XML
import XMPP

@testable import Engine

@Suite("Clients that are there, look away, and vanish")
struct SessionHooksTests {
    private static let phone = "juliet@capulet.example/phone"
    private static let orchard = "romeo@capulet.example/orchard"
    private static let inactive = "<inactive xmlns='urn:xmpp:csi:0'/>"
    private static let active = "<active xmlns='urn:xmpp:csi:0'/>"

    /// What the hooks were told.
    private final class Heard: Sendable {
        private let words = Mutex<[String]>([])

        func note(_ word: String) { words.withLock { $0.append(word) } }

        func take() -> [String] {
            words.withLock { words in
                defer { words = [] }
                return words
            }
        }
    }

    private func withHooks(
        _ settings: String..., body: (TestServer, Heard) async throws -> Void
    ) async throws {
        let heard = Heard()
        let server = try TestServer(
            settings,
            declaring: { builder in
                builder.hooks.sessionActive.append { session, _ in
                    heard.note("active \(session.jid.resource)")
                }
                builder.hooks.sessionHibernated.append { session, messages, _ in
                    let texts = messages.map { message in
                        let body = Stanza(routed: message.bytes)?.fragment.element().child("body")
                        return (body?.text ?? "-") + (message.messageNumber == nil ? "" : "#")
                    }
                    heard.note((["gone \(session.jid.resource)"] + texts).joined(separator: " "))
                }
            })
        do {
            try await body(server, heard)
        } catch {
            await server.stop()
            throw error
        }
        await server.stop()
    }

    private func isInactive(_ server: TestServer) throws -> Bool {
        let session = try #require(server.host.sessions.session(try JID(Self.phone)))
        return session.flags.contains(.inactive)
    }

    private func chat(_ body: String) -> String {
        "<message to='\(Self.phone)' type='chat' id='\(body)'><body>\(body)</body></message>"
    }

    @Test("A client is inactive from when it says so until it says otherwise (XEP-0352)")
    func inactivity() async throws {
        try await withHooks { server, heard in
            let phone = try await server.online(Self.phone)
            #expect(heard.take() == ["active phone"])
            #expect(try !isInactive(server))
            for _ in 0..<2 {
                await phone.send(Self.inactive)
                #expect(try isInactive(server))
            }
            // An update of its presence says nothing of who looks.
            try await phone.announce(priority: 1)
            #expect(heard.take() == [])
            for _ in 0..<2 {
                await phone.send(Self.active)
                #expect(try !isInactive(server))
            }
            #expect(heard.take() == ["active phone"])
        }
    }

    @Test("Switched off, no client is inactive")
    func switchedOff() async throws {
        try await withHooks("features.client_state_indication=false") { server, _ in
            let phone = try await server.online(Self.phone)
            await phone.send(Self.inactive)
            #expect(try !isInactive(server))
        }
    }

    @Test("A new stream begins active (XEP-0352 section 5.2), whether or not the old one stands")
    func newStream() async throws {
        for isDropped in [true, false] {
            try await withHooks { server, heard in
                let phone = try await ResumingClient(try await server.online(Self.phone))
                await phone.client.send(Self.inactive)
                #expect(try isInactive(server))
                _ = heard.take()
                if isDropped {
                    await phone.client.drop()
                    #expect(try !isInactive(server))
                    #expect(heard.take() == ["gone phone"])
                }
                #expect(try await phone.comeBack(to: server).name == "resumed")
                #expect(try !isInactive(server))
                #expect(heard.take() == ["active phone"])
            }
        }
    }

    @Test(
        "When a connection breaks, it is told which messages its client has not acknowledged",
        arguments: ["never", "always"])
    func hibernation(archive: String) async throws {
        try await withHooks("archive.default=\(archive)") { server, heard in
            let mark = archive == "always" ? "#" : ""
            let phone = try await ResumingClient(try await server.online(Self.phone))
            let romeo = try await server.online(Self.orchard)
            await romeo.send(chat("a") + chat("b"))
            #expect(try await phone.bodies() == ["a", "b"])
            await phone.acknowledge(1)
            await phone.client.send(Self.inactive)
            await romeo.send(
                "<message to='\(Self.phone)' type='chat'>"
                    + "<composing xmlns='http://jabber.org/protocol/chatstates'/></message>")
            await romeo.send("<presence to='\(Self.phone)'/>")
            await server.settle()
            _ = heard.take()
            await phone.client.drop()
            #expect(heard.take() == ["gone phone b\(mark) -"])
            // What comes now is not told.
            await romeo.send(chat("c"))
            await server.settle()
            #expect(heard.take() == [])
        }
    }

    @Test("A client that did not ask to resume ends, and does not hibernate")
    func unmanaged() async throws {
        try await withHooks { server, heard in
            let phone = try await server.online(Self.phone)
            _ = heard.take()
            await phone.drop()
            #expect(heard.take() == [])
        }
    }
}
