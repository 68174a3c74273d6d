// Everything that can happen to the deliveries, in an order that is drawn, against a database that is
// played: whatever is due is sent or given up in the end, and never two at a time for one target.

import Testing

@testable import PushRelay

/// The queue as the database has it, and the one writer: transactions in their order, and what is
/// called after each of them, in their order too, but later.
private struct PlayedWorld {
    struct Row {
        var version: Int64 = 0
        var due: Int64?
        var circuit: String
    }

    var now = DeliveriesTests.start
    var deliveries: Deliveries
    var rows: [Int64: Row] = [:]
    var flights: [DeliveryItem] = []
    var authorizing: [String] = []
    var transactions: [(inout PlayedWorld) -> (inout PlayedWorld) -> Void] = []
    var callbacks: [(inout PlayedWorld) -> Void] = []
    var sent = 0
    var random: SeededGenerator

    init(_ seed: Int) {
        random = SeededGenerator(seed)
        var limits = DeliveryLimits()
        limits.inFlight = 2
        limits.held = 4
        limits.circuits = 3
        limits.rate = 50
        limits.burst = 5
        deliveries = Deliveries(limits)
    }

    func item(_ target: Int64, _ row: Row) -> DeliveryItem {
        .of(
            target, version: row.version, provider: row.circuit == "c1" ? .apns : .fcm,
            circuit: row.circuit)
    }

    // MARK: Events

    mutating func note(_ target: Int64) {
        let moves = Int.random(in: 0..<20, using: &random) == 0
        let waits = Bool.random(using: &random)
        transactions.append { world in
            var row = world.rows[target] ?? Row(circuit: "c\(target % 5)")
            if moves { row.circuit = "c\((target + 1) % 5)" }
            row.version += 1
            row.due = row.due ?? world.now.wall + (waits ? 5000 : 0)
            world.rows[target] = row
            let (item, due) = (world.item(target, row), row.due ?? 0)
            return { world in _ = world.deliveries.add(item, due: due, now: world.now) }
        }
    }

    mutating func suppress(_ target: Int64) {
        transactions.append { world in
            if world.rows[target]?.due != nil {
                world.rows[target]?.due = nil
                world.rows[target]?.version += 1
            }
            return { world in world.deliveries.cancel([target]) }
        }
    }

    mutating func turn() {
        for item in deliveries.takeReady(now: now) {
            #expect(!flights.contains { $0.target == item.target }, "two under way for a target")
            flights.append(item)
        }
        for wanted in deliveries.circuitsToLoad(now: now) { load(wanted) }
        let loads = deliveries.circuits.values.count(where: \.isLoading)
        #expect(loads <= transactions.count + callbacks.count)
        for circuit in deliveries.circuits.values {
            let own = flights.count {
                deliveries.circuits[$0.circuit]?.provider == circuit.provider
            }
            #expect(circuit.inFlight >= 0 && circuit.inFlight <= max(2, own))
        }
    }

    private mutating func load(_ load: DeliveryLoad) {
        let circuit = load.circuit
        // Nobody here has another way.
        let count = load.isForPassing ? 0 : load.wakes
        let held = deliveries.heldTargets(of: circuit)
        let fails = Int.random(in: 0..<10, using: &random) == 0
        let wall = now.wall
        transactions.append { world in
            guard !fails else { return { $0.deliveries.didNotLoad(circuit, now: $0.now) } }
            let waiting = world.rows.filter { $0.value.circuit == circuit && $0.value.due != nil }
            let due = waiting.filter { ($0.value.due ?? 0) <= wall && !held.contains($0.key) }
                .sorted { ($0.value.due ?? 0, $0.key) < ($1.value.due ?? 0, $1.key) }
            let items = due.prefix(count).map { world.item($0.key, $0.value) }
            let next = waiting.compactMap(\.value.due).filter { $0 > wall }.min()
            return { world in
                world.deliveries.didLoad(
                    load, items, hasMore: due.count > count, hasMoreParcels: false, nextDue: next,
                    now: world.now)
            }
        }
    }

    mutating func look() {
        guard deliveries.overflow else { return }
        deliveries.overflow = false
        transactions.append { world in
            var first: [String: Int64] = [:]
            for row in world.rows.values {
                if let due = row.due {
                    first[row.circuit] = min(first[row.circuit] ?? due, due)
                }
            }
            let found = first.sorted { $0.key < $1.key }.prefix(world.deliveries.limits.circuits)
            return { world in
                for (circuit, due) in found {
                    world.deliveries.noteDue(
                        circuit, circuit == "c1" ? .apns : .fcm, at: due, now: world.now)
                }
                if found.count < first.count { world.deliveries.overflow = true }
            }
        }
    }

