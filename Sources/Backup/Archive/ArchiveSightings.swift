// What a run sees on a target and does not trust: a place may list too little or give back rubbish
// for an hour. What is still so a day later is so.

internal import Glibc

/// Snapshots of which something is remembered until another run has seen it, too.
struct ArchiveSightings {
    /// So long it has to last, in seconds.
    static let day: Int64 = 86_400
    private static let longest = 1 << 20

    private let path: String

    /// - Parameter name: of the file in the target's memory.
    init(_ name: String, _ context: TargetContext) { path = "\(context.memory)/\(name)" }

    /// Whether the same were seen at least a day ago, and at no time others. None are nothing that
    /// could last.
    func isLasting(_ ids: Set<SnapshotID>, at now: Int64) throws(BackupError) -> Bool {
        guard !ids.isEmpty else {
            try Files.remove(path)
            return false
        }
        let words = ids.sorted().map(\.description)
        let seen = String(
            decoding: try Files.read(path, limit: Self.longest) ?? [], as: UTF8.self
        ).split(separator: " ").map(String.init)
        if let since = seen.first.flatMap({ Int64($0) }), Array(seen.dropFirst()) == words,
            since >= 0, since <= now
        {
            return now - since >= Self.day
        }
        let text = (["\(now)"] + words).joined(separator: " ")
        try Files.replace(path, Array(text.utf8), mode: 0o600)
        return false
    }
}
