// Tasks on the disk: whom they are for, what goes into a parcel, and that the counts add up whatever
// becomes of its members.

import Storage
import Testing

@testable import PushRelay

@Suite("Tasks of programs") struct PushTasksTests {
    static let start = PushDatabase.start
    let push: PushDatabase

    init() throws { push = try PushDatabase() }

    private func taken(
        _ audience: PushTask.Audience, badge: PushContent.Badge? = nil, lifetime: Int = 600,
        batch: Int = 1000
    ) throws -> (id: Int64, parcels: [ParcelRow]) {
        var task = PushTask(audience: audience, title: "x", lifetime: lifetime)
        task.badge = badge
        let wanted = task
        let content = try push.keys.seal(task.json.bytes, for: "task")
        let expansion = TaskExpansion(batchSize: { kind, _ in kind == .huawei ? batch : 1 })
        return try push.write { connection in
            var row = PushTaskRow(
                token: 1, digest: [], created: Self.start,
                expires: Self.start + Int64(lifetime) * 1000, selection: 0, content: content)
            row.id = try PushTaskStore.insert(connection, row)
            let part = try expansion.next(of: row, wanted, now: Self.start, connection)
            return (row.id, part.parcels)
        }
    }

    private func end(
        _ row: ParcelRow, _ end: DeliveryEnd, _ answer: PushAnswer,
        others: [Int64: PushAnswer] = [:], at now: Int64 = start
    ) throws -> Written {
        let wakeups = push.wakeups
        return try push.write { connection in
            var outcome = ParcelOutcome(try ParcelStore.members(connection, row.parcel))
            outcome.answers = others
            let record = ParcelRecord(
                item: row.item, outcome: outcome, answer: answer, end: end,
                now: PushMoment(monotonic: 0, wall: now), wakeups: wakeups,
                batchSize: { kind, _ in kind == .huawei ? 1000 : 1 })
            return try record.write(connection)
        }
    }

    private func counts(_ task: Int64) throws -> PushTaskCounts {
        try push.database.readNow { connection in
            var all = PushTaskCounts()
            for (_, counts) in try PushTaskStore.counts(connection, task) { all += counts }
            return all
        }
    }

    private var everybody: PushTask.Audience { PushTask.Audience(isAll: true) }

    @Test("Those of one way are told in one request; those of others alone")
    func parcels() throws {
        for number in 0..<5 { _ = try push.addDevice("h\(number)", [(.huawei, "h\(number)")]) }
        for number in 0..<2 { _ = try push.addDevice("f\(number)", [(.fcm, "f\(number)")]) }
        let (_, parcels) = try taken(everybody, batch: 3)
        let sizes = parcels.map { "\($0.provider.rawValue) \($0.parcel.count)" }.sorted()
        #expect(sizes == ["fcm 1", "fcm 1", "huawei 2", "huawei 3"])
        try push.expectBalance()
        try push.close()
    }

    @Test("An app server, which shows nothing, is nobody that a program could tell something")
    func services() throws {
        _ = try push.addService("node")
        #expect(try taken(everybody).parcels.isEmpty)
        try push.close()
    }

    @Test("Each member of a parcel has its own end, and the counts add up")
    func ends() throws {
        // One of them has another token.
        let targets = try (0..<6).map { number -> Int64 in
            let tokens: [(ProviderKind, String)] = [
                (.huawei, "h\(number)"), (.fcm, "f\(number)"),
            ]
            return try push.addDevice("\(number)", Array(tokens.prefix(number == 4 ? 2 : 1)))[0]
        }
        let (task, parcels) = try taken(everybody)
        let large = try #require(parcels.first { !$0.hasNext })
        let small = try #require(parcels.first { $0.hasNext })
        #expect(large.parcel.count == 5 && small.parcel.count == 1)
        let removed = targets[5]
        try push.write { try PushTargetStore.remove($0, removed) }
        let written = try end(
            large, .sent, .sent,
            others: [targets[0]: .gone, targets[1]: .refused, targets[2]: .busy])
        #expect(written.failed == [.unregistered: 1, .request: 1])
        let later = try #require(written.postponed.first)
        #expect(later.parcel.count == 1 && later.tries == 1 && later.due > Self.start)
        var so = try counts(task)
        #expect((so.sent, so.failed, so.dropped, so.waiting) == (1, 2, 1, 2))
        try push.expectBalance("while two wait")
        #expect(try push.target(targets[0])?.disabledAt != nil)

        let passed = try end(small, .passedOn(disables: false), .down)
        let other = try #require(passed.parcels.first)
        #expect(other.provider == .fcm && other.parcel.count == 1)
        _ = try end(other, .sent, .sent)
        _ = try end(later, .dead(disables: false), .down)
        so = try counts(task)
        #expect(so.waiting == 0 && so.sent == 2 && so.failed == 3 && so.passedOn == 1)
        try push.expectBalance()
        #expect(try push.database.readNow { try ParcelStore.waiting($0) } == 0)
        try push.close()
    }

