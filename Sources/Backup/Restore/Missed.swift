// Files that a restore goes on without, where the owner wants that: an upload less is better than no
// chat at all.

internal import Synchronization

/// Collects them. Safe on any thread.
final class Missed: Sendable {
    private struct State {
        var paths: Set<SnapshotPath> = []
        var bytes: Int64 = 0
        var first: [String] = []
    }
    private static let mostNamed = 20
    private let state = Mutex(State())

    /// False when nothing works without the file.
    func add(_ entry: FileEntry, _ fault: String) -> Bool {
        guard ["uploads", "extra"].contains(entry.path.top), entry.hash != nil else { return false }
        return state.withLock { state in
            guard state.paths.insert(entry.path).inserted else { return true }
            state.bytes += entry.size
            if state.first.count < Self.mostNamed {
                state.first.append(RestorePlan.printable("\(entry.path)"))
            }
            return true
        }
    }

    var paths: Set<SnapshotPath> { state.withLock { $0.paths } }
    var bytes: Int64 { state.withLock { $0.bytes } }

    /// Nil when there are none.
    var sentence: String? {
        state.withLock { state in
            guard !state.paths.isEmpty else { return nil }
            let rest = state.paths.count - state.first.count
            return "\(state.paths.count) damaged files are missing: "
                + state.first.joined(separator: ", ") + (rest > 0 ? " and \(rest) more" : "") + "."
        }
    }
}
