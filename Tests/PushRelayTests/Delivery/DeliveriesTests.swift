// Which pushes go when: one under way for a target, room and rate of a circuit, what a breaker lets
// through, and that nothing which waits is forgotten.

import Testing

@testable import PushRelay

@Suite("Deliveries") struct DeliveriesTests {
    static let start = PushMoment(monotonic: 1_000_000, wall: 1_780_000_000_000)

    var now = DeliveriesTests.start
    var deliveries = Deliveries(DeliveryLimits())

    mutating func add(_ item: DeliveryItem, in time: Int64 = 0) -> Bool {
        deliveries.add(item, due: now.wall + time, now: now)
    }

    mutating func take() -> [DeliveryItem] { deliveries.takeReady(now: now) }

    mutating func finish(_ item: DeliveryItem, _ answer: PushAnswer) -> DeliveryEnd {
        deliveries.finish(item, answer, random: 0.5, now: now).end
    }

    mutating func load(
        _ items: [DeliveryItem], hasMore: Bool = false, isForPassing: Bool = false
    ) {
        deliveries.didLoad(
            DeliveryLoad(circuit: "fcm:chat", wakes: 4, parcels: 4, isForPassing: isForPassing),
            items, hasMore: hasMore, hasMoreParcels: false, nextDue: nil, now: now)
    }

    mutating func pass(_ time: Int64) { now = now.adding(milliseconds: time) }

    /// Sends so many, of targets from 100 on, that fail for the circuit, one after the other.
    mutating func fail(_ count: Int) throws {
        for _ in 0..<count {
            _ = add(.of(100 + now.wall % 1000, kind: .call))
            pass(1)
            let item = try #require(take().first)
            _ = finish(item, .down)
            deliveries.settle(item, next: nil)
        }
    }

    // MARK: A target (section 10, 2)

    @Test("What comes while one waits takes its place: the latest wins")
    mutating func latestWins() throws {
        #expect(!add(.of(1, version: 1)))
        #expect(add(.of(1, version: 2, kind: .message)))
        #expect(!add(.of(1, version: 1)), "an older one takes nobody's place")
        let items = take()
        #expect(items.map(\.version) == [2])
        #expect(take().isEmpty)
    }

    @Test("One is under way for a target, and the next goes once what came of it is written")
    mutating func oneUnderWay() throws {
        _ = add(.of(1, version: 1))
        let item = try #require(take().first)
        #expect(!add(.of(1, version: 2)), "one waits beside the one under way")
        #expect(add(.of(1, version: 3)), "and the next takes its place")
        #expect(take().isEmpty)
        #expect(finish(item, .sent) == .sent)
        #expect(take().isEmpty, "the database still has it as it was")
        deliveries.settle(item, next: now.wall + 5000)
        #expect(deliveries.heldCount == 0 && deliveries.underWayCount == 0)
        #expect(deliveries.circuitsToLoad(now: now).isEmpty)
        #expect(deliveries.nextWake(now: now) == 5000)
        pass(5000)
        #expect(deliveries.circuitsToLoad(now: now).map(\.circuit) == ["fcm:chat"])
    }

    @Test("A device that is in use is not woken by what waits, nor by another try")
    mutating func cancelled() throws {
        _ = add(.of(1))
        deliveries.cancel([1])
        #expect(take().isEmpty && deliveries.heldCount == 0)
        _ = add(.of(2))
        let item = try #require(take().first)
        deliveries.cancel([2])
        #expect(finish(item, .expired) == .waiting)
        #expect(take().isEmpty && deliveries.heldCount == 0 && deliveries.underWayCount == 0)
    }

    @Test("What came after the device was in use is sent")
    mutating func afterCancel() throws {
        _ = add(.of(1))
        let item = try #require(take().first)
        deliveries.cancel([1])
        _ = add(.of(1, version: 3))
        #expect(finish(item, .expired) == .waiting)
        #expect(deliveries.circuitsToLoad(now: now).map(\.circuit) == ["fcm:chat"])
        load([.of(1, version: 3)])
        #expect(take().map(\.version) == [3])
    }

