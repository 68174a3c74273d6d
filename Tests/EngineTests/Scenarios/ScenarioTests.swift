import Addresses
import Testing
import XML

@Suite("Scenarios, without a socket")
struct ScenarioTests {
    @Test("There are scenarios to run")
    func there() { #expect(Scenario.names().count >= 20) }

    @Test("A scenario", arguments: Scenario.names())
    func scenario(file: String) async throws {
        let scenario = try Scenario(file: file)
        try await withServer(domains: ["example.test"]) { server in
            var clients: [String: TestClient] = [:]
            for step in scenario.steps {
                do {
                    try await perform(step, server, &clients, "\(file):\(step.line)")
                } catch {
                    Issue.record("\(file):\(step.line): \(error)")
                    return
                }
            }
        }
    }

    private func perform(
        _ step: Scenario.Step, _ server: TestServer, _ clients: inout [String: TestClient],
        _ place: String
    ) async throws {
        let actor = step.actor
        let name = actor.split(separator: "/").first.map(String.init) ?? actor
        let address = "\(name)@example.test"
        switch step.action {
        case .exists:
            try await server.addAccount(name, domain: "example.test")
            return
        case .online(let resource):
            clients[actor] = try await server.online("\(address)/\(resource)")
            return
        case .connected(let resource):
            clients[actor] = try await server.login("\(address)/\(resource)")
            return
        default: break
        }
        let client = try #require(clients[actor], "\(place): who is \(actor)?")
        switch step.action {
        case .sends(let text): await client.send(text)
        case .receives(let expected):
            let element = try await client.next()
            if let difference = element.difference(from: expected) {
                Issue.record("\(place): \(difference)")
            }
        case .receivesNothing:
            let rest = try await client.pending()
            #expect(rest.isEmpty, "\(place)")
        case .ignores: _ = try await client.pending()
        case .leaves:
            await client.send("</stream:stream>")
            try await client.expectEnd()
        case .vanishes: await client.drop()
        case .exists, .online, .connected: break
        }
    }
}
