// Commands that parts of the server declare (XEP-0050): who finds them, who may run them, and how.

import Addresses
import NIOCore
import NIOEmbedded
import Synchronization
import Testing
import XML
import XMPP

@testable import Engine

@Suite("XEP-0050: ad-hoc commands")
struct AdHocCommandsTests {
    private static let server = TestServer.domain
    private static let romeo = "romeo@capulet.example/orchard"
    private static let info = DiscoveryInfo.namespace
    private static let items = DiscoveryItems.namespace

    private static let name = DataForm(
        .form, title: "Name", instructions: ["Say who you are"],
        [
            .init("name", type: "text-single", label: "Your name", isRequired: true, []),
            .init(
                "colour", type: "list-single",
                options: [.init("red", label: "Red"), .init("blue")],
                ["red"]),
        ])

    /// `greet` asks for a name once; `tour` has two forms and ends with a third; `plain` takes
    /// what it gets; `slow` never answers to its form; `broken` always fails.
    private static func declare(_ table: CommandTable) {
        table.add(node: "greet", name: "Greet me", for: .everybody) { step, _, answer in
            guard let form = step.form else { return answer(.form(name)) }
            guard form.value("name") != "Tybalt" else {
                return answer(.failed(StanzaError(.badPayload, "anybody but you")))
            }
            answer(.completed(.init("Hello \(form.value("name") ?? "?")")))
            answer(.failed(StanzaError(.gone)))
        }
        table.add(node: "tour", name: "A tour", for: .accounts) { _, _, answer in
            answer(
                .form(DataForm(.form, title: "1", []), isLast: false) { _, _, answer in
                    answer(
                        .form(DataForm(.form, title: "2", [])) { step, _, answer in
                            answer(.completed(nil, DataForm(.result, step.form?.fields ?? [])))
                        })
                })
        }
        table.add(node: "plain", name: "Plain", for: .administrators) { step, _, answer in
            answer(.completed(.init("\(step.account)", kind: .warn)))
        }
        table.add(node: "slow", name: "Slow", for: .accounts) { step, _, answer in
            if step.form == nil { answer(.form(DataForm(.form, []))) }
        }
        table.add(node: "broken", name: "Broken", for: .everybody) { _, _, answer in
            answer(.failed(StanzaError(.internalServerError)))
        }
    }

    private func withCommands(
        _ settings: String..., body: (TestServer, TestClient) async throws -> Void
    ) async throws {
        let server = try TestServer(settings, declaring: { Self.declare($0.commands) })
        do {
            try await body(server, try await server.online(Self.romeo))
        } catch {
            await server.stop()
            throw error
        }
        await server.stop()
    }

    private func run(
        _ client: TestClient, _ command: Command, to: String? = server
    ) async throws -> (command: Command?, answer: Element) {
        let bytes = XMLWriter.bytes(command.element, contentNamespace: Namespaces.client)
        let answer = try await client.request(
            "set", String(decoding: bytes, as: UTF8.self), to: to)
        let element = answer.child("command", Command.namespace)
        return (try element.map { try Command($0) }, answer)
    }

    private func filled(_ fields: [String: String] = [:]) -> DataForm {
        DataForm(.submit, fields.map { .init($0.key, [$0.value]) })
    }

    private func failure(_ answer: Element) -> String? {
        answer.child("error")?.elements.first { $0.namespace == Command.namespace }?.name
    }

    // MARK: The list (section 2)

    @Test("Commands are listed to those who may run them, and described (section 2)")
    func list() async throws {
        try await withCommands { server, romeo in
            let list = "<query xmlns='\(Self.items)' node='\(Command.namespace)'/>"
            for address in [Self.server, "romeo@capulet.example"] {
                let answer = try await romeo.request("get", list, to: address)
                let query = try #require(answer.child("query", Self.items))
                #expect(query["node"] == Command.namespace)
                #expect(query.elements.map { $0["node"] } == ["greet", "tour", "slow", "broken"])
                #expect(query.elements.allSatisfy { $0["jid"] == address })
                #expect(query.elements.first?["name"] == "Greet me")
            }
            func identity(_ node: String) async throws -> Element? {
                try await romeo.request(
                    "get", "<query xmlns='\(Self.info)' node='\(node)'/>", to: Self.server
                ).child("query", Self.info)?.child("identity")
            }
            let whole = try #require(try await identity(Command.namespace))
            #expect(whole["category"] == "automation" && whole["type"] == "command-list")
            let one = try #require(try await identity("greet"))
            #expect(one["type"] == "command-node" && one["name"] == "Greet me")
            for node in ["plain", "nothing"] { #expect(try await identity(node) == nil) }
            let features = try await romeo.request(
                "get", "<query xmlns='\(Self.info)'/>", to: Self.server)
            #expect(
                features.elements.first?.elements.contains { $0["var"] == Command.namespace }
                    == true)
            let set = try await romeo.request("set", list, to: Self.server)
            #expect(set.condition == "not-allowed")
        }
    }

