// How a run ended, for its owner, for the state and for the metrics.

/// What became of one target in a run.
public struct TargetOutcome: Sendable, Codable, Equatable {
    /// The target's name.
    public var target: String
    /// How it ended.
    public var result: RunResult
    /// Why; empty when all went well.
    public var reason = ""
    /// What to do; empty when there is nothing.
    public var nextStep = ""
    /// The new snapshot.
    public var snapshot: SnapshotID?
    /// Whether it lies on the data's own medium; nil when it was not reached.
    public var isOnSameMedium: Bool?
    /// What was moved.
    public var transfer = TransferReport()
    /// Files that were read back and compared.
    public var verifiedFiles = 0
    /// Snapshots that were removed afterwards.
    public var pruned: [SnapshotID] = []
    /// What kind of failure it was.
    public var code: BackupError.Code?
    /// Whether far more has changed than usual; nil when that was not asked.
    public var isUnusual: Bool?

    /// Creates an outcome without reasons.
    public init(target: String, result: RunResult) {
        self.target = target
        self.result = result
    }

    init(target: String, _ error: BackupError) {
        self.target = target
        switch error.code {
        case .absent: result = .skipped
        case .cancelled: result = .cancelled
        default: result = .failed
        }
        reason = "\(error.subject): \(error.message)"
        nextStep = error.advice
        transfer.exitStatus = error.exitStatus
        code = error.code
    }
}

/// What became of a run.
public struct RunOutcome: Sendable, Codable, Equatable {
    /// The job's name.
    public var job: String
    /// The worst of its targets' results, but one that was skipped beside one that was not is a
    /// warning.
    public var result: RunResult
    /// Why; empty when all went well.
    public var reason = ""
    /// What to do; empty when there is nothing.
    public var nextStep = ""
    /// When it began, in seconds since 1970.
    public var began: Int64
    /// In seconds.
    public var duration = 0.0
    /// Whether a snapshot is on another medium than the data; nil when no target was reached.
    public var isProtected: Bool?
    /// By target.
    public var targets: [TargetOutcome] = []
    /// Whether it was for one target while another one of the job lacks a run that worked.
    public var isPartial: Bool?
    /// What a person should know, in sentences.
    public var warnings: [String] = []

    init(job: String, result: RunResult, began: Int64) {
        self.job = job
        self.result = result
        self.began = began
    }

    /// Warnings that are kept at most.
    static let mostWarnings = 50

    /// What is said when no target protects from the death of the disk.
    public static let unprotected =
        "all copies are on the medium of the data, so they do not protect from its death"

    /// Puts the targets' results together.
    mutating func conclude() {
        let results = targets.map(\.result)
        if results.contains(.failed) {
            result = .failed
        } else if results.contains(.cancelled) {
            result = .cancelled
        } else if !results.isEmpty, results.allSatisfy({ $0 == .skipped }) {
            result = .skipped
        } else if results.contains(.warning) || results.contains(.skipped) || !warnings.isEmpty {
            result = .warning
        } else {
            result = .success
        }
        let order: [RunResult] = [.failed, .cancelled, .skipped, .warning]
        for wanted in order {
            guard reason.isEmpty,
                let target = targets.first(where: { $0.result == wanted && !$0.reason.isEmpty })
            else { continue }
            reason = target.reason
            nextStep = target.nextStep
        }
        if reason.isEmpty, result == .warning { reason = warnings.first ?? "" }
        let reached = targets.compactMap { target in
            target.result.isGood ? target.isOnSameMedium : nil
        }
        if !reached.isEmpty { isProtected = reached.contains(false) }
    }

    /// Everything that somebody should look at though there is a snapshot.
    var remarks: [String] {
        let reasons = targets.filter { !$0.reason.isEmpty }.map { "\($0.target): \($0.reason)" }
        return (reasons + warnings).map { Excerpt.line($0) }
    }

    /// What became of each target, and every warning.
    var log: [String] {
        targets.map { target in
            var line = "\(target.target): \(target.result.rawValue)"
            if let id = target.snapshot { line += ", snapshot \(id)" }
            line += ", \(target.transfer.bytesSent) bytes sent"
            if !target.pruned.isEmpty { line += ", \(target.pruned.count) removed" }
            if !target.reason.isEmpty { line += ": \(target.reason)" }
            return Excerpt.line(line)
        } + warnings.map { "warning: \($0)" }
    }

    /// One line for a person.
    public var summary: String {
        var text = "backup \(job): \(result.rawValue)"
        if !reason.isEmpty { text += ": \(reason)" }
        if !nextStep.isEmpty { text += "; \(nextStep)" }
        if isProtected == false { text += " (\(Self.unprotected))" }
        return text
    }
}
