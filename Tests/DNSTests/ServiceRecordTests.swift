import Testing

@testable import DNS

@Suite("The order in which hosts are tried (RFC 2782)")
struct ServiceRecordTests {
    /// The same numbers each time.
    private struct Numbers: RandomNumberGenerator {
        var state: UInt64 = 7

        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ (state >> 33)
        }
    }

    private func record(_ priority: Int, _ weight: Int, _ target: String) -> ServiceRecord {
        ServiceRecord(priority: priority, weight: weight, port: 5269, target: target)
    }

    @Test("The lowest priority comes first, and nothing is lost")
    func priorities() {
        var numbers = Numbers()
        let records = [record(20, 1, "c"), record(0, 0, "a"), record(10, 65_535, "b")]
        for _ in 0..<100 {
            let ordered = ServiceRecord.ordered(records, using: &numbers)
            #expect(ordered.map(\.target) == ["a", "b", "c"])
        }
        #expect(ServiceRecord.ordered([], using: &numbers).isEmpty)
    }

    @Test("Among equals, the first one is drawn by weight")
    func weights() {
        var numbers = Numbers()
        let records = [record(1, 60, "often"), record(1, 30, "seldom"), record(1, 10, "rarely")]
        var firsts: [String: Int] = [:]
        for _ in 0..<10_000 {
            let ordered = ServiceRecord.ordered(records, using: &numbers)
            #expect(Set(ordered.map(\.target)).count == 3)
            firsts[ordered[0].target, default: 0] += 1
        }
        #expect((5_700...6_300).contains(firsts["often"] ?? 0))
        #expect((2_700...3_300).contains(firsts["seldom"] ?? 0))
        #expect((800...1_200).contains(firsts["rarely"] ?? 0))
    }

    @Test("One without weight has a very small chance; among such, each comes first at times")
    func noWeight() {
        var numbers = Numbers()
        var small = 0
        for _ in 0..<10_000 {
            let records = [record(1, 99, "a"), record(1, 0, "b")]
            if ServiceRecord.ordered(records, using: &numbers)[0].target == "b" { small += 1 }
        }
        #expect((30...250).contains(small))
        let records = (0..<4).map { record(1, 0, "\($0)") }
        var firsts = Set<String>()
        for _ in 0..<200 {
            firsts.insert(ServiceRecord.ordered(records, using: &numbers)[0].target)
        }
        #expect(firsts.count == 4)
    }

    @Test("Numbers beyond the record's do not trap")
    func bounds() {
        var numbers = Numbers()
        let records = [record(.min, .max, "a"), record(.min, .max, "b"), record(.max, .min, "c")]
        #expect(ServiceRecord.ordered(records, using: &numbers).last?.target == "c")
    }
}