    @Test("One that registered anew goes its new way, also if it waited for the old one")
    mutating func registeredAnew() throws {
        _ = add(.of(1, version: 1, secret: [1]))
        #expect(add(.of(1, version: 2, provider: .apns, circuit: "apns:chat", secret: [2])))
        let item = try #require(take().first)
        #expect(item.circuit == "apns:chat" && item.provider == .apns && item.secret == [2])
        // While it is under way it changes again.
        _ = add(.of(1, version: 3, secret: [3]))
        _ = finish(item, .sent)
        deliveries.settle(item, next: now.wall)
        #expect(deliveries.circuitsToLoad(now: now).map(\.circuit) == ["fcm:chat"])
    }

    @Test("Calls go in front of messages")
    mutating func urgent() {
        deliveries.limits.inFlight = 2
        for target in 1...3 { _ = add(.of(Int64(target))) }
        _ = add(.of(4, kind: .call))
        _ = add(.of(3, version: 2, kind: .call))
        #expect(take().map(\.target) == [4, 3])
    }

    @Test("What nobody needs any more is not begun")
    mutating func expired() {
        _ = add(.of(1, expires: now.wall))
        _ = add(.of(2, expires: now.wall + 1))
        #expect(take().map(\.target) == [2])
        #expect(deliveries.overflow, "the database says what becomes of it")
        #expect(!deliveries.isHeld(1))
    }

    // MARK: A circuit

    @Test("So many are under way in a circuit, and no more")
    mutating func inFlight() throws {
        for target in 1...20 { _ = add(.of(Int64(target))) }
        let items = take()
        #expect(items.count == deliveries.limits.inFlight)
        #expect(take().isEmpty)
        _ = finish(items[0], .sent)
        #expect(take().count == 1)
    }

    @Test("A bucket gives so many at once and so many a second")
    mutating func rate() throws {
        deliveries.limits.inFlight = 1000
        deliveries.limits.rate = 10
        deliveries.limits.burst = 5
        for target in 1...20 { _ = add(.of(Int64(target))) }
        #expect(take().count == 5)
        #expect(take().isEmpty)
        let wake = try #require(deliveries.nextWake(now: now))
        #expect((90...110).contains(wake))
        pass(100)
        #expect(take().count == 1)
        pass(10_000)
        #expect(take().count == 5)
    }

    @Test("APNs takes one request on a connection that is not proven (section 1)")
    mutating func unproven() throws {
        for target in 1...20 { _ = add(.of(Int64(target), provider: .apns, circuit: "apns:a")) }
        let first = take()
        #expect(first.count == 1)
        _ = finish(first[0], .sent)
        #expect(take().count == deliveries.limits.inFlight)
        pass(31_000)
        #expect(take().isEmpty)
    }

    @Test("While an authorization is fetched nothing else goes, and the item is not lost")
    mutating func authorizing() throws {
        for target in 1...3 { _ = add(.of(Int64(target))) }
        deliveries.limits.inFlight = 1
        let item = try #require(take().first)
        let isFirst = deliveries.authorize(item)
        #expect(isFirst)
        #expect(take().isEmpty && deliveries.underWayCount == 0)
        #expect(deliveries.nextWake(now: now) == nil)
        deliveries.didAuthorize("fcm:chat")
        #expect(take().map(\.target) == [1])
    }

    // MARK: The breaker (section 10, 6)

    @Test("Five failures in a row open it; then one decides")
    mutating func opens() throws {
        deliveries.limits.inFlight = 1
        _ = add(.of(1))
        _ = add(.of(2))
        try fail(5)
        #expect(deliveries.circuits["fcm:chat"]?.breaker.state == .open)
        #expect(take().isEmpty)
        let wake = try #require(deliveries.nextWake(now: now))
        #expect((1000...3000).contains(wake))
        pass(wake)
        deliveries.limits.inFlight = 8
        let probe = take()
        #expect(probe.count == 1)
        #expect(deliveries.circuits["fcm:chat"]?.breaker.state == .halfOpen)
        #expect(deliveries.nextWake(now: now) == nil, "its answer is waited for, not asked for")
        _ = finish(probe[0], .sent)
        #expect(deliveries.circuits["fcm:chat"]?.breaker.state == .closed)
        #expect(take().count == 1)
    }