    @Test("Who may run what: anybody, an account, an administrator")
    func audience() async throws {
        try await withCommands("federation.policy=open") { server, romeo in
            #expect(try await run(romeo, Command("plain")).answer.condition == "forbidden")
            #expect(try await run(romeo, Command("none")).answer.condition == "item-not-found")
            let keys = try PasswordKeys(
                password: TestServer.password, iterations: TestServer.iterations)
            try await withCheckedThrowingContinuation { continuation in
                server.host.accounts.create(
                    BareJID(preparedLocal: "admin", preparedDomain: Self.server), keys,
                    isAdministrator: true, now: 0
                ) { continuation.resume(with: $0) }
            }
            let admin = try await server.online("admin@capulet.example/desk")
            let done = try await run(admin, Command("plain"), to: nil)
            #expect(done.command?.status == .completed)
            #expect(done.command?.notes == [.init("admin@capulet.example", kind: .warn)])

            let peer = try await EstablishedPeer(server)
            let nurse = "nurse@montague.example/x"
            let list = try await peer.request(
                from: nurse, to: Self.server,
                "<query xmlns='\(Self.items)' node='\(Command.namespace)'/>")
            #expect(list.elements.first?.elements.map { $0["node"] } == ["greet", "broken"])
            for (node, condition) in [("tour", "forbidden"), ("plain", "forbidden")] {
                await peer.send(
                    "<iq type='set' id='\(node)' from='\(nurse)' to='\(Self.server)'>"
                        + "<command xmlns='\(Command.namespace)' node='\(node)'/></iq>")
                #expect(try await peer.first { $0["id"] == node }.condition == condition)
            }
            await peer.send(
                "<iq type='set' id='1' from='\(nurse)' to='romeo@capulet.example'>"
                    + "<command xmlns='\(Command.namespace)' node='greet'/></iq>")
            let refused = try await peer.first { $0["id"] == "1" }
            #expect(refused.condition == "service-unavailable", "only its owner's")
        }
    }

    // MARK: Running (section 3)

    @Test("A form is shown, filled in, refused while it is wrong, and taken (section 3.4)")
    func single() async throws {
        try await withCommands { _, romeo in
            let begun = try await run(romeo, Command("greet", action: .execute))
            let shown = try #require(begun.command)
            #expect(shown.status == .executing && shown.form == Self.name)
            #expect(shown.actions == .init([.complete], execute: .complete))
            let id = try #require(shown.sessionID)
            for wrong in [nil, filled(), filled(["name": "R", "colour": "green"])] {
                let answer = try await run(romeo, Command("greet", sessionID: id, form: wrong))
                #expect(answer.answer.condition == "bad-request")
                #expect(failure(answer.answer) == "bad-payload")
            }
            let tybalt = Command("greet", sessionID: id, form: filled(["name": "Tybalt"]))
            #expect(failure(try await run(romeo, tybalt).answer) == "bad-payload")
            let good = Command(
                "greet", sessionID: id, action: .complete, form: filled(["name": "Romeo"]))
            let done = try #require(try await run(romeo, good).command)
            #expect(done.status == .completed && done.sessionID == id && done.actions == nil)
            #expect(done.notes == [.init("Hello Romeo")])
            #expect(failure(try await run(romeo, good).answer) == "bad-sessionid")
            #expect(try await romeo.pending() == [], "one answer to each")
        }
    }

    @Test("Who knows the form sends it at once, as push clients do")
    func atOnce() async throws {
        try await withCommands { _, romeo in
            let done = try await run(romeo, Command("greet", form: filled(["name": "Romeo"])))
            #expect(done.command?.notes == [.init("Hello Romeo")])
        }
    }

    @Test("Several forms, forth and back (section 3.4)")
    func several() async throws {
        try await withCommands { _, romeo in
            let first = try #require(try await run(romeo, Command("tour")).command)
            let id = first.sessionID
            #expect(first.form?.title == "1" && first.actions == .init([.next], execute: .next))
            func move(_ action: Command.Action?, _ fields: [String: String]? = [:]) async throws
                -> (command: Command?, answer: Element)
            {
                try await run(
                    romeo,
                    Command("tour", sessionID: id, action: action, form: fields.map(filled)))
            }
            #expect(failure(try await move(.prev).answer) == "bad-action")
            #expect(failure(try await move(.complete).answer) == "bad-action")
            let second = try #require(try await move(.next).command)
            #expect(second.form?.title == "2" && second.sessionID == id)
            #expect(second.actions == .init([.prev, .complete], execute: .complete))
            #expect(failure(try await move(.next).answer) == "bad-action")
            #expect(try await move(.prev, nil).command?.form?.title == "1")
            #expect(try await move(nil).command?.form?.title == "2")
            let done = try #require(try await move(.execute, ["a": "b"]).command)
            #expect(done.status == .completed && done.form?.value("a") == "b")
        }
    }

    @Test("A command is cancelled (section 3.4)")
    func cancelled() async throws {
        try await withCommands { _, romeo in
            let id = try #require(try await run(romeo, Command("greet")).command?.sessionID)
            let cancel = Command("greet", sessionID: id, action: .cancel)
            let answer = try await run(romeo, cancel)
            #expect(answer.command == Command("greet", sessionID: id, status: .canceled))
            #expect(failure(try await run(romeo, cancel).answer) == "bad-sessionid")
        }
    }

