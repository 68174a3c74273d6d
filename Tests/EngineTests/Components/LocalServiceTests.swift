// Domains that a part of the program answers for: who reaches them and how their answers come back.

import Addresses
import NIOCore
import Synchronization
import Testing
import XML
import XMPP

@testable import Engine

/// Answers pings to its domain, echoes messages to `echo@`, and takes note of everything.
private final class EchoService: LocalService {
    static let ping = "urn:xmpp:ping"
    let domain: String
    let commands = CommandTable()
    private let log = Mutex<[String]>([])

    init(_ domain: String = "push.capulet.example") {
        self.domain = domain
        commands.add(node: "register", name: "Register", for: .everybody) { step, _, answer in
            guard let token = step.form?.value("token") else {
                return answer(.form(DataForm(.form, [.init("token", isRequired: true, [])])))
            }
            answer(
                .completed(nil, DataForm(.result, [.init("node", ["\(step.account) \(token)"])])))
        }
    }

    func takeLog() -> [String] {
        log.withLock { log in
            defer { log = [] }
            return log
        }
    }

    func receive(_ stanza: Stanza, _ host: Host) -> Bool {
        log.withLock {
            $0.append("\(stanza.kind.rawValue) \(stanza.type ?? "-") from \(stanza.from)")
        }
        switch stanza.kind {
        case .presence: return false
        case .message:
            guard let to = stanza.to, to.bare.local == "echo" else { return false }
            var echo = stanza.fragment.element()
            echo["from"] = to.description
            echo["to"] = stanza.from.description
            return host.send(echo, from: self)
        case .iq:
            guard let request = try? IQRequest(stanza) else { return true }
            if commands.concerns(request) {
                commands.answer(request, host) { host.answer(request, $0, from: self) }
                return true
            }
            guard request.payload.namespace == Self.ping else { return false }
            host.answer(
                request, .success(Element("pong", "urn:example", text: "a < b")), from: self)
            return true
        }
    }
}

@Suite("Services within the program")
struct LocalServiceTests {
    private static let domain = "push.capulet.example"
    private static let romeo = "romeo@capulet.example/orchard"
    private static let ping = "<ping xmlns='urn:xmpp:ping'/>"

    private func withService(
        _ settings: String..., loops: Int = 1,
        body: (TestServer, EchoService) async throws -> Void
    ) async throws {
        let service = EchoService()
        let server = try TestServer(
            settings, loops: loops,
            declaring: { builder in
                builder.add(service, key: "push.domain")
                builder.checkServices(against: [TestServer.domain])
            })
        do {
            try await body(server, service)
        } catch {
            await server.stop()
            throw error
        }
        await server.stop()
    }

    @Test("A client's request gets its answer", arguments: [1, 2])
    func client(loops: Int) async throws {
        try await withService(loops: loops) { server, service in
            let romeo = try await server.online(Self.romeo, loop: loops - 1)
            for address in [Self.domain, "x@\(Self.domain)", "\(Self.domain)/y"] {
                let answer = try await romeo.request("get", Self.ping, to: address)
                #expect(answer["type"] == "result" && answer["from"] == address)
                #expect(answer.child("pong", "urn:example")?.text == "a < b")
            }
            #expect(service.takeLog().allSatisfy { $0 == "iq get from \(Self.romeo)" })
        }
    }

    @Test("What the service does not answer comes back as an error; presence does not")
    func unanswered() async throws {
        try await withService { server, service in
            let romeo = try await server.online(Self.romeo)
            let answer = try await romeo.request("set", "<x xmlns='urn:x'/>", to: Self.domain)
            #expect(answer.condition == "service-unavailable")
            #expect(answer["from"] == Self.domain)
            await romeo.send("<message to='\(Self.domain)' id='m'><body>x</body></message>")
            let error = try await romeo.next()
            #expect(error["id"] == "m" && error.condition == "service-unavailable")
            await romeo.send("<message to='\(Self.domain)' type='headline'><body/></message>")
            await romeo.send("<message to='\(Self.domain)' type='error'/>")
            await romeo.send("<presence to='\(Self.domain)'/>")
            await romeo.send("<presence to='\(Self.domain)' type='unavailable'/>")
            await romeo.send("<iq to='\(Self.domain)' type='result' id='r'/>")
            await romeo.send("<iq to='\(Self.domain)' type='error' id='r'/>")
            #expect(try await romeo.pending() == [])
            #expect(service.takeLog().count == 8)
        }
    }

    @Test("A request to it is handled at once (XEP-0198), and a message like any other's")
    func acknowledgement() async throws {
        try await withService("archive.default=always") { server, service in
            let romeo = try await ResumingClient(try await server.online(Self.romeo))
            await romeo.client.send("<iq to='\(Self.domain)' type='get' id='1'>\(Self.ping)</iq>")
            await romeo.client.send(
                "<message to='echo@\(Self.domain)' id='2' type='chat'><body>x</body></message>")
            #expect(try await romeo.handled() == "2")
            #expect(try await romeo.bodies() == ["x"])
        }
    }

