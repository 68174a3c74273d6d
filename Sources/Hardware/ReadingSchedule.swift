// When each reading is due. No clock and no thread in here.

/// The rhythm of a list of readings.
struct ReadingSchedule {
    private let periods: [Duration]
    private var due: [ContinuousClock.Instant]

    /// Everything is due at `start`, and then once a period.
    init(periods: [Duration], start: ContinuousClock.Instant) {
        self.periods = periods
        due = periods.map { _ in start }
    }

    /// The next moment at which something is due; nil when there are no readings.
    var next: ContinuousClock.Instant? { due.min() }

    /// The indices of the readings that are due, which count as read from `now` on. A reading that
    /// was missed (a slow neighbour, a suspended machine) is not made up for.
    mutating func takeDue(at now: ContinuousClock.Instant) -> [Int] {
        let indices = due.indices.filter { due[$0] <= now }
        for index in indices { due[index] = now + periods[index] }
        return indices
    }
}
