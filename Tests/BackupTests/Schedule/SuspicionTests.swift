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

    @Test(
        "max_delete is a share or a number",
        arguments: [
            ("20%", DeletionLimit.share(0.2)), ("5 %", .share(0.05)), ("0%", .share(0)),
            ("100%", .share(1)), ("300", .files(300)), ("0", .files(0)), ("101%", nil), ("-1", nil),
            ("%", nil), ("", nil), ("2.5%", nil), ("99999999999999999999", nil), ("a", nil),
        ] as [(String, DeletionLimit?)])
    func limits(text: String, limit: DeletionLimit?) {
        #expect(DeletionLimit(text) == limit)
    }

    @Test("A share of the job counts for each source, a number for all of it")
    func guarded() throws {
        func list(_ count: Int) -> FileList {
            let hash = ContentHash([UInt8](repeating: 7, count: 32))
            return FileList(
                (0..<count).compactMap { number in
                    guard let path = SnapshotPath("uploads/\(1000 + number)"), let hash else {
                        return nil
                    }
                    return FileEntry(
                        path: path, kind: .file(size: 1, hash: hash), mode: 0o600, modified: 0)
                })
        }
        func stops(_ limit: DeletionLimit, left: Int) -> String? {
            var job = JobSettings(name: "a")
            job.maximumDeletions = limit
            do throws(BackupError) {
                _ = try SuspicionGuard.judge(
                    SuspicionRequest(
                        job: job, previous: list(100), list: list(left), changed: 0,
                        deleted: 100 - left, history: []), warn: { _ in })
                return nil
            } catch {
                return error.message
            }
        }
        #expect(stops(.usual, left: 80) == nil)
        #expect(stops(.usual, left: 79)?.contains("max_delete allows 20 %") == true)
        #expect(stops(.share(0.5), left: 51) == nil)
        #expect(stops(.share(0.5), left: 49)?.contains("max_delete allows 50 %") == true)
        #expect(stops(.files(60), left: 40) == nil)
        #expect(stops(.files(60), left: 39)?.contains("61 have vanished") == true)
        #expect(stops(.files(1000), left: 0)?.contains("no files any more") == true)
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
