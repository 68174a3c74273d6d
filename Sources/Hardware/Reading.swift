// What one reading of the machine is. Each reading is one file; `AllReadings.swift` lists them.

import Prometheus

/// One fact, or a few that come from one place, read from the machine at regular intervals.
///
/// A reading whose source does not exist on this machine gives no sample and throws nothing: it
/// is absent from the metrics. One whose source exists and cannot be read or understood throws;
/// what it sampled before it threw is shown beside `kinglet_hardware_reading_success 0`.
protocol Reading: Sendable {
    /// The label value of this reading in `kinglet_hardware_reading_…{reading}`.
    static var name: String { get }
    /// The metric families of its samples.
    static var families: [FamilyDescription] { get }
    /// Time between two reads.
    var period: Duration { get }
    /// A read that takes longer has failed, whatever it brings in the end.
    var timeout: Duration { get }
    /// Whether it needs what was remembered (``MachineMemory``), and so is read again once that was
    /// loaded.
    static var remembers: Bool { get }
    /// Reads the machine once and appends what it found. May block; never called by a scrape, and
    /// never while the read before it still runs.
    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError)
}

extension Reading {
    /// Most do not.
    static var remembers: Bool { false }
    /// Longer than the firmware's own time limits.
    var timeout: Duration { .seconds(5) }
}

/// One value of one series.
struct Sample: Sendable, Equatable {
    /// Name of its family.
    var name: String
    /// Label names and values; values come from closed sets or from the hardware's own numbering.
    var labels: [(String, String)]
    /// In the base unit that the family's name ends with.
    var value: Double

    /// Makes a sample.
    init(_ name: String, labels: [(String, String)] = [], value: Double) {
        self.name = name
        self.labels = labels
        self.value = value
    }

    /// Equal name, labels in the same order, and value.
    static func == (left: Sample, right: Sample) -> Bool {
        left.name == right.name && left.value == right.value
            && left.labels.elementsEqual(right.labels, by: ==)
    }
}

/// Why a source that exists on this machine gave no value.
public struct ReadingError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of failure it was.
    public enum Code: String, Sendable {
        /// The operating system refused access.
        case permission
        /// The operating system could not read the source.
        case inputOutput
        /// The source gave something else than its documented form.
        case malformed
        /// The firmware refused or did not understand the question.
        case firmware
        /// The source did not answer in time.
        case timeout
        /// Another program or machine did not answer, or refused.
        case connection
        /// The thread that reads could not be started.
        case thread
    }

    /// What kind of failure it was.
    public var code: Code
    /// The file, device or firmware question that failed.
    public var subject: String
    /// What happened.
    public var message: String
    /// What an operator can do about it.
    public var advice: String

    /// Makes an error.
    public init(_ code: Code, subject: String, message: String, advice: String) {
        self.code = code
        self.subject = subject
        self.message = message
        self.advice = advice
    }

    /// One line for a log or a terminal.
    public var description: String { "\(subject): \(message); \(advice)" }
}

/// Runs the independent parts of one reading, so that a broken part does not hide the others.
struct IndependentParts {
    private var firstFailure: ReadingError?

    /// Runs one part and keeps its failure for ``finish()``.
    mutating func attempt(_ part: () throws(ReadingError) -> Void) {
        do throws(ReadingError) {
            try part()
        } catch {
            firstFailure = firstFailure ?? error
        }
    }

    /// Throws the first failure, if any part failed.
    func finish() throws(ReadingError) {
        if let firstFailure { throw firstFailure }
    }
}
