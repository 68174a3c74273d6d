// Which event loops do not turn, for health checks.

/// The event loops that have not turned for some seconds.
struct StuckLoops: CustomStringConvertible {
    /// Every loop turns once a second; on a loaded machine a little later.
    private static let limit = Duration.seconds(5)

    private let stuck: [(number: Int, time: Duration)]
    private let total: Int

    /// - Parameter times: of each loop, how long ago it turned.
    init(times: [Duration]) {
        stuck = times.enumerated().map { ($0 + 1, $1) }.filter { $0.1 > Self.limit }
        total = times.count
    }

    var count: Int { stuck.count }

    /// One line for each.
    var description: String {
        stuck.map {
            "event loop \($0.number) of \(total) has not turned for \($0.time.components.seconds) s"
        }.joined(separator: "\n")
    }
}
