// Tests of targets that somebody asks for: each step is told, and nothing else changes.

import Addresses
import HTTPClient
import Synchronization
import Testing

@testable import PushRelay

@Suite("Trying whether targets can be woken")
struct PushTestTests {
    private func run(_ relay: PlayedRelay, target: Int64? = nil) async throws -> PushTestProgress {
        let test = try relay.service.makeTest(of: PlayedRelay.alice, target: target)
        #expect(!test.progress(known: 0).hasEnded)
        await test.run()
        return test.progress(known: 0)
    }

    @Test("Every step is told, and nothing is noted")
    func good() async throws {
        let relay = try PlayedRelay()
        let id = try relay.add().id
        let progress = try await run(relay)
        #expect(progress.isGood && progress.hasEnded && progress.reached == [id])
        #expect(progress.steps.map(\.step) == [.registration, .credential, .request, .answer])
        #expect(progress.steps.allSatisfy { $0.ok && $0.target == id && $0.reason == nil })
        #expect(progress.steps[2].value == "ntfy.example")
        #expect(progress.steps[2].bytes == relay.transport.sent.first?.request.body.count)
        #expect(progress.steps[3].outcome == "accepted")
        #expect(try relay.books() == nil)
        #expect(try relay.service.list(of: nil).targets.first?.lastSent == nil)
        try relay.close()
    }

    @Test("Steps that are known are not told again")
    func known() async throws {
        let relay = try PlayedRelay()
        try relay.add()
        let test = try relay.service.makeTest(of: PlayedRelay.alice, target: nil)
        await test.run()
        #expect(test.progress(known: 3).steps.map(\.step) == [.answer])
        #expect(test.progress(known: 9).steps.isEmpty && test.progress(known: -1).steps.count == 4)
        try relay.close()
    }

    @Test("All targets are tried, and the one that fails is told with its reason")
    func failing() async throws {
        let relay = try PlayedRelay { request in
            let text = String(decoding: request.request.body, as: UTF8.self)
            return text.contains("wrong")
                ? .success(answer(401, "{\"code\":40101}"))
                : .success(answer(200, "{\"id\":\"a\"}"))
        }
        let good = try relay.add("right").id
        let bad = try relay.add("wrong").id
        let progress = try await run(relay)
        #expect(!progress.isGood && progress.hasEnded && progress.reached == [good])
        let failed = progress.steps.filter { !$0.ok }
        #expect(failed.map(\.target) == [bad] && failed.first?.step == .answer)
        #expect(failed.first?.reason == .credentialRefused && failed.first?.code == "40101")
        #expect(try await run(relay, target: good).isGood)
        try relay.close()
    }

    @Test("What does not get there is told")
    func unreachable() async throws {
        let relay = try PlayedRelay { _ in
            .failure(HTTPError(code: .timeout, host: "ntfy.example", message: "late"))
        }
        try relay.add()
        let progress = try await run(relay)
        #expect(!progress.isGood && progress.steps.last?.reason == .timeout)
        try relay.close()
    }

    @Test("A target that is disabled is not tried")
    func disabled() async throws {
        let relay = try PlayedRelay()
        let id = try relay.add().id
        try relay.note(id)
        try relay.giveUp(id, disables: true, .unregistered)
        let progress = try await run(relay)
        #expect(!progress.isGood && progress.steps.map(\.step) == [.registration])
        #expect(progress.steps.first?.reason == .unregistered && relay.transport.sent.isEmpty)
        try relay.close()
    }

    @Test("An app that is not configured any more is told")
    func noApp() async throws {
        let relay = try PlayedRelay()
        let row = PushTargetRow(
            provider: .fcm, app: "chat", account: PlayedRelay.alice, circuit: "fcm:chat",
            fingerprint: [1], secret: [], created: 1, refreshed: 1)
        _ = try relay.insert(row, PushTarget("token"))
        let progress = try await run(relay)
        #expect(progress.steps.last?.step == .credential && progress.steps.last?.reason == .noApp)
        try relay.close()
    }

    @Test("A test needs targets")
    func none() async throws {
        let relay = try PlayedRelay()
        let id = try relay.add().id
        let account = PlayedRelay.alice
        #expect(throws: PushRefused.self) {
            try relay.service.makeTest(of: PlayedRelay.bob, target: nil)
        }
        #expect(throws: PushRefused.self) {
            try relay.service.makeTest(of: account, target: id + 1)
        }
        try relay.close()
    }
}
