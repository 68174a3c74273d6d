// Parcels among what is to be sent, and devices with another way: neither holds up the other.

import Testing

@testable import PushRelay

extension DeliveriesTests {
    private func parcel(_ id: Int64, count: Int = 1, hasNext: Bool = false) -> DeliveryItem {
        var item = DeliveryItem.of(0, hasNext: hasNext)
        item.parcel = Parcel(id: id, task: 1, first: 1, last: 9, count: count)
        return item
    }

    @Test("What people write goes before what programs tell many")
    mutating func parcelsBehind() throws {
        deliveries.limits.inFlight = 1
        deliveries.limits.parcels = 2
        for id in 1...5 { _ = add(parcel(Int64(id), count: 1000)) }
        _ = add(.of(7))
        #expect(deliveries.heldCount == 3, "more parcels wait in the database")
        #expect(take().map(\.key) == [7])
        #expect(deliveries.circuitsToLoad(now: now).isEmpty, "no room")
    }

    @Test("Thirty targets of one request are as much as one alone")
    mutating func weight() throws {
        deliveries.limits.burst = 40
        deliveries.limits.rate = 10
        for id in 1...3 { _ = add(parcel(Int64(id), count: 1000)) }
        #expect(take().count == 2, "33 of 40, and then 7 are left")
        pass(2000)
        #expect(take().isEmpty)
        pass(1000)
        #expect(take().count == 1)
    }

    @Test("A parcel for which nobody was asked says nothing of its way")
    mutating func unsent() throws {
        _ = add(parcel(1))
        let item = try #require(take().first)
        deliveries.finishUnsent(item)
        #expect(deliveries.circuits["fcm:chat"]?.successes == 0)
        deliveries.settle(item, next: nil)
        #expect(deliveries.heldCount == 0 && deliveries.circuits["fcm:chat"]?.inFlight == 0)
    }

    @Test("While apps are asked, others use the way")
    mutating func paused() throws {
        deliveries.limits.inFlight = 1
        _ = add(parcel(1))
        let item = try #require(take().first)
        _ = add(.of(7))
        #expect(take().isEmpty)
        deliveries.pause(item)
        let other = try #require(take().first)
        #expect(other.target == 7)
        deliveries.resume(item)
        #expect(take().isEmpty)
        _ = finish(other, .sent)
        deliveries.settle(other, next: nil)
        #expect(take().map(\.key) == [-1])
    }

    @Test("Behind those that have to wait for a closed way, those with another are found")
    mutating func behindTheStuck() throws {
        deliveries.limits.held = 2
        _ = add(.of(1))
        let item = try #require(take().first)
        #expect(finish(item, .quota) == .waiting)
        for target in 2...6 { _ = add(.of(Int64(target))) }
        _ = add(.of(8, hasNext: true))
        #expect(deliveries.takePassing(now: now).map(\.item.target) == [8])
        deliveries.settle(.of(8, hasNext: true), next: nil)
        let loads = deliveries.circuitsToLoad(now: now)
        #expect(loads.map(\.isForPassing) == [true])
        load([.of(9, hasNext: true)], isForPassing: true)
        #expect(deliveries.takePassing(now: now).map(\.item.target) == [9])
        deliveries.settle(.of(9, hasNext: true), next: nil)
        #expect(deliveries.circuitsToLoad(now: now).isEmpty, "not again at once")
        #expect(deliveries.nextWake(now: now) == 1000)
        pass(1000)
        #expect(deliveries.circuitsToLoad(now: now).count == 1)
    }

    @Test("So many are passed on at one time as one transaction should write")
    mutating func passingBound() throws {
        deliveries.limits.passing = 10
        _ = add(.of(1))
        let item = try #require(take().first)
        #expect(finish(item, .quota) == .waiting)
        for id in 1...3 { _ = add(parcel(Int64(id), count: 10, hasNext: true)) }
        let first = deliveries.takePassing(now: now)
        #expect(first.map(\.item.key) == [-1])
        #expect(deliveries.takePassing(now: now).isEmpty)
        deliveries.settle(first[0].item, next: nil)
        #expect(deliveries.nextWake(now: now) == 1)
        #expect(deliveries.takePassing(now: now).map(\.item.key) == [-2])
    }
}
