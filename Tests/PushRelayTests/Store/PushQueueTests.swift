// The queue on the disk: one row for a target, the latest wins, what is counted is counted once.

import Storage
import Testing

@testable import PushRelay

@Suite("The queue of pushes") struct PushQueueTests {
    static let start = PushDatabase.start
    static let second: Int64 = 1000
    static let day: Int64 = 86_400_000

    let push: PushDatabase
    let target: Int64

    init() throws {
        push = try PushDatabase()
        target = try push.addOwn("phone", .ntfy)
    }

    func only(_ noted: [NotedPush]) throws -> NotedPush {
        #expect(noted.count == 1)
        return try #require(noted.first)
    }

    // MARK: Devices of the app server

    private func register(_ name: String, domain: String, limit: Int, share: Int) throws -> Int64? {
        let keys = push.keys
        return try push.write { connection in
            let row = PushTargetRow(
                provider: .fcm, app: "chat", service: "owner of \(name)", node: name,
                domain: domain, circuit: "fcm:chat", fingerprint: keys.name("device", name),
                secret: try keys.seal(PushTarget(name)), created: 1, refreshed: 1)
            return try PushTargetStore.insertDevice(connection, row, limit: limit, share: share)
        }
    }

    @Test("No domain fills the table of devices for all others")
    func shares() throws {
        for number in 1...2 {
            #expect(try register("a\(number)", domain: "a.example", limit: 9, share: 2) != nil)
        }
        #expect(try register("a3", domain: "a.example", limit: 9, share: 2) == nil)
        #expect(try register("a2", domain: "a.example", limit: 9, share: 2) != nil, "it is known")
        let other = try #require(try register("b1", domain: "b.example", limit: 9, share: 2))
        try push.write { try PushTargetStore.remove($0, other) }
        #expect(try register("b2", domain: "b.example", limit: 3, share: 2) != nil)
        #expect(
            try register("c1", domain: "c.example", limit: 3, share: 2) == nil, "all are in use")
        try push.close()
    }

    @Test("Devices that are gone make room, the oldest first")
    func roomOfTheDead() throws {
        let ids = try (1...3).map { number in
            try #require(try register("d\(number)", domain: "a.example", limit: 3, share: 3))
        }
        try push.write { connection in
            try PushTargetStore.disable(connection, ids[2], .unregistered, "", now: 10)
            try PushTargetStore.disable(connection, ids[1], .unregistered, "", now: 20)
        }
        #expect(try register("d4", domain: "b.example", limit: 3, share: 3) != nil)
        #expect(try push.target(ids[2]) == nil)
        #expect(try push.target(ids[1]) != nil && push.target(ids[0]) != nil)
        try push.close()
    }

    // MARK: The window (section 10, 2)

    @Test("A device is woken at once, and then once in a window with all that has come")
    func window() throws {
        let first = try only(try push.note(at: Self.start))
        #expect(first.due == Self.start && !first.isCollapsed)
        try push.end(first.item, .sent, .sent, at: Self.start + 10)
        let second = try only(try push.note(at: Self.start + 1000))
        #expect(second.due == Self.start + 5010)
        let third = try only(try push.note(at: Self.start + 2000))
        #expect(third.due == second.due && third.isCollapsed)
        #expect(third.item.version == second.item.version + 1)
        let late = try only(try push.note(at: Self.start + 9000))
        #expect(late.due == second.due)
        try push.expectBalance()
        try push.close()
    }

    @Test("Calls do not wait for the window, nor for the pause of what was under way")
    func calls() throws {
        let first = try only(try push.note(at: Self.start))
        let call = try only(try push.note(.call, at: Self.start + 10))
        #expect(call.due == Self.start + 10 && call.item.kind == .call)
        #expect(call.item.expires == Self.start + 10 + Wakeups.ringTime)
        let next = try push.end(first.item, .sent, .sent, at: Self.start + 20)
        #expect(next == Self.start + 10, "not after the window")
        try push.end(call.item, .sent, .sent, at: Self.start + 30)
        let third = try only(try push.note(at: Self.start + 40))
        let again = try only(try push.note(.call, at: Self.start + 50))
        let pause = DeliveryEnd.later(due: Self.start + 90_000, tries: 1)
        let due = try push.end(third.item, pause, .busy, at: Self.start + 60)
        #expect(due == again.due)
        try push.expectBalance()
        try push.close()
    }

    @Test("The end of a call is told only where it rings")
    func callEnded() throws {
        #expect(try push.note(.callEnded, at: Self.start).isEmpty)
        let message = try only(try push.note(at: Self.start))
        #expect(try push.note(.callEnded, at: Self.start).isEmpty)
        try push.end(message.item, .sent, .sent, at: Self.start)
        let call = try only(try push.note(.call, at: Self.start + 100))
        let waiting = try only(try push.note(.callEnded, at: Self.start + 200))
        #expect(waiting.isCollapsed && waiting.item.kind == .callEnded)
        _ = call
        try push.end(waiting.item, .sent, .sent, at: Self.start + 300)
        #expect(try push.note(.callEnded, at: Self.start + 400).isEmpty, "once")
        let other = try only(try push.note(.call, at: Self.start + 1000))
        try push.end(other.item, .sent, .sent, at: Self.start + 1100)
        #expect(try push.note(.callEnded, at: Self.start + 100_000).isEmpty, "it rings no more")
        #expect(try push.note(.callEnded, at: Self.start + 30_000).count == 1)
        try push.close()
    }

    @Test("A call does not ring for longer because a message came, and no message is lost with it")
    func callAndMessage() throws {
        try push.note(.call, at: Self.start)
        let both = try only(try push.note(at: Self.start + 1000))
        #expect(both.item.kind == .call && both.item.unread == 1)
        #expect(both.item.expires == Self.start + Wakeups.ringTime)
        // It could not be sent while it rang.
        let id = target
        let ended = try push.write {
            try PushQueueStore.endCall(
                $0, id, lifetime: 3 * Self.day, now: Self.start + Wakeups.ringTime)
        }
        #expect(ended)
        var row = try #require(try push.row(target))
        #expect(row.kind == .message && row.due != nil)
        #expect(row.expires == Self.start + 3 * Self.day)
        // The same if it was given up by its own failures.
        let call = try only(try push.note(.call, at: Self.start + 70_000))
        try push.end(call.item, .dead(disables: false), .busy, at: Self.start + 80_000)
        row = try #require(try push.row(target))
        #expect(row.kind == .message && row.due == Self.start + 80_000)
        try push.expectBalance()
        // Nobody is told of a call alone that nobody could be told of.
        try push.suppress(target)
        let alone = try only(try push.note(.call, at: Self.start + 90_000))
        try push.end(alone.item, .dead(disables: false), .busy, at: Self.start + 95_000)
        #expect(try push.row(target)?.due == nil)
        try push.expectBalance()
        try push.close()
    }

    // MARK: The number

    @Test("The number of unread messages is absolute, and nothing after the device was in use")
    func unread() throws {
        for count in 1...3 {
            let noted = try only(try push.note(at: Self.start + Int64(count)))
            #expect(noted.item.unread == count)
        }
        let call = try only(try push.note(.call, at: Self.start + 10))
        #expect(call.item.unread == 3)
        try push.end(call.item, .sent, .sent, at: Self.start + 20)
        #expect(try only(try push.note(at: Self.start + 30)).item.unread == 4)
        try push.suppress(target)
        #expect(try push.row(target)?.unread == 0)
        #expect(try only(try push.note(at: Self.start + 40)).item.unread == 1)
        let row = try #require(try push.row(target))
        try push.end(
            try only(try push.note(at: Self.start + 50)).item, .sent, .sent, at: Self.start + 60)
        try push.suppress(target)
        #expect(try push.row(target)?.unread == 0, "also when nothing waits")
        #expect(row.version < (try push.row(target)?.version ?? 0))
        try push.close()
    }

    @Test("One message wakes a device once, however often it is delivered")
    func sameMessage() throws {
        let first = try only(try push.note(message: 7, at: Self.start))
        #expect(try push.note(message: 7, at: Self.start + 1).isEmpty)
        try push.end(first.item, .sent, .sent, at: Self.start + 2)
        #expect(try push.note(message: 7, at: Self.start + 3).isEmpty)
        #expect(try push.note(message: 8, at: Self.start + 4).count == 1)
        #expect(try push.note(message: nil, at: Self.start + 5).count == 1)
        try push.close()
    }

    // MARK: The time

    @Test("What is due is found in its order, without what is held, and not what is of no use")
    func due() throws {
        var ids: [Int64] = []
        for name in ["a", "b", "c", "d"] { ids.append(try push.addOwn(name, .gotify)) }
        for (index, id) in ids.enumerated() {
            try push.note(at: Self.start - Int64(index), to: id)
        }
        let all = ids
        func due(_ circuit: String, at now: Int64, held: Set<Int64> = []) throws -> [Int64] {
            try push.database.readNow {
                try PushQueueStore.due($0, circuit, now: now, limit: 10, held: held).rows
                    .map(\.target.id)
            }
        }
        for (index, id) in all.enumerated() {
            let circuit = "gotify:\(["a", "b", "c", "d"][index])"
            #expect(try due(circuit, at: Self.start) == [id])
            #expect(try due(circuit, at: Self.start, held: [id]).isEmpty)
            #expect(try due(circuit, at: Self.start + 4 * Self.day).isEmpty, "its time is over")
        }
        let circuits = try push.database.readNow { try PushQueueStore.circuits($0, limit: 3) }
        #expect(circuits.map(\.circuit) == ["gotify:a", "gotify:b", "gotify:c"])
        try push.close()
    }

    @Test("A clock that jumps back leaves nothing that waits for years")
    func clockJumpsBack() throws {
        let noted = try only(try push.note(at: Self.start + 400 * Self.day))
        try push.end(noted.item, .sent, .sent, at: Self.start + 400 * Self.day)
        let waiting = try only(try push.note(at: Self.start + 400 * Self.day + 1))
        #expect(waiting.due > Self.start + 400 * Self.day)
        let found = try push.database.readNow {
            try PushQueueStore.due($0, "ntfy:phone", now: Self.start, limit: 10, held: [])
        }
        #expect(found.rows.count == 1)
        let held: Set<Int64> = [target]
        let next = try push.database.readNow { connection in
            #expect(
                try PushQueueStore.due(
                    connection, "ntfy:phone", now: Self.start, limit: 10, held: held
                ).rows.isEmpty)
            return try PushQueueStore.nextDue(connection, "ntfy:phone", after: Self.start)
        }
        #expect(next == nil, "what is held is not looked for again and again")
        try push.end(waiting.item, .sent, .sent, at: Self.start)
        #expect(try only(try push.note(at: Self.start + 6000)).due == Self.start + 6000)
        try push.close()
    }

    @Test("What was asked for in 1970 has its time once the clock is right")
    func clockJumpsForward() throws {
        try push.note(at: 5000)
        let rebased = try push.write {
            try PushQueueStore.rebase($0, before: 1_735_689_600_000, now: Self.start)
        }
        #expect(rebased == 1)
        let row = try #require(try push.row(target))
        #expect(row.due == Self.start && row.added == Self.start)
        #expect(row.expires == Self.start + 3 * Self.day)
        let expired = try push.database.readNow {
            try PushQueueStore.expired($0, now: Self.start, limit: 10)
        }
        #expect(expired.isEmpty)
        try push.close()
    }

    // MARK: What came of it

    @Test("What comes while one is under way waits for its own turn", arguments: [0, 1, 2, 3])
    func newerUnderWay(outcome: Int) throws {
        let first = try only(try push.note(at: Self.start))
        let second = try only(try push.note(at: Self.start + 1))
        let now = Self.start + 100
        switch outcome {
        case 0:
            #expect(try push.end(first.item, .sent, .sent, at: now) == now + 5000)
        case 1:
            let pause = DeliveryEnd.later(due: now + 9000, tries: 3)
            #expect(try push.end(first.item, pause, .busy, at: now) == now + 9000)
            #expect(try push.row(target)?.tries == 0, "the failures were the other's")
        case 2:
            try push.end(first.item, .dead(disables: false), .refused, at: now)
            #expect(try push.row(target)?.due == second.due)
        default:
            try push.end(first.item, .dead(disables: true), .gone, at: now)
            #expect(try push.row(target)?.due == nil)
            #expect(try push.target(target)?.disabledAt != nil)
        }
        try push.expectBalance()
        try push.close()
    }

    @Test("What was suppressed while it was under way is counted once", arguments: [true, false])
    func suppressedUnderWay(isSent: Bool) throws {
        let first = try only(try push.note(at: Self.start))
        try push.suppress(target)
        try push.suppress(target)
        let newer = try only(try push.note(at: Self.start + 10))
        let end: DeliveryEnd = isSent ? .sent : .dead(disables: false)
        try push.end(first.item, end, isSent ? .sent : .refused, at: Self.start + 20)
        try push.expectBalance()
        let books = try #require(try push.books[.ntfy])
        #expect(books.waiting == 1 && books.collapsed == 0 && books.dead == 0)
        #expect(books.sent == (isSent ? 1 : 0) && books.suppressed == (isSent ? 0 : 1))
        try push.end(newer.item, .sent, .sent, at: Self.start + 30)
        try push.expectBalance()
        try push.close()
    }

    @Test("What was given up while it was under way, and arrives, was sent")
    func expiredUnderWay() throws {
        let first = try only(try push.note(at: Self.start))
        let row = try #require(try push.row(target))
        let letter = DeadLetter(target, row, nil, .expired, died: Self.start + 10)
        try push.write {
            try PushQueueStore.noteDead(
                $0, letter, version: row.version, endsAll: true, limit: 10)
        }
        try push.expectBalance()
        try push.end(first.item, .sent, .sent, at: Self.start + 20)
        try push.expectBalance()
        #expect(try push.books[.ntfy]?.sent == 1)
        try push.close()
    }

    @Test("The latest dead letters are kept, and no more")
    func deadLetters() throws {
        for index in 0..<30 {
            let noted = try only(try push.note(at: Self.start + Int64(index) * 10_000))
            try push.end(
                noted.item, .dead(disables: false), .refused,
                at: Self.start + Int64(index) * 10_000 + 1, deadLetters: 10)
        }
        let letters = try push.database.readNow { try PushQueueStore.dead($0, limit: 100) }
        #expect(letters.count == 10)
        #expect(letters.first?.reason == .request && letters.first?.tries == 1)
        #expect(letters.first?.added == Self.start + 290_000, "the latest first")
        let one = try #require(letters.first?.id)
        #expect(try push.write { try PushQueueStore.removeDead($0, one) } == 1)
        #expect(try push.write { try PushQueueStore.removeDead($0, nil) } == 9)
        try push.expectBalance()
        try push.close()
    }

    @Test("A token that came back after the provider lost it is tried again, but not for ever")
    func refreshed() throws {
        let id = try push.addOwn("tablet", .fcm, refreshed: 2000)
        let gone = PushAnswer(.invalidToken(.token, since: 1000), .unregistered)
        var item = try only(try push.note(at: Self.start, to: id)).item
        var now = Self.start
        for tries in 1..<Backoff.mostTries {
            let due = try push.end(item, .dead(disables: true), gone, at: now)
            #expect(try #require(due) > now, "not at once")
            #expect(try push.row(id)?.tries == tries)
            #expect(try push.target(id)?.disabledAt == nil)
            item.tries = tries
            now = due ?? now
        }
        #expect(try push.end(item, .dead(disables: true), gone, at: now) == nil)
        #expect(try push.target(id)?.disabledAt != nil)
        try push.expectBalance()
        try push.close()
    }

    @Test("Disabled targets make room for another, with what waited for them")
    func makeRoom() throws {
        let first = try #require(try push.addService("n1", limit: 2))
        try push.note(at: Self.start, to: first)
        #expect(try push.addService("n2", limit: 2) == nil, "the account has two")
        try push.write {
            try PushTargetStore.disable($0, first, .unregistered, "gone", now: 5)
        }
        #expect(try push.addService("n2", limit: 2) != nil)
        #expect(try push.target(first) == nil && push.row(first) == nil)
        try push.expectBalance()
        #expect(try push.books[.xmpp]?.dropped == 1)
        try push.close()
    }

    @Test("Final answers of an app server end a registration at the fifth in a row (section 7)")
    func finalErrors() throws {
        let id = try #require(try push.addService("n1"))
        let unknown = PushAnswer(.rejected, .unregistered, code: "item-not-found")
        var now = Self.start
        func fail(_ count: Int) throws {
            for _ in 0..<count {
                now += 10_000
                let item = try only(try push.note(at: now, to: id)).item
                try push.end(item, .dead(disables: false), unknown, at: now)
            }
        }
        try fail(4)
        #expect(try push.target(id)?.disabledAt == nil)
        now += 10_000
        try push.end(try only(try push.note(at: now, to: id)).item, .sent, .sent, at: now)
        try fail(4)
        #expect(try push.target(id)?.disabledAt == nil, "one that arrived ends the row")
        try fail(1)
        let disabled = try #require(try push.target(id))
        #expect(disabled.disabledAt == now / 1000 && disabled.reason == .unregistered)
        #expect(disabled.code == "item-not-found")
        #expect(try push.note(at: now + 1, to: id).isEmpty)
        #expect(try push.addService("n1") == id, "the same again enables it")
        #expect(try push.target(id)?.disabledAt == nil && push.target(id)?.failures == 0)
        try push.expectBalance()
        try push.close()
    }

    @Test("Temporary errors never do, however many pushes are given up with them")
    func temporaryErrors() throws {
        let id = try #require(try push.addService("n1"))
        for count in 1...7 {
            let now = Self.start + Int64(count) * 10_000
            let item = try only(try push.note(at: now, to: id)).item
            try push.end(item, .dead(disables: false), .busy, at: now)
        }
        let target = try #require(try push.target(id))
        #expect(target.disabledAt == nil && target.reason == PushAnswer.busy.reason)
        try push.close()
    }

    // MARK: The books

    @Test("Whatever happens, everything asked for became one thing", arguments: 0..<60)
    func books(seed: Int) throws {
        var random = SeededGenerator(seed)
        var now = Self.start
        var ids = [target]
        for name in ["a", "b"] { ids.append(try push.addOwn(name, .gotify)) }
        ids.append(try #require(try push.addService("n1")))
        var flights: [Int64: DeliveryItem] = [:]
        for step in 0..<120 {
            now += Int64.random(in: 0...4000, using: &random)
            let id = ids.randomElement(using: &random) ?? target
            switch Int.random(in: 0..<14, using: &random) {
            case 0...4:
                let kind = PushNotification.Kind(rawValue: Int64.random(in: 0...2, using: &random))
                try push.note(kind ?? .message, at: now, to: id)
            case 5, 6: try begin(id, &flights)
            case 7, 8, 9:
                guard let (id, item) = flights.randomElement(using: &random) else { continue }
                flights[id] = nil
                switch Int.random(in: 0..<6, using: &random) {
                case 0, 1, 2: try push.end(item, .sent, .sent, at: now)
                case 3:
                    try push.end(item, .later(due: now + 3000, tries: 1), .busy, at: now)
                case 4:
                    try push.end(item, .dead(disables: false), .refused, at: now, deadLetters: 10)
                default:
                    try push.end(item, .dead(disables: true), .gone, at: now, deadLetters: 10)
                }
            case 10: try push.suppress(id)
            case 11:
                // It registers anew, with another maker of devices.
                guard ids.prefix(3).contains(id) else { continue }
                let name = ["phone", "a", "b"][ids.firstIndex(of: id) ?? 0]
                let kind = [ProviderKind.ntfy, .gotify, .fcm].randomElement(using: &random)
                _ = try push.addOwn(name, kind ?? .ntfy)
            case 12:
                try push.write { try PushTargetStore.disable($0, id, .unregistered, "", now: 1) }
            default:
                guard step % 5 == 0, id != target else { continue }
                try push.write { try PushTargetStore.remove($0, id) }
                let name = ids.firstIndex(of: id) ?? 0
                guard name < 3 else { continue }
                ids[name] = try push.addOwn(["phone", "a", "b"][name], .gotify)
            }
            try push.expectBalance("seed \(seed), step \(step)")
        }
        try push.close()
    }

    private func begin(_ id: Int64, _ flights: inout [Int64: DeliveryItem]) throws {
        let wakeups = push.wakeups
        guard flights[id] == nil, let target = try push.target(id), let row = try push.row(id),
            row.due != nil
        else { return }
        flights[id] = try push.write { try wakeups.way(of: target, $0)?.item(for: target, row) }
    }
}