    @Test("What makes no sense is refused with the error that says so (section 4.4)")
    func refused() async throws {
        try await withCommands { _, romeo in
            let id = try await run(romeo, Command("greet")).command?.sessionID
            let juliet = try await romeo.server.online("juliet@capulet.example/balcony")
            let fits = filled(["name": "x"])
            for (client, command, wanted) in [
                (romeo, Command("greet", action: .next), "bad-action"),
                (romeo, Command("greet", action: .cancel), "bad-action"),
                (romeo, Command("greet", sessionID: "x", form: fits), "bad-sessionid"),
                (romeo, Command("tour", sessionID: id, form: fits), "bad-sessionid"),
                (juliet, Command("greet", sessionID: id, form: fits), "bad-sessionid"),
                (romeo, Command("greet", form: Self.name), "bad-payload"),
                (romeo, Command("greet", sessionID: id, form: Self.name), "bad-payload"),
            ] {
                let answer = try await run(client, command).answer
                #expect(answer.condition == "bad-request" && failure(answer) == wanted)
            }
            let malformed = try await romeo.request(
                "set", "<command xmlns='\(Command.namespace)' node='greet' action='run'/>",
                to: Self.server)
            #expect(failure(malformed) == "malformed-action")
            let get = try await romeo.request(
                "get", "<command xmlns='\(Command.namespace)' node='greet'/>", to: Self.server)
            #expect(get.condition == "bad-request")
            let broken = try await run(romeo, Command("broken")).answer
            #expect(broken.condition == "internal-server-error")
            let fine = try await run(romeo, Command("greet", sessionID: id, form: fits))
            #expect(fine.command != nil)
        }
    }

    @Test("A session is over after ten minutes without a step")
    func expired() async throws {
        try await withCommands { server, romeo in
            let id = try await run(romeo, Command("tour")).command?.sessionID
            await server.loops[0].advanceTime(by: CommandRuns.life - .seconds(1))
            let next = Command("tour", sessionID: id, form: filled())
            #expect(try await run(romeo, next).command?.status == .executing)
            await server.loops[0].advanceTime(by: CommandRuns.life)
            let late = try await run(romeo, next).answer
            #expect(late.condition == "not-allowed" && failure(late) == "session-expired")
            #expect(failure(try await run(romeo, next).answer) == "bad-sessionid")
        }
    }

    @Test("One step at a time; what never ends can be cancelled")
    func busy() async throws {
        try await withCommands { _, romeo in
            let id = try await run(romeo, Command("slow")).command?.sessionID
            let element = Command("slow", sessionID: id, form: filled()).element
            let bytes = XMLWriter.bytes(element, contentNamespace: Namespaces.client)
            let text = String(decoding: bytes, as: UTF8.self)
            await romeo.send("<iq type='set' id='s' to='\(Self.server)'>\(text)</iq>")
            let again = try await run(romeo, Command("slow", sessionID: id, form: filled()))
            #expect(again.answer.condition == "unexpected-request")
            let cancel = Command("slow", sessionID: id, action: .cancel)
            #expect(try await run(romeo, cancel).command?.status == .canceled)
        }
    }
}

@Suite("XEP-0050: runs that are under way")
struct CommandRunsTests {
    private let runs = CommandRuns()
    private let start = NIODeadline.now()

    private func begin(_ account: String, after time: TimeAmount = .zero) throws -> String {
        let move = try runs.move(Command("x"), by: try BareJID(account), now: start + time)
        guard case .step(let id, nil) = move else { throw CancellationError() }
        return id
    }

    private func show(_ id: String) {
        let stage = CommandRuns.Stage(form: DataForm(.form, []), isLast: true) { _, _, _ in }
        _ = runs.show(stage, in: id, now: start)
    }

    @Test("An account's oldest run gives way, unless all of them are busy")
    func perAccount() throws {
        let ids = try (0..<CommandRuns.perAccount).map { _ in try begin("a@b.example") }
        #expect(throws: StanzaError.self) { try begin("a@b.example") }
        show(ids[3])
        show(ids[5])
        _ = try begin("a@b.example")
        runs.refuse(ids[3], mayTryAgain: true, now: start)
        #expect(runs.count == CommandRuns.perAccount)
        for id in ids { runs.end(id) }
        #expect(runs.count == 1)
    }

    @Test("One domain, and all of them, have so many; those that are over make room")
    func limits() throws {
        for number in 0..<CommandRuns.perDomain { _ = try begin("a\(number)@b.example") }
        #expect(throws: StanzaError.self) { try begin("a@b.example") }
        var domain = 0
        while runs.count < CommandRuns.most {
            domain += 1
            for number in 0..<16 { _ = try begin("a\(number)@b\(domain).example") }
        }
        #expect(throws: StanzaError.self) { try begin("a@c.example") }
        _ = try begin("a@b.example", after: CommandRuns.life)
        #expect(runs.count == 1)
    }
}
