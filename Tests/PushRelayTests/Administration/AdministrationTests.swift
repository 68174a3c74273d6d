// What an administrator sees of the push relay, and can do about it.

import Addresses
import Engine
import Foundation
import Storage
import Testing

@testable import PushRelay

@Suite("What an administrator can do about pushes")
struct PushAdministrationTests {
    // MARK: Targets

    @Test("Targets are added, replaced, listed and removed")
    func targets() throws {
        let relay = try PlayedRelay()
        let added = try relay.service.add(
            NewPushTarget(.ntfy, url: "https://ntfy.example/topic"), for: PlayedRelay.alice)
        #expect(added.isNew && added.target.server == "https://ntfy.example")
        let again = try relay.service.add(
            NewPushTarget(
                .ntfy, url: "https://ntfy.example/topic", secret: "tk_1", resource: "phone",
                isAlways: true), for: PlayedRelay.alice)
        #expect(!again.isNew && again.target.id == added.target.id)
        #expect(again.target.device == "phone" && again.target.always)
        let other = try relay.add(for: PlayedRelay.bob)
        let all = try relay.service.list(of: nil)
        #expect(all.targets.map(\.id) == [added.target.id, other.id] && !all.hasMore)
        #expect(try relay.service.list(of: PlayedRelay.bob).targets == [other])
        #expect(throws: PushRefused.self) {
            try relay.service.remove(other.id, of: PlayedRelay.alice)
        }
        #expect(try relay.service.remove(other.id, of: PlayedRelay.bob).id == other.id)
        #expect(try relay.service.list(of: PlayedRelay.bob).targets.isEmpty)
        try relay.close()
    }

    @Test("A target that is added again is enabled again")
    func enabled() throws {
        let relay = try PlayedRelay()
        let id = try relay.add().id
        try relay.note(id)
        try relay.giveUp(id, disables: true, .unregistered)
        let disabled = try relay.service.list(of: PlayedRelay.alice).targets.first
        #expect(disabled?.disabled == "2026-05-28T20:26:40Z" && disabled?.reason == .unregistered)
        #expect(try relay.add().disabled == nil)
        try relay.close()
    }

    @Test("An account has as many targets as it may")
    func limit() throws {
        let relay = try PlayedRelay("limits.push_targets=2")
        for topic in ["a", "b"] { try relay.add(topic) }
        let new = NewPushTarget(.ntfy, url: "https://ntfy.example/c")
        #expect(try relay.refusal(new)?.contains("limits.push_targets") == true)
        #expect(try relay.refusal(new, for: PlayedRelay.bob) == nil)
        try relay.close()
    }

    @Test("What belongs to a target is kept where its provider looks for it")
    func parameters() throws {
        let relay = try PlayedRelay()
        let url = "https://push.example/server"
        for (kind, name) in [
            (ProviderKind.ntfy, Ntfy.tokenName), (.gotify, Gotify.tokenName),
        ] {
            let id = try relay.service.add(
                NewPushTarget(kind, url: url, secret: "Asecret"), for: PlayedRelay.alice
            ).target.id
            let row = try relay.host.database.readNow { try PushTargetStore.target($0, id) }
            let target = row.flatMap { try? relay.service.dispatcher().keys.target($0.secret) }
            #expect(target == PushTarget(url, [name: "Asecret"]))
        }
        #expect(try relay.refusal(NewPushTarget(.gotify, url: url))?.contains("token") == true)
        #expect(
            try relay.refusal(NewPushTarget(.ntfy, url: url, publicKey: "a"))?.contains("key")
                == true)
        #expect(
            try relay.refusal(NewPushTarget(.unifiedPush, url: url, secret: "a"))?
                .contains("p256dh") == true)
        #expect(try relay.refusal(NewPushTarget(.apns, url: url)) != nil)
        #expect(
            try relay.refusal(NewPushTarget(.ntfy, url: url, resource: "\u{0}"))?
                .contains("resource") == true)
        try relay.close()
    }

    @Test(
        "Hosts that are not on the internet are known in any notation",
        arguments: [
            "127.0.0.1", "127.1", "0x7f.1", "2130706433", "017700000001", "10.0.0.1", "0",
            "0.0.0.0",
            "192.168.0.1", "172.16.0.1", "169.254.0.1", "100.64.0.1", "224.0.0.1",
            "255.255.255.255",
            "[::1]", "[::]", "[fe80::1]", "[fd00::1]", "[::ffff:127.0.0.1]", "localhost",
            "localhost.", "a.localhost", "127.0.0.1.",
        ])
    func privateHosts(host: String) throws {
        #expect(PushService.isPrivate(host: host))
    }

    @Test(
        "Others are not",
        arguments: ["1.1.1.1", "[2606:4700::1111]", "ntfy.example", "local.example"])
    func publicHosts(host: String) {
        #expect(!PushService.isPrivate(host: host))
    }

    @Test("Targets in this network are refused unless that is allowed")
    func privateTargets() throws {
        let closed = try PlayedRelay()
        let open = try PlayedRelay("push.allow_private_targets=true")
        for url in ["http://ntfy.example/topic", "https://127.1/topic", "https://[::1]:8443/topic"]
        {
            let new = NewPushTarget(.ntfy, url: url)
            let refusal = try closed.refusal(new)
            #expect(refusal?.contains("push.allow_private_targets") == true)
            #expect(refusal?.contains(url) == false)
            #expect(try open.refusal(new) == nil)
        }
        try closed.close()
        try open.close()
    }

    @Test("Neither tokens nor URLs nor nodes are shown")
    func secrets() throws {
        let relay = try PlayedRelay()
        try relay.add("secrettopic")
        let token = String(repeating: "ab12", count: 16)
        let row = PushTargetRow(
            provider: .xmpp, account: PlayedRelay.alice, service: "push.example", node: token,
            circuit: "xmpp:push.example", fingerprint: [1], secret: [], created: 1, refreshed: 1)
        _ = try relay.insert(row, PushTarget("", ["options": "secretoptions"]))
        let device = PushTargetRow(
            provider: .apns, app: "chat", service: "owner", node: "n0de-n0de-n0de",
            domain: "example.org", circuit: "apns:chat", fingerprint: [2], secret: [], created: 1,
            refreshed: 1)
        _ = try relay.insert(device, PushTarget(token))
        let list = try relay.service.list(of: nil)
        #expect(list.targets.map(\.node) == [nil, "ab12ab…", "n0de-n…"])
        #expect(list.targets.map(\.service) == [nil, "push.example", nil])
        #expect(list.targets.map(\.domain) == [nil, nil, "example.org"])
        let text = String(decoding: try JSONEncoder().encode(list), as: UTF8.self)
        for secret in ["secret", token, "n0de-n0de", "owner"] { #expect(!text.contains(secret)) }
        // A device goes by its domain.
        let domain = try BareJID("example.org")
        #expect(throws: PushRefused.self) { try relay.service.remove(2, of: domain) }
        #expect(try relay.service.remove(3, of: domain).id == 3)
        try relay.close()
    }

    // MARK: What waits

    @Test("What waits is listed, the oldest first, and counted")
    func queue() throws {
        let relay = try PlayedRelay()
        let ids = try ["a", "b", "c"].map { try relay.add($0).id }
        for id in ids { try relay.note(id) }
        try relay.note(ids[1], .call)
        let queue = try relay.service.queue(limit: 2)
        #expect(queue.total == 3 && queue.entries.map(\.target) == [ids[0], ids[1]])
        #expect(queue.entries.map(\.push.kind) == ["message", "call"])
        #expect(queue.entries[0].push.unread == 1 && (queue.oldestAge ?? -1) >= 0)
        let listed = try relay.service.list(of: PlayedRelay.alice).targets
        #expect(listed.compactMap(\.waiting).count == 3)
        let books = try relay.books()
        #expect(books?.requested == 4 && books?.collapsed == 1 && books?.waiting == 3)
        #expect(books?.balanced == true)
        let summary = try relay.service.summary(isRunning: true)
        #expect(summary.targets == 3 && summary.waiting == 3 && summary.openCircuits == 0)
        _ = try relay.service.remove(ids[0], of: PlayedRelay.alice)
        #expect(try relay.books()?.dropped == 1 && relay.books()?.balanced == true)
        try relay.close()
    }

    // MARK: What was given up

    @Test("What was given up is listed, the newest first, and forgotten")
    func dead() throws {
        let relay = try PlayedRelay()
        let ids = try ["a", "b"].map { try relay.add($0).id }
        for id in ids {
            try relay.note(id)
            try relay.giveUp(id)
        }
        let dead = try relay.service.dead(limit: 10)
        #expect(dead.letters.map(\.target) == ids.reversed() && dead.total == 2)
        #expect(dead.letters.first?.jid == "alice@example.org" && dead.letters.first?.code == "400")
        #expect(try relay.service.dropDead(dead.letters[0].id) == 1)
        #expect(throws: PushRefused.self) { try relay.service.dropDead(dead.letters[0].id) }
        #expect(try relay.service.dropDead(nil) == 1 && relay.service.dead(limit: 1).total == 0)
        try relay.close()
    }

    @Test("What was given up is asked for again, with what nobody has seen")
    func redrive() throws {
        let relay = try PlayedRelay()
        let id = try relay.add().id
        for _ in 0..<3 { try relay.note(id) }
        try relay.giveUp(id)
        let letter = try #require(try relay.service.dead(limit: 1).letters.first)
        #expect(letter.unread == 3)
        #expect(try relay.service.redrive(letter.id).done == [letter.id])
        let waiting = try relay.service.queue(limit: 1).entries.first?.push
        #expect(waiting?.kind == "message" && waiting?.unread == 3 && waiting?.tries == 0)
        #expect(try relay.service.dead(limit: 1).total == 0)
        let books = try relay.books()
        #expect(books?.requested == 4 && books?.dead == 1 && books?.balanced == true)
        #expect(throws: PushRefused.self) { try relay.service.redrive(letter.id) }
        try relay.close()
    }

    @Test("What cannot be asked for again stays, with the reason")
    func stays() throws {
        let relay = try PlayedRelay()
        let ids = try ["gone", "disabled", "call", "good"].map { try relay.add($0).id }
        for id in ids {
            try relay.note(id, id == ids[2] ? .call : .message)
            try relay.giveUp(id, disables: id == ids[1], .unregistered)
        }
        _ = try relay.service.remove(ids[0], of: PlayedRelay.alice)
        let result = try relay.service.redrive(nil)
        #expect(result.done.count == 1)
        #expect(
            result.failed.map(\.text).map { $0.split(separator: " ").last } == [
                "removed", "again", "over",
            ])
        #expect(try relay.service.dead(limit: 10).total == 3)
        #expect(try relay.service.queue(limit: 10).entries.map(\.target) == [ids[3]])
        try relay.close()
    }

    @Test("Several of one target are asked for as one, and the books stay balanced")
    func several() throws {
        let relay = try PlayedRelay()
        let id = try relay.add().id
        for _ in 0..<3 {
            try relay.note(id)
            try relay.giveUp(id)
        }
        #expect(try relay.service.redrive(nil).done.count == 3)
        #expect(try relay.service.queue(limit: 10).total == 1)
        let books = try relay.books()
        #expect(books?.requested == 6 && books?.dead == 3 && books?.collapsed == 2)
        #expect(books?.balanced == true)
        try relay.close()
    }

    // MARK: Providers

    @Test("Providers are listed with their state")
    func providers() throws {
        let relay = try PlayedRelay()
        let running = try relay.service.providers(isRunning: true)
        #expect(running.sending)
        #expect(
            Set(running.apps.map(\.provider)) == [.ntfy, .gotify, .unifiedPush, .webPush])
        #expect(try !relay.service.providers(isRunning: false).sending)
        try relay.close()
        let disabled = try PlayedRelay("push.enabled=false")
        #expect(try !disabled.service.providers(isRunning: true).sending)
        try disabled.close()
    }

    @Test("A circuit says since when it is open, by the clock that a person reads")
    func circuit() {
        let now = PushMoment(monotonic: 50_000, wall: 1_780_000_050_000)
        var circuit = Circuit(.ntfy, burst: 1, now: 0)
        circuit.breaker.open(for: 30_000, .timeout, now: 40_000)
        let open = PushCircuitDescription("ntfy:https://a:443", circuit, now: now)
        #expect(open.state == "open" && open.reason == .timeout)
        #expect(open.since == "2026-05-28T20:27:20Z" && open.until == "2026-05-28T20:27:50Z")
        let isProbed = circuit.breaker.allows(inFlight: 0, now: 70_001)
        #expect(isProbed)
        circuit.breaker.didSucceed()
        let closed = PushCircuitDescription("a", circuit, now: now)
        #expect(closed.state == "closed" && closed.since == nil && closed.until == nil)
    }
}
