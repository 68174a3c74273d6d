// What the readings found last, and how a scrape shows it.
//
// THREADS: written by the thread that reads, rendered by the thread that scrapes; the lock is held
// for copying values only, never while a reading reads.

import Prometheus
import Synchronization

/// The outcome of one read.
struct ReadingOutcome: Sendable {
    /// What was found; of a failed read, what was found before it failed.
    var samples: [Sample]
    /// Why the read failed; nil when it did not.
    var failure: ReadingError?
    /// Time that the read took.
    var duration: Duration
    /// When it ended.
    var end: ContinuousClock.Instant

    /// Whether this machine has the source at all.
    var isPresent: Bool { failure != nil || !samples.isEmpty }
}

/// The last outcome of each reading.
final class LatestReadings: Sendable {
    /// Families of the readings' own state.
    static let families = [
        FamilyDescription(
            name: "kinglet_hardware_reading_success", kind: .gauge,
            help: "Whether the last read of this source of the machine succeeded in time."),
        FamilyDescription(
            name: "kinglet_hardware_reading_duration_seconds", kind: .gauge,
            help: "Time that the last read of this source took."),
    ]

    private struct Entry {
        let name: String
        let families: [FamilyDescription]
        let validity: Duration
        var outcome: ReadingOutcome?
        /// The outcome's samples as lines: a scrape only copies them.
        var lines = RenderedSamples()
    }

    private let entries: Mutex<[Entry]>

    init(_ readings: [any Reading]) {
        entries = Mutex(
            readings.map { reading in
                // Longer than the firmware's timeouts, so that a slow neighbour is not a failure.
                let validity = max(reading.period * 3, .seconds(30))
                return Entry(
                    name: type(of: reading).name, families: type(of: reading).families,
                    validity: validity)
            })
    }

    /// The current failures by name of reading.
    var failures: [String: ReadingError] {
        entries.withLock { entries in
            entries.reduce(into: [:]) { $0[$1.name] = $1.outcome?.failure }
        }
    }

    /// The values of a sample that was read in time, by all of its labels' values.
    func values(of name: String, now: ContinuousClock.Instant) -> [Double] {
        entries.withLock { entries in
            entries.flatMap { entry -> [Double] in
                guard let outcome = entry.outcome, outcome.end.duration(to: now) <= entry.validity
                else { return [] }
                return outcome.samples.filter { $0.name == name }.map(\.value)
            }
        }
    }

    /// Replaces the last outcome of a reading and returns the failure of the one before.
    func record(_ outcome: ReadingOutcome, at index: Int) -> ReadingError? {
        let families = entries.withLock { $0[index].families }
        let lines = RenderedSamples(families) { sink in
            for sample in outcome.samples {
                sink.add(sample.name, labels: sample.labels, value: sample.value)
            }
        }
        return entries.withLock { entries in
            let before = entries[index].outcome?.failure
            entries[index].outcome = outcome
            entries[index].lines = lines
            return before
        }
    }

    /// Shows what is known at `now`. A value older than its reading's rhythm allows is not: the
    /// reading hangs, and its value would go on looking true.
    func render(into sink: inout SampleSink, now: ContinuousClock.Instant) {
        for entry in entries.withLock({ $0 }) {
            guard let outcome = entry.outcome, outcome.isPresent else { continue }
            let label = [("reading", entry.name)]
            let isOverdue = outcome.end.duration(to: now) > entry.validity
            let succeeded = outcome.failure == nil && !isOverdue
            sink.add(Self.families[0].name, labels: label, value: succeeded ? 1 : 0)
            if isOverdue { continue }
            sink.add(Self.families[1].name, labels: label, value: outcome.duration.inSeconds)
            sink.add(entry.lines)
        }
    }
}

extension Duration {
    /// As a number of seconds.
    var inSeconds: Double {
        Double(components.seconds) + Double(components.attoseconds) / 1e18
    }
}