    @Test("A result that comes after a task was cancelled changes nothing")
    func cancelled() throws {
        _ = try push.addDevice("h", [(.huawei, "h")])
        let (task, parcels) = try taken(everybody)
        let keys = try push.write { try PushTasks.cancel(task, now: Self.start, $0).keys }
        #expect(keys == parcels.map { -$0.parcel.id })
        let written = try end(try #require(parcels.first), .sent, .sent)
        #expect(written.parcels.isEmpty && written.next == nil)
        #expect(try counts(task).dropped == 1)
        try push.expectBalance()
        try push.close()
    }

    @Test("What is only down for a moment is tried again, though its other token is gone")
    func otherTokenGone() throws {
        let tokens = try push.addDevice("h", [(.huawei, "h"), (.fcm, "f")])
        let (task, parcels) = try taken(everybody)
        try push.write { try PushTargetStore.disable($0, tokens[1], .unregistered, "", now: 1) }
        let row = try #require(parcels.first)
        #expect(row.hasNext)
        let written = try end(row, .passedOn(disables: false), .down)
        let later = try #require(written.postponed.first)
        #expect(!later.hasNext && later.parcel.count == 1)
        #expect(try counts(task).waiting == 1)
        _ = try end(later, .sent, .sent)
        #expect(try counts(task).sent == 1)
        try push.expectBalance()
        try push.close()
    }

    @Test("A token that was registered anew meanwhile is tried again, and stays")
    func registeredAnew() throws {
        let target = try push.addDevice("h", [(.huawei, "h")])[0]
        let (_, parcels) = try taken(everybody)
        let row = try #require(parcels.first)
        let old = PushAnswer(.invalidToken(.token, since: 0), .unregistered)
        let written = try end(row, .sent, .sent, others: [target: old])
        #expect(written.postponed.count == 1 && written.failed.isEmpty)
        // The same of a request that was for it alone.
        let again = try end(try #require(written.postponed.first), .dead(disables: true), old)
        #expect(again.postponed.count == 1 && again.failed.isEmpty)
        #expect(try push.target(target)?.disabledAt == nil)
        try push.expectBalance()
        try push.close()
    }

    @Test("A badge is each device's own, and counted once")
    func badges() throws {
        for number in 0..<3 { _ = try push.addDevice("h\(number)", [(.huawei, "h\(number)")]) }
        for expected in [2, 4] {
            let row = try #require(try taken(everybody, badge: .add(2)).parcels.first)
            let members = try push.database.readNow {
                try ParcelStore.members($0, row.parcel)
            }
            #expect(members.map(\.badge) == [expected, expected, expected])
        }
        let row = try #require(try taken(everybody, badge: .add(-9)).parcels.first)
        let members = try push.database.readNow { try ParcelStore.members($0, row.parcel) }
        #expect(members.map(\.badge) == [0, 0, 0], "not below none")
        try push.close()
    }

    @Test("A large audience is looked up in parts, each target once")
    func parts() throws {
        for number in 0..<7 { _ = try push.addDevice("h\(number)", [(.huawei, "h\(number)")]) }
        var seen: [Int64] = []
        var cursor: Int64 = 0
        while true {
            let part = try push.database.readNow {
                try PushTaskStore.receivers($0, .all, after: cursor, limit: 3)
            }
            seen += part.map(\.target)
            guard part.count == 3, let last = part.last else { break }
            cursor = last.cursor
        }
        #expect(seen.count == 7 && Set(seen).count == 7)
        try push.close()
    }

    @Test("What is sealed of a task is read as it was")
    func sealed() throws {
        var task = PushTask(
            audience: PushTask.Audience(tags: ["a"], aliases: ["b"]), title: "Ü", lifetime: 5)
        task.data = ["n": .integer(1)]
        task.badge = .add(-2)
        task.extras = [.fcm: ["a": .boolean(true)]]
        task.collapseKey = "k"
        task.isHigh = false
        let bytes = task.json.bytes
        #expect(JSONValue(bytes).flatMap(PushTask.init) == task)
    }
}
