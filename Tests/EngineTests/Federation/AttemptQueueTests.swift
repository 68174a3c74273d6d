// Whose turn it is to be connected to, without a network.

import NIOCore
import Testing

@testable import Engine

@Suite("Turns of attempts")
struct AttemptQueueTests {
    typealias Queue = AttemptQueue<String>

    private var queue = Queue()
    private let start = NIODeadline.now()

    /// Begins whatever may begin; gives the routes and the numbers of their attempts.
    private mutating func begin(
        limit: Int = 1000, after time: TimeAmount = .zero
    ) -> (routes: [String], numbers: [Int], isPausing: Bool) {
        var (routes, numbers): ([String], [Int]) = ([], [])
        while true {
            switch queue.next(limit: limit, now: start + time) {
            case .none: return (routes, numbers, false)
            case .later: return (routes, numbers, true)
            case .begin(let route, let number):
                routes.append(route)
                numbers.append(number)
            }
        }
    }

    private mutating func add(_ count: Int, _ name: String, isFailing: Bool = false) {
        for number in 0..<count { queue.append("\(name)\(number)", isFailing: isFailing) }
    }

    @Test("No more are under way than the limit; an end makes room, in the order of asking")
    mutating func limit() {
        add(5, "r")
        let first = begin(limit: 2)
        #expect(first.routes == ["r0", "r1"])
        #expect(!queue.isIdle)
        queue.end(first.numbers[1], limit: 2)
        #expect(begin(limit: 2).routes == ["r2"])
    }

    @Test("A burst begins at once, and then so many a second, however fast they end")
    mutating func pace() {
        add(2 * (Queue.burst + Queue.rate), "r")
        let first = begin()
        #expect(first.routes.count == Queue.burst)
        #expect(first.isPausing)
        for number in first.numbers { queue.end(number, limit: 1000) }
        #expect(queue.isIdle)
        // The one who asked for the pause comes back; nobody else need.
        queue.append("another", isFailing: false)
        #expect(begin().routes.isEmpty)
        #expect(!begin().isPausing)
        queue.goOn()
        #expect(begin(after: .seconds(1)).routes.count == Queue.rate)
        queue.goOn()
        // A long time without attempts earns no more than a burst.
        #expect(begin(after: .hours(1)).routes.count == Queue.burst)
    }

    @Test("Domains that fail again and again do not hold up the others")
    mutating func failing() {
        add(1000, "failing", isFailing: true)
        let first = begin()
        #expect(first.routes.count == Queue.burst - Queue.reserve)
        #expect(first.isPausing)
        add(Queue.reserve + 1, "fresh")
        let second = begin()
        #expect(second.routes == (0..<Queue.reserve).map { "fresh\($0)" })
        queue.goOn()
        let third = begin(after: .seconds(1))
        #expect(third.routes == ["fresh\(Queue.reserve)"], "those that fail wait for the reserve")
    }

    @Test("What takes long makes way, seven times the limit at most")
    mutating func overdue() {
        add(12, "r")
        var numbers: [Int] = []
        for _ in 0..<10 {
            let (_, begun, _) = begin(limit: 1)
            numbers += begun
            if let number = begun.first { queue.isOverdue(number, limit: 1) }
        }
        #expect(numbers.count == 8)
        queue.end(numbers[0], limit: 1)
        #expect(begin(limit: 1).routes == ["r8"], "the eighth is counted among the slow now")
        for number in 1...9 { queue.end(number, limit: 1) }
        #expect(queue.isIdle)
    }

    @Test("After a stop nobody waits")
    mutating func stop() {
        add(3, "r")
        add(3, "failing", isFailing: true)
        queue.removeAll()
        #expect(begin().routes.isEmpty)
        #expect(queue.isIdle)
    }
}