    @Test("Failures between successes do not open it")
    mutating func notInARow() throws {
        deliveries.limits.inFlight = 1
        for target in 1...40 { _ = add(.of(Int64(target))) }
        for round in 0..<12 {
            let item = try #require(take().first)
            _ = finish(item, round % 4 == 3 ? .sent : .down)
            #expect(deliveries.circuits["fcm:chat"]?.breaker.state == .closed)
        }
    }

    @Test("Each failure of a probe opens it for longer, up to a bound, with full jitter")
    func longer() {
        var breaker = CircuitBreaker()
        var now: Int64 = 0
        for _ in 0..<5 { _ = breaker.didFail(.unavailable, wish: nil, random: 1, now: now) }
        var pauses: [Int64] = []
        for _ in 0..<12 {
            pauses.append(breaker.until - now)
            now = breaker.until
            let allowsBefore = breaker.allows(inFlight: 0, now: now - 1)
            #expect(!allowsBefore)
            let allows = breaker.allows(inFlight: 0, now: now)
            #expect(allows && breaker.state == .halfOpen)
            let allowsSecond = breaker.allows(inFlight: 1, now: now)
            #expect(!allowsSecond)
            _ = breaker.didFail(.unavailable, wish: nil, random: 1, now: now)
        }
        #expect(pauses.prefix(4) == [3000, 5000, 9000, 17_000])
        #expect(pauses.last == CircuitBreaker.longest + CircuitBreaker.shortest / 2)
        var early = CircuitBreaker()
        for _ in 0..<5 { _ = early.didFail(.unavailable, wish: nil, random: 0, now: 0) }
        #expect(early.until == CircuitBreaker.shortest / 2, "never at once")
    }

    @Test("Retry-After opens it for as long, whatever others that were under way are told")
    mutating func retryAfter() throws {
        for target in 1...9 { _ = add(.of(Int64(target))) }
        let items = take()
        _ = finish(items[0], .wait(60))
        #expect(deliveries.circuits["fcm:chat"]?.breaker.state == .open)
        _ = finish(items[1], .sent)
        #expect(take().isEmpty, "a success of before says nothing of now")
        _ = finish(items[2], .wait(120))
        _ = finish(items[3], .wait(1))
        for item in items[4...] { _ = finish(item, .down) }
        pass(119_999)
        #expect(take().isEmpty)
        #expect(deliveries.nextWake(now: now) == 1)
        pass(1)
        #expect(take().count == 1)
    }

    @Test("A refused credential opens it at once; one that is old is renewed once")
    mutating func credential() throws {
        _ = add(.of(1))
        var item = try #require(take().first)
        #expect(finish(item, .expired) == .waiting)
        item = try #require(take().first)
        #expect(item.hasRenewed)
        #expect(finish(item, .expired) == .waiting)
        let until = deliveries.circuits["fcm:chat"]?.breaker.until
        #expect(until == now.monotonic + CircuitBreaker.refused)
        #expect(take().isEmpty)
        deliveries.tryAll(now: now)
        item = try #require(take().first, "somebody has mended something")
        #expect(finish(item, .locked) == .waiting)
        #expect(deliveries.circuits["fcm:chat"]?.breaker.state == .open)
    }

    @Test("One that alone is refused does not keep the others, and is given up")
    mutating func refusedAlone() throws {
        deliveries.limits.inFlight = 1
        for target in 1...2 { _ = add(.of(Int64(target))) }
        let first = try #require(take().first)
        #expect(finish(first, .locked) == .waiting)
        pass(CircuitBreaker.refused)
        let other = try #require(take().first)
        #expect(other.target == 2)
        #expect(finish(other, .sent) == .sent)
        let again = try #require(take().first)
        #expect(again.target == 1)
        #expect(finish(again, .locked) == .dead(disables: false))
        #expect(deliveries.circuits["fcm:chat"]?.breaker.state == .closed)
    }