    @Test("A message reaches an account that is away")
    func offline() async throws {
        try await withService { server, service in
            try await server.addAccount("romeo")
            var message = Element("message", Namespaces.client, [], [])
            message["from"] = "a@\(Self.domain)"
            message["to"] = "romeo@capulet.example"
            message["type"] = "chat"
            message.children = [.element(Element("body", Namespaces.client, text: "later"))]
            #expect(server.host.send(message, from: service))
            await server.settle()
            let romeo = try await server.online(Self.romeo)
            #expect(try await romeo.first { $0.name == "message" }.body == "later")
        }
    }

    @Test("It speaks for its own domain only, and only as what was declared")
    func spoofing() async throws {
        try await withService { server, service in
            _ = try await server.online(Self.romeo)
            func iq(from: String?, to: String?) -> Element {
                var iq = Element("iq", Namespaces.client, [("type", "result"), ("id", "1")])
                iq["from"] = from
                iq["to"] = to
                return iq
            }
            let host = server.host
            #expect(host.send(iq(from: Self.domain, to: Self.romeo), from: service))
            #expect(!host.send(iq(from: TestServer.domain, to: Self.romeo), from: service))
            #expect(!host.send(iq(from: "x.\(Self.domain)", to: Self.romeo), from: service))
            #expect(!host.send(iq(from: nil, to: Self.romeo), from: service))
            #expect(!host.send(iq(from: Self.domain, to: nil), from: service))
            let other = EchoService()
            #expect(!host.send(iq(from: Self.domain, to: Self.romeo), from: other))
            #expect(!host.send(Element("x", Namespaces.client), from: service))
        }
    }

    @Test("The server's own request gets its answer, or the error that stands for none")
    func ownRequest() async throws {
        try await withService { server, service in
            for (payload, wanted) in [(Self.ping, "result"), ("<x xmlns='urn:x'/>", "error")] {
                let host = server.host
                let asked = try JID(Self.domain)
                let own = try JID(TestServer.domain)
                let id = host.nextIdentifier()
                let answer = Mutex<String?>(nil)
                host.requests.expect(
                    id, from: asked, within: .seconds(5), on: server.loops[0]
                ) { stanza in answer.withLock { $0 = stanza?.type ?? "none" } }
                host.sendAway(
                    OutboundStanza(
                        .iq,
                        Array(
                            "<iq from='\(own)' to='\(asked)' type='get' id='\(id)'>\(payload)</iq>"
                                .utf8)), from: own, to: asked)
                await server.settle()
                #expect(answer.withLock { $0 } == wanted)
            }
        }
    }

    @Test("Another server's request gets its answer, and one of the service's goes there")
    func peer() async throws {
        try await withService("federation.policy=open") { server, service in
            let asking = try await EstablishedPeer(server, from: Self.domain)
            let nurse = "nurse@montague.example/x"
            let answer = try await asking.request(from: nurse, to: Self.domain, Self.ping)
            #expect(answer["type"] == "result" && answer["from"] == Self.domain)
            #expect(answer.child("pong", "urn:example")?.text == "a < b")
            let refused = try await asking.request(
                from: nurse, to: "z@\(Self.domain)", "<x xmlns='urn:x'/>")
            #expect(refused.condition == "service-unavailable")
            await asking.send("<message from='\(nurse)' to='echo@\(Self.domain)' id='m'/>")
            let echo = try await asking.next()
            #expect(echo["to"] == nurse && echo["id"] == "m")
        }
    }

