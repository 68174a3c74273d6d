// Apps of the configuration: what is wrong with them, and what becomes of them.

import Foundation
import HTTPClient
import Options
import TLS
import Testing

@testable import PushRelay

@Suite struct ProviderConfigurationTests {
    static let good = """
        push:
          contact: mailto:admin@example.org
          apps:
            - {name: chat, provider: apns, topic: org.example.chat, team_id: TEAMID1234,
               key_id: ABCDEF1234, key_file: /k/production.p8}
            - {name: chat, provider: apns, topic: org.example.chat, team_id: TEAMID1234,
               key_id: ABCDEF1235, key_file: /k/sandbox.p8, environment: sandbox}
            - {name: droid, provider: fcm, service_account_file: /k/account.json,
               url: "http://127.0.0.1:9/", token_url: "http://127.0.0.1:9/token"}
            - {name: droid2, provider: fcm, service_account_file: /k/account.json, default: true}
            - {name: site, provider: web_push}
        """

    static func read(_ path: String) throws -> [UInt8] {
        switch path {
        case "/k/production.p8", "/k/sandbox.p8": try Keys.fresh().pem()
        case "/k/account.json": try FCMTests.file()
        default: throw PushCredentialError(subject: path, "No such file or directory")
        }
    }

    @Test("Records become providers, found by kind, name and environment")
    func providers() throws {
        let (options, problem) = try options(Self.good)
        #expect(problem == nil)
        let memory = PlayedMemory()
        let providers = try PushProviders(
            options.records.value, contact: options.contact.value, memory: memory,
            read: Self.read)
        #expect(providers.apps.map(\.name) == ["chat", "chat", "droid", "droid2", "site"])
        let production = try #require(providers.app(.apns, named: "chat"))
        #expect(production.environment == "production")
        let sandbox = try #require(providers.app(.apns, named: "chat", environment: "sandbox"))
        #expect(sandbox.environment == "sandbox")
        #expect(providers.other(than: production)?.environment == "sandbox")
        #expect(providers.other(than: sandbox)?.environment == "production")
        #expect(providers.app(.apns)?.name == "chat")
        #expect(providers.app(.fcm)?.name == "droid2")
        #expect(providers.app(.fcm, named: "droid", environment: "sandbox")?.name == "droid")
        #expect(providers.app(.fcm, named: "chat") == nil)
        #expect(providers.kind(ofApp: "chat") == .apns)
        #expect(providers.kind(ofApp: nil) == .fcm)
        #expect(providers.kind(ofApp: "nobody") == nil)
        for app in providers.apps {
            let text = String(describing: app) + String(reflecting: app)
            for secret in ["PRIVATE", "ABCDEF1234", "push@kinglet-test", "account.json"] {
                #expect(!text.contains(secret))
            }
        }
        let droid = try #require(providers.app(.fcm, named: "droid"))
        #expect(providers.other(than: droid) == nil)
        #expect(
            try droid.provider.authorization(at: now)?.request.url == "http://127.0.0.1:9/token")
        for kind in [ProviderKind.webPush, .unifiedPush, .ntfy, .gotify] {
            #expect(providers.own(kind)?.kind == kind)
        }
        #expect(providers.own(.fcm) == nil)
        // Each has a key of its own, and the next start finds it again.
        #expect(memory.names == ["vapid", "vapid.app.site"])
        let again = try PushProviders([], contact: nil, memory: memory)
        #expect(again.webPushKey == providers.webPushKey)
    }

    static let bad: [(String, String)] = [
        ("{name: A b, provider: fcm, service_account_file: /f}", "name: expected 1 to 64"),
        ("{name: a, provider: icq}", "provider"),
        ("{provider: fcm, service_account_file: /f}", "name is missing"),
        ("{name: a, provider: fcm}", "service_account_file is missing"),
        ("{name: a, provider: fcm, service_account_file: f}", "expected an absolute path"),
        ("{name: a, provider: fcm, service_account_file: /f, topic: x}", "fcm does not use it"),
        ("{name: a, provider: fcm, service_account_file: /f, url: ftp://x}", "url: expected"),
        (
            "{name: a, provider: fcm, service_account_file: /f, url: 'http://x.example'}",
            "url: expected"
        ),
        ("{name: a, provider: web_push, url: https://x.example}", "a subscription names"),
        ("{name: a, provider: web_push, contact: me}", "contact: expected mailto:"),
        ("{name: a, provider: apns, key_file: /f, topic: x, team_id: TEAMID1234}", "key_id"),
        (
            "{name: a, provider: apns, key_file: /f, topic: x, team_id: short, key_id: ABCDEF1234}",
            "team_id: expected 10 letters and digits"
        ),
        (
            "{name: a, provider: apns, key_file: /f, topic: x, team_id: TEAMID1234, "
                + "key_id: ABCDEF1234, environment: moon}", "environment"
        ),
        (
            "{name: a, provider: web_push}\n    - {name: a, provider: web_push}",
            "there are two named a"
        ),
        (
            "{name: a, provider: web_push}\n    - {name: a, provider: fcm, "
                + "service_account_file: /f}", "a is an app of web_push as well"
        ),
        (
            "{name: a, provider: web_push, default: true}\n    - {name: b, provider: web_push, "
                + "default: yes}", "a is the default of web_push already"
        ),
    ]

    @Test("What is wrong is told with its line", arguments: bad)
    func problems(record: String, problem: String) throws {
        let (_, text) = try options("push:\n  apps:\n    - \(record)\n")
        #expect(text?.contains(problem) == true, "\(text ?? "nothing")")
        #expect(text?.contains("kinglet.yaml:") == true)
    }

    @Test("A file that cannot be used is named, and nothing of it is told")
    func files() throws {
        let (options, _) = try options(Self.good)
        for (path, content) in [
            ("/k/sandbox.p8", "hunter2"), ("/k/account.json", "{\"private_key\":\"hunter2\"}"),
        ] {
            let error = #expect(throws: PushCredentialError.self) {
                _ = try PushProviders(
                    options.records.value, contact: nil, memory: PlayedMemory()
                ) { try $0 == path ? Array(content.utf8) : Self.read($0) }
            }
            let text = try #require(error).description
            #expect(text.contains("push.apps: "))
            #expect(!text.contains("hunter2"))
        }
        let missing = #expect(throws: PushCredentialError.self) {
            _ = try PushProviders(options.records.value, contact: nil, memory: PlayedMemory())
        }
        #expect(
            missing?.description
                == "push.apps: chat: key_file: /k/production.p8: No such file or directory")
    }

    @Test("A secret that everybody can read is refused, and so is what is no small file")
    func secretFiles() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "kinglet-push-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        func file(_ content: Data, _ mode: Int) throws -> String {
            let path = folder.appendingPathComponent(UUID().uuidString).path
            #expect(
                FileManager.default.createFile(
                    atPath: path, contents: content, attributes: [.posixPermissions: mode]))
            return path
        }
        let good = Data("secret".utf8)
        #expect(try SecretFile.read(file(good, 0o600)) == Array(good))
        #expect(try SecretFile.read(file(good, 0o640)) == Array(good))
        for bad in [
            try file(good, 0o644), try file(good, 0o660), try file(Data(), 0o600),
            try file(Data(count: 70_000), 0o600), folder.path, "/dev/zero", "/nowhere",
        ] {
            #expect(throws: PushCredentialError.self) { _ = try SecretFile.read(bad) }
        }
    }

    @Test("Each provider's fields are declared once, with the help of all that have them")
    func fields() {
        let fields = PushAppOptions.fields
        #expect(Set(fields.map(\.name)).count == fields.count)
        let file = fields.first { $0.name == "key_file" }
        #expect(file?.help.contains("apns: ") == true)
        #expect(file?.help.contains("web_push: ") == true)
        for type in AllProviders.configured {
            for field in type.fields { #expect(!field.required, "\(field.name)") }
        }
    }
}
