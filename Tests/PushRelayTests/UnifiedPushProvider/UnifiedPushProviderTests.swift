// Registrations and posts as the provider answers them.

import Addresses
import Engine
import Synchronization
import Testing
import XMPP

@testable import PushRelay

@Suite struct UnifiedPushProviderTests {
    private func with(
        _ played: PlayedEndpoints, _ body: (PlayedEndpoints) async throws -> Void
    ) async throws {
        defer { played.stop() }
        try await body(played)
    }

    // MARK: Registrations

    @Test("A client of this server gets an endpoint, and is told for how long")
    func registration() async throws {
        try await with(PlayedEndpoints()) { played in
            let answer = try played.register().get()
            #expect(answer.endpoint.hasPrefix("https://example.org:5443/push/"))
            #expect(answer.endpoint.utf8.count <= 1000)
            #expect(answer.expiration == Clock.timestamp(1_780_000_000 + 7 * 86_400))
            let token = String(answer.endpoint.dropFirst("https://example.org:5443/push/".count))
            let grant = try #require(EndpointToken.open(token, with: played.provider.ring))
            #expect(grant.client.description == "romeo@example.org/phone")
            #expect(grant.application == [UInt8](repeating: 7, count: 32))
        }
    }

    @Test(
        "A registration that is none of the draft's is refused",
        arguments: [
            "", "application='\(PlayedEndpoints.digest)'", "instance='\(PlayedEndpoints.digest)'",
            "application='' instance=''", "application='x' instance='\(PlayedEndpoints.digest)'",
            "application='\(PlayedEndpoints.digest)' instance='AAAA'",
        ])
    func malformed(attributes: String) async throws {
        try await with(PlayedEndpoints()) { played in
            let answer = try played.register("romeo@example.org/phone", attributes)
            #expect(throws: StanzaError.self) { try answer.get() }
            if case .failure(let error) = answer { #expect(error.condition == .badRequest) }
        }
    }

    @Test(
        "Only clients register, and only where they may",
        arguments: [
            ("local", "romeo@example.org/phone", nil),
            ("local", "romeo@elsewhere.example/phone", .forbidden),
            ("local", "romeo@push.example.org/phone", .forbidden),
            ("anybody", "romeo@elsewhere.example/phone", nil),
            ("anybody", "romeo@elsewhere.example", .badRequest),
            ("local", "romeo@example.org", .badRequest), ("local", "example.org/x", .badRequest),
        ] as [(String, String, StanzaError.Condition?)])
    func audience(option: String, from: String, condition: StanzaError.Condition?) async throws {
        try await with(PlayedEndpoints("push.unified_push=\(option)")) { played in
            switch try played.register(from) {
            case .success: #expect(condition == nil)
            case .failure(let error): #expect(error.condition == condition)
            }
        }
    }

    @Test("A get is no registration; with `off` there is no such service")
    func others() async throws {
        try await with(PlayedEndpoints()) { played in
            #expect(throws: StanzaError.self) { try played.register(type: "get").get() }
            #expect(played.provider.isOffered)
        }
        try await with(PlayedEndpoints("push.unified_push=off")) { played in
            #expect(!played.provider.isOffered)
        }
    }

    @Test("The URL is the configured one, or that of the domain and the port")
    func base() async throws {
        let url = "push.public_url=https://chat.example.net/up/"
        try await with(PlayedEndpoints(url)) { played in
            let endpoint = try played.register().get().endpoint
            #expect(endpoint.hasPrefix("https://chat.example.net/up/push/"))
        }
        try await with(PlayedEndpoints(port: 443)) { played in
            let endpoint = try played.register().get().endpoint
            #expect(endpoint.hasPrefix("https://example.org/push/"))
            let base = played.provider.base("münchen.example")
            #expect(base == "https://xn--mnchen-3ya.example")
        }
        try await with(PlayedEndpoints(port: nil)) { played in
            guard case .failure(let error) = try played.register() else {
                Issue.record("there is no port yet")
                return
            }
            #expect(error.condition == .internalServerError && error.kind == .wait)
        }
    }

    @Test(
        "A public URL has to be one of HTTPS",
        arguments: [
            "http://example.org", "example.org", "https://", "https://a?b", "https://a#b",
            "https://u:p@a", "ftp://a", "https://" + String(repeating: "a", count: 300),
        ])
    func badURL(url: String) {
        #expect(EndpointOptions.problem(ofURL: url) != nil)
    }

    @Test("An address that makes an endpoint too long is refused (UnifiedPush: 1000 bytes)")
    func long() async throws {
        try await with(PlayedEndpoints()) { played in
            let short = "r@example.org/" + String(repeating: "x", count: 500)
            #expect(try played.register(short).get().endpoint.utf8.count <= 1000)
            let token = try played.token(short)
            #expect(EndpointToken.open(token, with: played.provider.ring) != nil)
            let long = "r@example.org/" + String(repeating: "x", count: 900)
            guard case .failure(let error) = try played.register(long) else {
                Issue.record("too long")
                return
            }
            #expect(error.condition == .notAcceptable)
        }
    }

    // MARK: Posts

    @Test("What no key of ours has sealed is 404, whatever is posted")
    func unknown() async throws {
        try await with(PlayedEndpoints()) { played in
            let token = try played.token()
            for text in ["", "x", String(token.dropLast()) + "!", String(token.dropLast(4))] {
                #expect(await played.post(text, [1]) == 404)
                #expect(await played.post(text, []) == 404)
            }
            #expect(played.count(.unknown) == 8)
        }
    }

    @Test("Offline is 503 with a time for the next try; without an account 404")
    func offline() async throws {
        try await with(PlayedEndpoints()) { played in
            let token = try played.token()
            #expect(await played.post(token) == 404)
            #expect(played.count(.gone) == 1)
            try await played.addAccount("romeo@example.org")
            let answer = await played.provider.post(token, [1])
            #expect(answer.status == 503)
            #expect(answer.headers.contains { $0 == ("Retry-After", "60") })
            #expect(played.count(.offline) == 1)
        }
    }

    @Test("Empty is 400, too long 413, after its time 404")
    func bounds() async throws {
        try await with(PlayedEndpoints("push.endpoint_life=1h")) { played in
            try await played.addAccount("romeo@example.org")
            let token = try played.token()
            let most = [UInt8](repeating: 1, count: 4096)
            #expect(await played.post(token, []) == 400)
            #expect(await played.post(token, most) == 503)
            #expect(await played.post(token, most + [1]) == 413)
            played.pass(seconds: 3599)
            #expect(await played.post(token) == 503)
            played.pass(seconds: 1)
            #expect(await played.post(token) == 404)
            #expect(played.count(.expired) == 1)
        }
    }

    @Test("One endpoint gets so many in a minute, also with a new token; then 429")
    func rate() async throws {
        try await with(PlayedEndpoints("limits.push_endpoint_rate=6")) { played in
            try await played.addAccount("romeo@example.org")
            for _ in 0..<3 {
                let fresh = try played.token()
                #expect(await played.post(fresh) == 503)
            }
            let token = try played.token()
            for _ in 0..<3 { #expect(await played.post(token) == 503) }
            let answer = await played.provider.post(token, [1])
            #expect(answer.status == 429)
            #expect(answer.headers.contains { $0 == ("Retry-After", "10") })
            let fresh = try played.token()
            #expect(await played.post(fresh) == 429)
            let other = try played.token("romeo@example.org/tablet")
            #expect(await played.provider.post(other, [1]).status == 503)
            played.pass(seconds: 10)
            #expect(await played.post(token) == 503)
        }
    }

    @Test("Who may register no more has no endpoints either")
    func nobody() async throws {
        let keys = PlayedEndpoints.KeyFile()
        var token = ""
        try await with(PlayedEndpoints("push.unified_push=anybody", keys: keys)) { played in
            token = try played.token("romeo@elsewhere.example/phone")
        }
        try await with(PlayedEndpoints(keys: keys)) { played in
            #expect(await played.post(token) == 404)
        }
    }

    @Test("Endpoints outlive a restart and the next key; not the loss of the keys")
    func restart() async throws {
        let keys = PlayedEndpoints.KeyFile()
        var token = ""
        try await with(PlayedEndpoints("push.endpoint_life=90d", keys: keys)) { played in
            token = try played.token()
        }
        try await with(PlayedEndpoints(keys: keys)) { played in
            try await played.addAccount("romeo@example.org")
            #expect(await played.post(token) == 503)
            played.pass(seconds: 31 * 86_400)
            try played.provider.rotate()
            #expect(played.provider.ring.keys.count == 2)
            #expect(await played.post(token) == 503)
            #expect(keys.content.withLock { $0 } == played.provider.ring.file)
        }
        try await with(PlayedEndpoints()) { played in
            #expect(await played.post(token) == 404)
        }
    }

    @Test("A key that cannot be saved seals nothing")
    func unsaved() async throws {
        let keys = PlayedEndpoints.KeyFile()
        try await with(PlayedEndpoints(keys: keys)) { played in
            let before = played.provider.ring
            keys.isFull.withLock { $0 = true }
            played.pass(seconds: 40 * 86_400)
            #expect(throws: CancellationError.self) { try played.provider.rotate() }
            #expect(played.provider.ring == before)
            _ = try played.token()
            keys.isFull.withLock { $0 = false }
            try played.provider.rotate()
            #expect(played.provider.ring.keys.count == 2)
        }
    }

    // MARK: Answers

    @Test(
        "What a client's answer means for the sender",
        arguments: [
            ("result", "", 201), ("error", "item-not-found", 404),
            ("error", "feature-not-implemented", 404), ("error", "service-unavailable", 503),
            ("error", "recipient-unavailable", 503), ("error", "remote-server-timeout", 503),
            ("error", "resource-constraint", 503), ("error", "internal-server-error", 500),
            ("error", "forbidden", 500), ("error", "no-such-condition", 500), ("error", "", 500),
        ])
    func mapping(type: String, condition: String, status: Int) throws {
        let error =
            condition.isEmpty
            ? "" : "<error type='cancel'><\(condition) xmlns='\(Namespaces.stanzaErrors)'/></error>"
        let text = """
            <iq xmlns='jabber:client' from='a@b/c' to='push.b' type='\(type)' id='1'>\(error)</iq>
            """
        let stanza = try #require(Stanza(routed: Array(text.utf8)))
        let outcome = UnifiedPushProvider.outcome(stanza)
        let answer = EndpointAnswer(outcome, message: "https://b/push/message/1", pause: 1)
        #expect(answer.status == status)
        #expect(answer.headers.contains { $0 == ("TTL", "0") } == (status == 201))
        #expect(answer.headers.contains { $0.0 == "Location" } == (status == 201))
    }

    @Test("A push server is told from another by one answer, the same for all tokens")
    func discovery() {
        #expect(EndpointAnswer.discovery.status == 200)
        let body = String(decoding: EndpointAnswer.discovery.body, as: UTF8.self)
        #expect(body == #"{"unifiedpush":{"version":1}}"#)
    }
}