    @Test("It has commands of its own, which anybody may run (XEP-0050)")
    func commands() async throws {
        try await withService("federation.policy=open") { server, _ in
            let form = DataForm(.submit, [.init("token", ["t"])])
            let bytes = XMLWriter.bytes(
                Command("register", action: .execute, form: form).element,
                contentNamespace: Namespaces.client)
            let payload = String(decoding: bytes, as: UTF8.self)
            let list =
                "<query xmlns='\(DiscoveryItems.namespace)' node='\(Command.namespace)'/>"
            let romeo = try await server.online(Self.romeo)
            let answer = try await romeo.request("set", payload, to: Self.domain)
            let own = try Command(try #require(answer.elements.first))
            #expect(own.status == .completed)
            #expect(own.form?.value("node") == "romeo@capulet.example t")
            let items = try await romeo.request("get", list, to: Self.domain)
            let item = items.elements.first?.elements.first
            #expect(item?["jid"] == Self.domain && item?["node"] == "register")
            let atServer = try await romeo.request("get", list, to: TestServer.domain)
            #expect(atServer.elements.first?.elements == [], "the server has none")

            let peer = try await EstablishedPeer(server, from: Self.domain)
            await peer.send(
                "<iq type='set' id='1' from='nurse@montague.example/x' to='\(Self.domain)'>"
                    + "\(payload)</iq>")
            let remote = try Command(try #require(try await peer.next().elements.first))
            #expect(remote.form?.value("node") == "nurse@montague.example t")
        }
    }

    @Test("No more waits for it than for a client; the rest comes back at once")
    func full() async throws {
        try await withService("limits.outgoing_queue=64KiB") { server, service in
            let host = server.host
            let (own, asked) = (try JID("romeo@capulet.example"), try JID(Self.domain))
            let answers = Mutex<[String?]>([])
            let request = "<x xmlns='urn:x'>\(String(repeating: "x", count: 30_000))</x>"
            let eventLoop = server.loops[0]
            await eventLoop.call {
                for number in 0..<4 {
                    let id = "n\(number)"
                    host.requests.expect(id, from: asked, within: .seconds(9), on: eventLoop) {
                        answer in
                        let error = answer?.fragment.element().condition
                        answers.withLock { $0.append(error) }
                    }
                    let bytes = Array(
                        "<iq from='\(own)' to='\(asked)' type='set' id='\(id)'>\(request)</iq>"
                            .utf8)
                    host.sendAway(OutboundStanza(.iq, bytes), from: own, to: asked)
                }
            }
            await server.settle()
            let (busy, none) = ("resource-constraint", "service-unavailable")
            #expect(answers.withLock { $0 } == [busy, busy, none, none])
            #expect(service.takeLog().count == 2)
            #expect(server.metric("kinglet_component_queue_stanzas") == 0)
            let series = "kinglet_component_refusals_total{reason=\"queue_full\"}"
            #expect(server.metric(series) == 2)
        }
    }

    @Test("Other servers find it here: streams to its domain are served")
    func stream() async throws {
        try await withService("federation.policy=open") { server, service in
            let peer = try await TestPeer(server)
            try await peer.openSecurely(to: Self.domain)
            await peer.auth("=")
            #expect(try await peer.next().name == "success")
            try await peer.open(from: "montague.example", to: Self.domain)
            await peer.send(
                "<iq type='get' id='1' from='montague.example' to='\(Self.domain)'>\(Self.ping)</iq>"
            )
            await server.settle()
            #expect(service.takeLog() == ["iq get from montague.example"])
            #expect(server.host.serves(Self.domain) && !server.host.isLocal(Self.domain))
        }
    }

    @Test("What may not go to another domain comes back to the service")
    func refused() async throws {
        try await withService("federation.policy=off") { server, service in
            var request = Element(
                "iq", Namespaces.client,
                [("type", "get"), ("id", "1"), ("from", Self.domain), ("to", "montague.example")],
                [Element("ping", EchoService.ping)])
            #expect(server.host.send(request, from: service))
            await server.settle()
            #expect(service.takeLog() == ["iq error from montague.example"])
            request["to"] = "nobody@capulet.example/x"
            #expect(server.host.send(request, from: service))
            await server.settle()
            #expect(service.takeLog() == ["iq error from nobody@capulet.example/x"])
        }
    }

    @Test("A component and a service talk to each other; nobody attaches as the service")
    func components() async throws {
        try await withService(TestComponent.setting) { server, service in
            let component = try await TestComponent.attached(to: server)
            await component.send(
                "<iq type='get' id='1' from='\(TestComponent.domain)' to='\(Self.domain)'>"
                    + "\(Self.ping)</iq>")
            #expect(try await component.next()["type"] == "result")
            let impostor = try await TestComponent(server)
            await impostor.send(TestComponent.header(to: Self.domain))
            _ = try await impostor.header()
            try await impostor.expectStreamError(.hostUnknown)
            let romeo = try await server.online(Self.romeo)
            let items = try await romeo.request(
                "get", "<query xmlns='http://jabber.org/protocol/disco#items'/>",
                to: TestServer.domain)
            let listed = items.elements.first?.elements.compactMap { $0["jid"] } ?? []
            #expect(
                Set(listed) == [TestComponent.domain, TestComponent.otherDomain, Self.domain])
        }
    }

    @Test("Without components nobody may attach at all")
    func attachable() async throws {
        try await withService { server, _ in #expect(!server.host.components.hasAttachable) }
        try await withService(TestComponent.setting) { server, _ in
            #expect(server.host.components.hasAttachable)
        }
    }

    @Test(
        "A domain that somebody has already is reported",
        arguments: [
            ["capulet.example"], [TestComponent.domain], ["a.example", "a.example"],
        ])
    func conflict(domains: [String]) throws {
        #expect(throws: (any Error).self) {
            _ = try TestServer(
                [TestComponent.setting],
                declaring: { builder in
                    for domain in domains { builder.add(EchoService(domain), key: "push.domain") }
                    builder.checkServices(against: [TestServer.domain])
                })
        }
    }
}