    mutating func answer(_ answer: PushAnswer) {
        guard !flights.isEmpty else { return }
        let item = flights.remove(at: Int.random(in: 0..<flights.count, using: &random))
        let moment = now
        let end = deliveries.finish(
            item, answer, random: Double.random(in: 0...1, using: &random), now: now
        ).end
        guard end != .waiting else { return }
        if end == .sent { sent += 1 }
        transactions.append { world in
            if var row = world.rows[item.target], let due = row.due {
                switch end {
                case .sent where row.version == item.version: row.due = nil
                case .sent: row.due = max(due, moment.wall + 5000)
                case .later(let later, _): row.due = max(due, later)
                case .dead where row.version == item.version: row.due = nil
                default: break
                }
                world.rows[item.target] = row
            }
            let next = world.rows[item.target]?.due
            return { world in world.deliveries.settle(item, next: next) }
        }
    }

    mutating func authorize() {
        guard let item = flights.first, !authorizing.contains(item.circuit) else { return }
        flights.removeFirst()
        _ = deliveries.authorize(item)
        authorizing.append(item.circuit)
    }

    mutating func didAuthorize(_ answer: PushAnswer) {
        guard !authorizing.isEmpty else { return }
        let circuit = authorizing.removeFirst()
        deliveries.didAuthorize(circuit)
        if answer.outcome != .accepted {
            deliveries.didNotAuthorize(circuit, answer, random: 0.5, now: now)
        }
    }

    mutating func commit() {
        guard !transactions.isEmpty else { return }
        let after = transactions.removeFirst()(&self)
        callbacks.append(after)
    }

    mutating func callBack() {
        guard !callbacks.isEmpty else { return }
        callbacks.removeFirst()(&self)
    }

    mutating func write() {
        while !transactions.isEmpty || !callbacks.isEmpty {
            commit()
            callBack()
        }
    }

    // MARK: The end

    /// Lets everything get through. Gives what was never sent.
    mutating func finish() -> [Int64] {
        var idle = 0
        for _ in 0..<20_000 {
            let before = (rows.values.count { $0.due != nil }, deliveries.heldCount)
            write()
            while !authorizing.isEmpty { didAuthorize(.sent) }
            turn()
            while !flights.isEmpty { answer(.sent) }
            write()
            look()
            write()
            let waiting = rows.filter { $0.value.due != nil }
            guard !waiting.isEmpty else { return [] }
            let wake = deliveries.nextWake(now: now)
            if wake == nil, !deliveries.overflow { break }
            let time = min(wake ?? 60_000, 60_000)
            idle = before == (waiting.count, deliveries.heldCount) && time <= 1 ? idle + 1 : 0
            #expect(idle < 20, "it turns in circles")
            guard idle < 20 else { break }
            now = now.adding(milliseconds: time)
        }
        return rows.filter { $0.value.due != nil }.keys.sorted()
    }
}

@Suite("Deliveries, whatever happens") struct DeliveriesModelTests {
    static let answers: [PushAnswer] = [
        .sent, .sent, .sent, .sent, .gone, .refused, .busy, .down, .down, .wait(3), .expired,
        .locked, .quota,
    ]

    @Test("What is due is sent or given up, one at a time for a target", arguments: 0..<60)
    func everythingIsSent(seed: Int) {
        var world = PlayedWorld(seed)
        var random = SeededGenerator(seed &+ 1_000_003)
        for _ in 0..<400 {
            let target = Int64.random(in: 1...15, using: &random)
            switch Int.random(in: 0..<16, using: &random) {
            case 0...3: world.note(target)
            case 4: world.suppress(target)
            case 5, 6: world.turn()
            case 7, 8: world.answer(Self.answers.randomElement(using: &random) ?? .sent)
            case 9...11: world.commit()
            case 12, 13: world.callBack()
            case 14:
                let time = [1, 50, 2000, 20_000].randomElement(using: &random) ?? 1
                world.now = world.now.adding(milliseconds: Int64(time))
            default:
                switch Int.random(in: 0..<3, using: &random) {
                case 0: world.authorize()
                case 1: world.didAuthorize(Self.answers.randomElement(using: &random) ?? .sent)
                default: world.look()
                }
            }
            #expect(world.deliveries.underWayCount >= world.flights.count)
            #expect(world.deliveries.heldCount <= 15)
        }
        let forgotten = world.finish()
        #expect(forgotten.isEmpty, "seed \(seed)")
        #expect(world.deliveries.underWayCount == 0 && world.deliveries.heldCount == 0)
    }
}
