// Devices with several tokens: the first is tried, then the next, and nothing is counted twice.

import Storage
import Testing

@testable import PushRelay

@Suite("The next token of a device") struct NextTokenTests {
    static let start = PushDatabase.start

    // MARK: In memory

    @Test(
        "What fails is passed on at once, whatever else it says of the way",
        arguments: [
            (PushAnswer.gone, true), (.refused, false), (.busy, false), (.down, false),
            (.wait(60), false), (.locked, false), (.quota, false),
        ])
    func passedOn(answer: PushAnswer, disables: Bool) throws {
        let now = PushMoment(monotonic: 0, wall: Self.start)
        var deliveries = Deliveries(DeliveryLimits())
        _ = deliveries.add(.of(1, hasNext: true), due: now.wall, now: now)
        let item = try #require(deliveries.takeReady(now: now).first)
        let (end, opened) = deliveries.finish(item, answer, random: 0.5, now: now)
        #expect(end == .passedOn(disables: disables))
        let opens: [PushAnswer] = [.wait(60), .locked, .quota]
        #expect(opened == opens.contains(answer), "the others of the way wait all the same")
        deliveries.settle(item, next: nil)
        #expect(deliveries.heldCount == 0 && deliveries.underWayCount == 0)
    }

    @Test("A credential that has only expired is renewed first")
    func renewed() throws {
        let now = PushMoment(monotonic: 0, wall: Self.start)
        var deliveries = Deliveries(DeliveryLimits())
        _ = deliveries.add(.of(1, hasNext: true), due: now.wall, now: now)
        let item = try #require(deliveries.takeReady(now: now).first)
        #expect(deliveries.finish(item, .expired, random: 0.5, now: now).end == .waiting)
        let again = try #require(deliveries.takeReady(now: now).first)
        #expect(again.hasRenewed)
        let end = deliveries.finish(again, .expired, random: 0.5, now: now).end
        #expect(end == .passedOn(disables: false))
    }

    @Test("Nothing with another way waits for one that is closed")
    func closedWay() throws {
        let now = PushMoment(monotonic: 0, wall: Self.start)
        var deliveries = Deliveries(DeliveryLimits())
        _ = deliveries.add(.of(1), due: now.wall, now: now)
        let item = try #require(deliveries.takeReady(now: now).first)
        #expect(deliveries.finish(item, .quota, random: 0.5, now: now).opened)
        _ = deliveries.add(.of(2, hasNext: true), due: now.wall, now: now)
        _ = deliveries.add(.of(3), due: now.wall, now: now)
        #expect(deliveries.takeReady(now: now).isEmpty)
        let passing = deliveries.takePassing(now: now)
        #expect(passing.map(\.item.target) == [2] && passing.first?.reason == .quota)
        #expect(deliveries.takePassing(now: now).isEmpty)
        deliveries.settle(.of(2, hasNext: true), next: nil)
        #expect(deliveries.isHeld(3) && !deliveries.isHeld(2))
    }

    // MARK: On the disk

    let push: PushDatabase
    let tokens: [Int64]

    init() throws {
        push = try PushDatabase()
        tokens = try push.addDevice("phone", [(.huawei, "h"), (.fcm, "f")])
    }

    private func end(
        _ noted: NotedPush, _ end: DeliveryEnd, _ answer: PushAnswer, at now: Int64
    ) throws -> Written {
        let record = PushRecord(
            item: noted.item, answer: answer, end: end,
            now: PushMoment(monotonic: 0, wall: now), window: .seconds(5),
            lifetime: .seconds(3 * 86_400), deadLetters: 1000, wakeups: push.wakeups)
        return try push.write { try record.write($0) }
    }

    @Test("A message wakes a device once, by the first token that may be good")
    func first() throws {
        let noted = try push.note(at: Self.start)
        #expect(noted.map(\.item.target) == [tokens[0]])
        #expect(noted.first?.item.hasNext == true)
        _ = try end(try #require(noted.first), .sent, .sent, at: Self.start)
        #expect(try push.target(tokens[0])?.sentAt != nil)
        #expect(try push.target(tokens[1])?.sentAt == nil)
        try push.expectBalance()
        try push.close()
    }

    @Test("What the first could not be told, the next is; the books of both add up")
    func second() throws {
        let noted = try #require(try push.note(message: 7, at: Self.start).first)
        let written = try end(noted, .passedOn(disables: true), .gone, at: Self.start)
        let other = try #require(written.noted.first)
        #expect(written.next == nil && other.item.target == tokens[1])
        #expect(other.item.provider == .fcm && other.item.unread == 1 && !other.item.hasNext)
        #expect(try push.target(tokens[0])?.disabledAt != nil)
        try push.expectBalance("while it waits")
        _ = try end(other, .sent, .sent, at: Self.start)
        let books = try push.books
        #expect(books[.huawei]?.passedOn == 1 && books[.huawei]?.dead == 0)
        #expect(books[.fcm]?.requested == 1 && books[.fcm]?.sent == 1)
        try push.expectBalance()
        // The first is none any more.
        let next = try push.note(message: 8, at: Self.start + 60_000)
        #expect(next.map(\.item.target) == [tokens[1]])
        try push.close()
    }

    @Test("A message that came meanwhile is not lost with the token")
    func meanwhile() throws {
        let first = try #require(try push.note(message: 1, at: Self.start).first)
        _ = try push.note(message: 2, at: Self.start + 10)
        let written = try end(first, .passedOn(disables: true), .gone, at: Self.start + 20)
        #expect(written.noted.map(\.item.unread) == [2])
        try push.expectBalance()
        try push.close()
    }

    @Test("With the last token gone, the push is given up")
    func last() throws {
        let first = try #require(try push.note(at: Self.start).first)
        let id = tokens[1]
        try push.write { try PushTargetStore.disable($0, id, .unregistered, "", now: 1) }
        let written = try end(first, .passedOn(disables: true), .gone, at: Self.start)
        #expect(written.noted.isEmpty && written.next == nil)
        #expect(try push.books[.huawei]?.dead == 1)
        try push.expectBalance()
        try push.close()
    }

    @Test("Where it rings, it stops ringing, whichever token that was")
    func call() throws {
        let ringing = try #require(try push.note(.call, at: Self.start).first)
        let written = try end(ringing, .passedOn(disables: false), .down, at: Self.start)
        let other = try #require(written.noted.first)
        #expect(other.item.kind == .call)
        _ = try end(other, .sent, .sent, at: Self.start + 10)
        let ended = try push.note(.callEnded, at: Self.start + 1000)
        #expect(ended.map(\.item.target) == [tokens[1]])
        try push.expectBalance()
        try push.close()
    }
}
