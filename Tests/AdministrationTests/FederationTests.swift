// Rules about other servers on data at rest.

import Engine
import Testing

@testable import Administration

@Suite("What an administrator can do about other servers")
struct FederationAdministrationTests {
    private func change(
        _ fixture: Fixture, _ change: FederationRuleChange, _ domain: String,
        _ direction: FederationDirection? = nil
    ) -> AdministrationAnswer {
        fixture.administrator.perform(
            AdministrationRequest(
                .changeFederation, domain: domain, change: change, direction: direction))
    }

    private func commands(_ fixture: Fixture) -> [String] {
        let rules = fixture.perform(.listFederation).federation?.rules ?? []
        return rules.filter { $0.source == .command }.map {
            "\($0.domain) \($0.direction.rawValue) \($0.isAllowed)"
        }
    }

    @Test("Rules are given, listed and removed")
    func rules() throws {
        let fixture = try Fixture()
        let allowed = change(fixture, .allow, "Away.Example").federationChange
        #expect(allowed?.domain == "away.example" && allowed?.policy == "allowlist")
        #expect(allowed?.outgoing == true && allowed?.incoming == true)
        let denied = change(fixture, .deny, "away.example", .incoming).federationChange
        #expect(denied?.outgoing == true && denied?.incoming == false)
        #expect(commands(fixture) == ["away.example out true", "away.example in false"])
        #expect(change(fixture, .forget, "away.example").error == nil)
        #expect(commands(fixture).isEmpty)
        try fixture.close()
    }

    @Test("What is no other server's domain is refused with a sentence")
    func refused() throws {
        let fixture = try Fixture()
        for text in ["", "*.", "two words", "example.net"] {
            let error = change(fixture, .allow, text).error
            #expect(error?.contains(text == "example.net" ? "served here" : "no domain") == true)
        }
        #expect(fixture.perform(.changeFederation).error != nil)
        try fixture.close()
    }

    @Test("A test needs the running server, and another server's domain")
    func tests() throws {
        let stopped = try Fixture()
        let error = stopped.perform(.testFederation, domain: "away.example").error
        #expect(error?.contains("not running") == true)
        try stopped.close()
        let running = try Fixture(isRunning: true)
        #expect(
            running.perform(.testFederation, domain: "example.net").error?.contains("served here")
                == true)
        #expect(running.perform(.showFederationTest).error != nil)
        try running.close()
    }

    @Test("Every failure belongs to a step")
    func steps() {
        for reason in FederationFailureReason.allCases {
            let entry = FederationTest.Entry(
                step: .failed(FederationFailure(reason, "text")), milliseconds: 1)
            let step = FederationTestStep(entry, after: .authentication)
            #expect(!step.ok && step.reason == reason.rawValue && step.text == "text")
        }
    }

    @Test("The status tells what waits")
    func status() throws {
        let fixture = try Fixture()
        let federation = fixture.perform(.status).status?.federation
        #expect(federation?.policy == "allowlist" && federation?.queuedStanzas == 0)
        #expect(federation?.outgoing == nil && federation?.unreachablePushDomains == [])
        try fixture.close()
    }
}