    @Test("A lifetime of days is so many milliseconds")
    func longTimes() {
        #expect(Deliveries.milliseconds(.seconds(28 * 86_400)) == 28 * 86_400_000)
        #expect(Deliveries.milliseconds(.milliseconds(1500)) == 1500)
        #expect(Deliveries.milliseconds(.seconds(Int64.max / 2)) > 0)
        #expect(Deliveries.milliseconds(.seconds(-1)) == 0)
    }

    @Test("A quota of the day is over at midnight, and no other answer shortens that")
    mutating func quota() throws {
        for target in 1...2 { _ = add(.of(Int64(target))) }
        let items = take()
        #expect(finish(items[0], .quota) == .waiting)
        #expect(finish(items[1], .locked) == .waiting)
        let day: Int64 = 86_400_000
        #expect(deliveries.nextWake(now: now) == day - now.wall % day)
    }

    @Test("What fails while the circuit is closed is tried again later, never at once")
    mutating func laterTry() throws {
        _ = add(.of(1))
        let item = try #require(take().first)
        guard case .later(let due, let tries) = finish(item, .down) else {
            Issue.record("it waits in the database")
            return
        }
        #expect(tries == 1 && due >= now.wall + Backoff.first / 4)
        deliveries.settle(item, next: due)
        #expect(take().isEmpty && deliveries.nextWake(now: now) == due - now.wall)
    }

    @Test("What fails while the circuit is open is none of the item's, unless others got through")
    mutating func whoseFailure() throws {
        deliveries.limits.inFlight = 1
        for target in 1...2 { _ = add(.of(Int64(target))) }
        try fail(5)
        for target in [1, 2, 1] as [Int64] {
            pass(CircuitBreaker.longest)
            let probe = try #require(take().first)
            #expect(probe.target == target && probe.tries == 0, "the others have their turn")
            #expect(finish(probe, .down) == .waiting)
        }
        pass(CircuitBreaker.longest)
        #expect(finish(try #require(take().first), .sent) == .sent)
        try fail(5)
        pass(CircuitBreaker.longest)
        let probe = try #require(take().first)
        guard case .later(_, let tries) = finish(probe, .down) else {
            Issue.record("another one got through since it failed")
            return
        }
        #expect(probe.target == 1 && tries == 1)
    }

    @Test("An item's own failure is tried again with a longer pause, and then given up")
    mutating func giveUp() throws {
        var last: Int64 = 0
        for tries in 0..<Backoff.mostTries {
            deliveries = Deliveries(DeliveryLimits())
            _ = add(.of(1, tries: tries))
            let item = try #require(take().first)
            let end = deliveries.finish(item, .busy, random: 1, now: now).end
            if tries == Backoff.mostTries - 1 {
                #expect(end == .dead(disables: false))
            } else if case .later(let due, let counted) = end {
                #expect(counted == tries + 1 && due - now.wall > last)
                last = due - now.wall
            } else {
                Issue.record("it is tried again")
            }
        }
        _ = add(.of(9, expires: now.wall + 100))
        let item = try #require(take().first)
        #expect(finish(item, .busy) == .dead(disables: false), "within the message's life")
    }

    @Test("An end of the token and a refusal are final, and prove that the provider answers")
    mutating func final() throws {
        deliveries.limits.inFlight = 1
        _ = add(.of(1))
        _ = add(.of(2))
        try fail(4)
        #expect(finish(try #require(take().first), .gone) == .dead(disables: true))
        try fail(4)
        #expect(deliveries.circuits["fcm:chat"]?.breaker.state == .closed)
    }

    // MARK: The database

    @Test("What does not fit stays in the database, and is loaded when there is room")
    mutating func backlog() throws {
        deliveries.limits.held = 4
        deliveries.limits.inFlight = 1
        for target in 1...10 { _ = add(.of(Int64(target))) }
        #expect(deliveries.heldCount == 4)
        #expect(deliveries.circuitsToLoad(now: now).isEmpty, "no room")
        for _ in 0..<2 {
            let item = try #require(take().first)
            _ = finish(item, .sent)
            deliveries.settle(item, next: nil)
        }
        let loads = deliveries.circuitsToLoad(now: now)
        #expect(loads.map(\.wakes) == [2])
        #expect(deliveries.circuitsToLoad(now: now).isEmpty, "one load at a time")
        load([.of(5), .of(6)], hasMore: true)
        #expect(deliveries.heldCount == 4)
    }

