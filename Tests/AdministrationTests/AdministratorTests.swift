import Engine
import Features
import Foundation
import Logging
import Options
import Prometheus
import Storage
import Testing

@testable import Administration

/// A server's data at rest, in a directory of its own.
final class Fixture {
    let host: Engine.Host
    let administrator: Administrator
    private let directory: URL

    init(isRunning: Bool = false) throws {
        directory = FileManager.default.temporaryDirectory
            .appendingPathComponent("administrator-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        let options = OptionSet(
            try ConfigurationDocument.parse("storage: {scram_iterations: 4096}", file: "test.yaml"))
        let builder = HostBuilder(options: options, registry: Registry())
        for feature in AllFeatures.list { builder.add(feature) }
        try options.finish()
        host = try Engine.Host(
            builder, domains: ["example.org", "example.net"],
            databaseFile: directory.appendingPathComponent("kinglet.db").path,
            loginSecret: Array(repeating: 1, count: 32), eventLoops: [],
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        administrator = Administrator(
            host: host, isRunning: isRunning,
            status: { ServerStatus(running: false, version: "1", domains: ["example.org"]) },
            metrics: { "page" })
    }

    func perform(
        _ operation: AdministrationRequest.Operation, _ jid: String? = nil,
        resource: String? = nil, password: String? = nil, domain: String? = nil
    ) -> AdministrationAnswer {
        administrator.perform(
            AdministrationRequest(
                operation, jid: jid, resource: resource, password: password, domain: domain))
    }

    func close() throws {
        try host.database.close()
        try FileManager.default.removeItem(at: directory)
    }
}

@Suite("What an administrator can do")
struct AdministratorTests {
    @Test("Users are added, listed, shown, disabled, enabled and removed")
    func users() throws {
        let fixture = try Fixture()
        #expect(fixture.perform(.addUser, "alice@example.org", password: "secret").error == nil)
        #expect(fixture.perform(.addUser, "Bob@Example.NET", password: "secret").error == nil)
        #expect(
            fixture.perform(.listUsers).users?.map(\.jid) == [
                "bob@example.net", "alice@example.org",
            ])
        #expect(
            fixture.perform(.listUsers, domain: "example.org").users?.map(\.jid) == [
                "alice@example.org"
            ])
        #expect(fixture.perform(.disableUser, "alice@example.org").error == nil)
        #expect(fixture.perform(.showUser, "alice@example.org").users?.first?.disabled == true)
        #expect(fixture.perform(.enableUser, "alice@example.org").error == nil)
        #expect(fixture.perform(.showUser, "alice@example.org").users?.first?.disabled == false)
        #expect(fixture.perform(.setPassword, "alice@example.org", password: "other").error == nil)
        #expect(fixture.perform(.removeUser, "alice@example.org").error == nil)
        #expect(fixture.perform(.status).status?.users == 1)
        try fixture.close()
    }

    @Test("A bare name is in the first domain")
    func bareName() throws {
        let fixture = try Fixture()
        #expect(fixture.perform(.addUser, "alice", password: "secret").error == nil)
        #expect(fixture.perform(.showUser, "alice@example.org").users?.count == 1)
        try fixture.close()
    }

    @Test(
        "What cannot be done is refused in a sentence that names it",
        arguments: [
            (.addUser, "alice@example.com", "secret", "example.com is not a domain"),
            (.addUser, "al ice@example.org", "secret", "al ice"),
            (.addUser, "", "secret", "which user?"),
            (.addUser, "carol@example.org", "", "a password is needed"),
            (.addUser, "carol@example.org", "a\u{7}b", "cannot be used"),
            (.addUser, "alice@example.org", "secret", "alice@example.org exists already"),
            (.setPassword, "nobody@example.org", "secret", "no user nobody@example.org"),
            (.removeUser, "nobody@example.org", nil, "no user nobody@example.org"),
            (.disableUser, "nobody@example.org", nil, "no user nobody@example.org"),
            (.showUser, "nobody@example.org", nil, "no user nobody@example.org"),
            (.listSessions, "nobody@example.org", nil, "no user nobody@example.org"),
            (.closeSessions, "nobody@example.org", nil, "no user nobody@example.org"),
            (.listUsers, nil, "..", ".."),
        ] as [(AdministrationRequest.Operation, String?, String?, String)])
    func refusals(
        operation: AdministrationRequest.Operation, jid: String?, text: String?, words: String
    ) throws {
        let fixture = try Fixture()
        #expect(fixture.perform(.addUser, "alice@example.org", password: "secret").error == nil)
        let answer =
            operation == .listUsers
            ? fixture.perform(operation, domain: text)
            : fixture.perform(operation, jid, password: text)
        #expect(answer.error?.contains(words) == true, "\(answer.error ?? "no error")")
        if let text, text.count > 2 { #expect(answer.error?.contains(text) == false) }
        try fixture.close()
    }

    @Test("One user is shown with what is kept, and without a server nobody is online")
    func show() throws {
        let fixture = try Fixture()
        #expect(fixture.perform(.addUser, "alice@example.org", password: "secret").error == nil)
        try fixture.host.database.writeNow { connection in
            for contact in ["bob", "carol"] {
                try connection.execute(
                    "INSERT INTO roster_items VALUES (?, ?, '', '', 0, 1, NULL)",
                    .text("alice@example.org"), .text("\(contact)@example.net"))
            }
        }
        let user = try #require(fixture.perform(.showUser, "alice").users?.first)
        #expect(user.sizes?["roster_items"] == 2)
        #expect(user.sizes?["archive_messages"] == 0)
        #expect(user.sizes?["blocked_addresses"] == 0)
        #expect(user.online == nil && user.sessions == nil && user.lastLogin == nil)
        #expect(fixture.perform(.listUsers).users?.first?.sizes == nil, "a list is cheap")
        #expect(
            fixture.perform(.listSessions, "alice")
                == AdministrationAnswer(jid: "alice@example.org"))
        let refused = fixture.perform(.closeSessions, "alice")
        #expect(refused.error?.contains("does not run") == true && refused.sessions == nil)
        try fixture.close()
    }

    @Test("Where a server runs, a user without sessions has none, and none that could be closed")
    func noSessions() throws {
        let fixture = try Fixture(isRunning: true)
        #expect(fixture.perform(.addUser, "alice@example.org", password: "secret").error == nil)
        #expect(fixture.perform(.showUser, "alice").users?.first?.sessions == [])
        #expect(fixture.perform(.listSessions, "alice").sessions == [])
        #expect(fixture.perform(.closeSessions, "alice").sessions == [])
        let refused = fixture.perform(.closeSessions, "alice", resource: "phone")
        #expect(refused.error == "alice@example.org has no session phone")
        let broken = fixture.perform(.closeSessions, "alice", resource: "a\u{7}b")
        #expect(broken.error != nil && broken.sessions == nil)
        try fixture.close()
    }

    @Test("Who waits for what never comes gives up in time")
    func patience() {
        #expect(Waiting<Int>().wait(until: .now()) == nil)
        let brought = Waiting<Int>()
        brought.finish(7)
        #expect(brought.wait(until: .now()) == 7)
    }

    @Test("Requests and answers survive their way through JSON")
    func coding() throws {
        let request = AdministrationRequest(
            .addUser, jid: "a@b", password: "p", isAdministrator: true)
        let again = try JSONDecoder().decode(
            AdministrationRequest.self, from: JSONEncoder().encode(request))
        #expect(again == request)
        let fixture = try Fixture()
        let answer = fixture.perform(.status)
        #expect(
            try JSONDecoder().decode(AdministrationAnswer.self, from: JSONEncoder().encode(answer))
                == answer)
        #expect(fixture.perform(.metrics).metrics == "page")
        try fixture.close()
    }
}
