import Testing

@testable import Backup

@Suite("Whether a snapshot looks like a mistake")
struct SuspicionTests {
    private func judge(
        _ previous: Int?, _ files: Int, vanished: Int, changed: Int = 0, before: [Int] = [],
        accepted: Bool = false
    ) -> Suspicion {
        Suspicion.judge(
            SnapshotChange(
                previousFiles: previous, files: files, vanished: vanished, changed: changed,
                changedBefore: before),
            source: "uploads", isAccepted: accepted)
    }

    private func message(_ suspicion: Suspicion) -> String? {
        guard case .stop(let error) = suspicion else { return nil }
        #expect(error.code == .suspicious && error.subject == "uploads")
        #expect(error.advice.contains("kinglet backup run --accept-changes"))
        return error.message
    }

    @Test("More than a fifth of the files may not vanish, nor all of them, with the numbers")
    func vanished() {
        #expect(judge(100, 80, vanished: 20) == .none)
        #expect(
            message(judge(100, 79, vanished: 21))
                == "21 of 100 files (21 %) are gone since the previous snapshot, and max_delete "
                + "allows 20 %")
        #expect(message(judge(1_000, 795, vanished: 205))?.contains("(20.5 %)") == true)
        // Few are never suspicious, unless they are all.
        #expect(judge(20, 11, vanished: 9) == .none)
        #expect(message(judge(20, 10, vanished: 10)) != nil)
        #expect(message(judge(3, 3, vanished: 3))?.contains("all 3 files") == true)
    }

    @Test("Sources that were not empty may not be")
    func emptied() {
        #expect(message(judge(1, 0, vanished: 1))?.contains("previous snapshot has 1") == true)
        #expect(judge(0, 0, vanished: 0) == .none)
        #expect(judge(nil, 0, vanished: 0) == .none)
        #expect(judge(nil, 100_000, vanished: 0, changed: 100_000) == .none)
    }

    @Test("Ten times the usual number of changes is worth a warning, from a hundred on")
    func spike() {
        let before = [5, 9, 12, 500, 10]
        #expect(judge(5_000, 5_000, vanished: 0, changed: 100, before: before) == .none)
        guard
            case .warning(let text) = judge(
                5_000, 5_000, vanished: 0, changed: 101, before: before)
        else {
            Issue.record("no warning")
            return
        }
        #expect(text.contains("101 files changed") && text.contains("it was 10 as a rule"))
        #expect(judge(5_000, 5_000, vanished: 0, changed: 119, before: [12, 12, 12]) == .none)
        #expect(judge(5_000, 5_000, vanished: 0, changed: 121, before: [12, 12, 12]) != .none)
        #expect(judge(5_000, 5_000, vanished: 0, changed: 120, before: [12, 12, 12]) == .none)
        // Too little is known.
        #expect(judge(5_000, 5_000, vanished: 0, changed: 4_000, before: [1, 1]) == .none)
        #expect(judge(5_000, 5_000, vanished: 0, changed: 4_000, before: [0, 0, 0]) != .none)
    }

    @Test("What somebody accepts is not judged, and no number traps")
    func accepted() {
        #expect(judge(100, 0, vanished: 100, accepted: true) == .none)
        for number in [Int.min, -1, 0, 1, Int.max] {
            _ = judge(
                number, number, vanished: number, changed: number, before: [number, number, 0])
            _ = judge(.max, 1, vanished: number, changed: .max, before: [0, number, number])
        }
        let limits = SuspicionLimits(vanished: .nan, spike: .max)
        let change = SnapshotChange(previousFiles: 50, files: 20, vanished: 30, changed: 0)
        #expect(Suspicion.judge(change, source: "x", limits: limits) != .none)
    }
}