    @Test("What is noted while rows are loaded is not forgotten with the load's own answer")
    mutating func notedMeanwhile() throws {
        _ = add(.of(1))
        let item = try #require(take().first)
        _ = add(.of(1, version: 2))
        _ = add(.of(2), in: 10)
        pass(10)
        #expect(deliveries.circuitsToLoad(now: now).count == 1)
        #expect(finish(item, .expired) == .waiting, "its newer one is in the database")
        load([.of(2)])
        #expect(take().map(\.target) == [2])
        #expect(deliveries.circuitsToLoad(now: now).count == 1)
    }

    @Test("A load that failed is tried again")
    mutating func failedLoad() throws {
        _ = add(.of(1), in: 10)
        pass(10)
        #expect(deliveries.circuitsToLoad(now: now).count == 1)
        deliveries.didNotLoad("fcm:chat", now: now)
        #expect(deliveries.circuitsToLoad(now: now).isEmpty)
        #expect(deliveries.nextWake(now: now) == 5000)
    }

    @Test("Nobody turns in circles while what is due cannot be loaded or sent")
    mutating func noSpin() throws {
        deliveries.limits.held = 4
        deliveries.limits.inFlight = 1
        for target in 1...4 { _ = add(.of(Int64(target))) }
        _ = add(.of(5), in: 1)
        pass(2)
        #expect(take().count == 1)
        _ = deliveries.circuitsToLoad(now: now)
        #expect(deliveries.nextWake(now: now) == nil)
    }

    @Test("A row that is due in years was written by a wrong clock, and is loaded")
    mutating func farAway() {
        deliveries.noteDue("fcm:chat", .fcm, at: now.wall + 400 * 86_400_000, now: now)
        #expect(deliveries.nextWake(now: now) == 1)
        #expect(deliveries.circuitsToLoad(now: now).map(\.circuit) == ["fcm:chat"])
    }

    @Test("More circuits than are held wait in the database, and idle ones make room")
    mutating func manyCircuits() throws {
        deliveries.limits.circuits = 2
        for target in 1...3 { _ = add(.of(Int64(target), circuit: "c\(target)")) }
        #expect(deliveries.overflow && deliveries.circuits.count == 2)
        let items = take()
        for item in items { _ = finish(item, .sent) }
        // Their circuits are idle now, though what came of them is not written.
        deliveries.overflow = false
        _ = add(.of(3, circuit: "c3"))
        #expect(!deliveries.overflow && deliveries.isHeld(3))
        for item in items { deliveries.settle(item, next: now.wall + 5000) }
        #expect(deliveries.overflow, "what they have next is looked for")
    }

    @Test("After the stop nothing begins, and nothing is waited for")
    mutating func stopped() throws {
        _ = add(.of(1))
        _ = add(.of(2), in: 10)
        let item = try #require(take().first)
        deliveries.isStopping = true
        _ = add(.of(3))
        pass(10)
        #expect(take().isEmpty && deliveries.circuitsToLoad(now: now).isEmpty)
        #expect(deliveries.nextWake(now: now) == nil)
        #expect(finish(item, .expired) == .waiting)
        #expect(take().isEmpty && deliveries.underWayCount == 0)
    }

    // MARK: Pauses

    @Test("A pause is drawn from a bound that doubles, is never nothing, and obeys a wish")
    func backoff() {
        for tries in 1...30 {
            let least = Backoff.delay(tries: tries, wish: nil, random: 0)
            let most = Backoff.delay(tries: tries, wish: nil, random: 1)
            #expect(least >= 500 && most <= Backoff.longest + 500 && least < most)
        }
        #expect(Backoff.delay(tries: 1, wish: nil, random: 1) == 2500)
        #expect(Backoff.delay(tries: 3, wish: nil, random: 1) == 8500)
        #expect(Backoff.delay(tries: 1, wish: 90_000, random: 0.3) == 90_000)
        #expect(Backoff.delay(tries: 1, wish: .max, random: 0.3) == CircuitBreaker.longestWish)
    }
}
