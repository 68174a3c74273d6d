// Backups in words for a person.

internal import Backup
internal import Engine
internal import Glibc

extension BackupListing.Target {
    /// One line.
    func line(now: Int64) -> String {
        var text = "target \(name): \(location)"
        if let problem {
            // It mostly begins with the place.
            let cause =
                problem.hasPrefix(location + ": ")
                ? String(problem.dropFirst(location.count + 2)) : problem
            return text + ": \(cause)"
        }
        if sameMedium == true { text += ", on the data's own medium" }
        if let space {
            text += ", \(ProgressLine.size(Double(space.free))) free"
        }
        text += ", \(counted(snapshots.count, "snapshot"))"
        if let newest = snapshots.last {
            text += ", the newest \(BackupReports.age(now - newest.time)) old"
        }
        return text
    }

    private func columns(_ snapshot: BackupListing.Snapshot, now: Int64) -> [String] {
        var columns = ["\(snapshot.id)", localTime(snapshot.time)]
        columns.append(BackupReports.age(now - snapshot.time))
        columns.append(snapshot.bytes.map { ProgressLine.size(Double($0)) } ?? "")
        columns.append(snapshot.job ?? "")
        columns.append(
            snapshot.verified.map { "verified \(BackupReports.age(now - $0)) ago" } ?? "")
        columns.append(snapshot.pinned ? "pinned" : "")
        columns.append(snapshot.domains?.joined(separator: ", ") ?? "")
        columns.append(snapshot.problem.map { "not usable: \($0)" } ?? "")
        return columns
    }

    /// A line for each snapshot, in columns.
    func snapshotLines(now: Int64) -> [String] {
        let rows = snapshots.map { columns($0, now: now) }
        let widths = (rows.first?.indices ?? 0..<0).map { column in
            rows.map { $0[column].count }.max() ?? 0
        }
        return rows.map { row in
            var line = ""
            for (text, width) in zip(row, widths) where width > 0 {
                line += "  " + text + String(repeating: " ", count: width - text.count)
            }
            while line.last == " " { line.removeLast() }
            return line
        }
    }
}

extension BackupListing {
    /// Lines for a terminal.
    func lines(now: Int64) -> [String] {
        var lines: [String] = []
        if let running {
            let step = progress.map(ProgressLine.text) ?? "at its beginning"
            lines.append("\(running) runs: \(step)")
        }
        if let busy { lines.append("\(busy); what follows is from memory") }
        for target in targets {
            lines.append(target.line(now: now))
            lines += target.snapshotLines(now: now)
        }
        for job in jobs { lines += job.lines(now: now) }
        return lines
    }
}

extension BackupListing.Job {
    fileprivate func lines(now: Int64) -> [String] {
        let places = targets.joined(separator: ", ")
        var lines = ["job \(name): \(schedule.map { "\"\($0)\"" } ?? "by hand"), to \(places)"]
        if let lastResult {
            var text = "  last run   \(lastResult.rawValue)"
            if let lastAttempt { text += ", \(BackupReports.age(now - lastAttempt)) ago" }
            if let lastReason { text += ": \(lastReason)" }
            if let nextStep { text += "; \(nextStep)" }
            lines.append(text)
        }
        if let lastSuccess, lastResult?.isGood != true {
            lines.append("  last good  \(BackupReports.age(now - lastSuccess)) ago")
        }
        if !next.isEmpty {
            lines.append("  next runs  \(next.map(localTime).joined(separator: ", "))")
        }
        if let block { lines.append("  now        \(block)") }
        if self.protected == false { lines.append("  warning    \(RunOutcome.unprotected)") }
        return lines
    }
}

/// `1 file`, `2 files`.
func counted(_ count: Int, _ what: String) -> String { "\(count) \(what)\(count == 1 ? "" : "s")" }

/// Such as `2026-11-21 03:30`, by the clock of this machine's owner.
func localTime(_ seconds: Int64) -> String {
    var time = time_t(seconds)
    var parts = tm()
    guard localtime_r(&time, &parts) != nil else { return Clock.timestamp(seconds) }
    var text = [CChar](repeating: 0, count: 64)
    let length = strftime(&text, text.count, "%Y-%m-%d %H:%M", &parts)
    return String(decoding: text.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
