// Backups in words for a person.

internal import Backup
internal import Engine

extension BackupListing.Target {
    /// One line.
    var line: String {
        var text = "target \(name): \(location)"
        if let problem { return text + ": not usable: \(problem)" }
        if sameMedium == true { text += ", on the data's own medium" }
        if let space {
            text += ", \(ProgressLine.size(Double(space.free))) free"
        }
        return text + ", \(snapshots.count) snapshots"
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
            lines.append(target.line)
            for snapshot in target.snapshots {
                var text = "  \(snapshot.id)"
                if let bytes = snapshot.bytes { text += "  \(ProgressLine.size(Double(bytes)))" }
                if let job = snapshot.job { text += "  \(job)" }
                if snapshot.verified != nil { text += "  verified" }
                if snapshot.pinned { text += "  pinned" }
                if let domains = snapshot.domains { text += "  " + domains.joined(separator: ", ") }
                if let problem = snapshot.problem { text += "  not usable: \(problem)" }
                lines.append(text)
            }
        }
        for job in jobs {
            lines.append(
                "job \(job.name): \(job.schedule ?? "by hand") to \(job.targets.joined(separator: ", "))"
            )
            if let result = job.lastResult {
                var text = "  last run: \(result.rawValue)"
                if let reason = job.lastReason { text += ": \(reason)" }
                if let step = job.nextStep { text += "; \(step)" }
                lines.append(text)
            }
            for time in job.next { lines.append("  next run: \(Clock.timestamp(time))") }
            if let block = job.block { lines.append("  it \(block)") }
            if job.protected == false { lines.append("  \(RunOutcome.unprotected)") }
        }
        return lines
    }
}
