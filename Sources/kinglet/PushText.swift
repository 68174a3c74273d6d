// Pushes in words for a person.

internal import Administration
internal import Backup
internal import Engine
internal import PushRelay
internal import XMPP

/// Rows of columns, each as wide as its widest cell.
private enum Table {
    static func lines(_ rows: [[String]]) -> [String] {
        let columns = rows.map(\.count).max() ?? 0
        var widths = [Int](repeating: 0, count: columns)
        for row in rows {
            for (column, cell) in row.enumerated() {
                widths[column] = max(widths[column], cell.count)
            }
        }
        return rows.map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                line += cell
                guard column < row.count - 1 else { break }
                line += String(repeating: " ", count: widths[column] - cell.count + 2)
            }
            return line
        }
    }
}

/// How long ago, or until when.
private enum Age {
    static func since(_ text: String?, _ now: Int64) -> String {
        guard let time = text.flatMap(Timestamp.parse) else { return "never" }
        return BackupReports.age(max(0, now - time / 1000)) + " ago"
    }

    static func until(_ text: String?, _ now: Int64) -> String {
        guard let time = text.flatMap(Timestamp.parse), time / 1000 > now else { return "now" }
        return "in " + BackupReports.age(time / 1000 - now)
    }
}

extension PushReason {
    /// As metrics have it, with blanks.
    fileprivate var words: String { rawValue.replacing("_", with: " ") }
}

extension ProviderKind {
    fileprivate var words: String {
        switch self {
        case .xmpp: "app server"
        case .apns: "APNs"
        case .fcm: "FCM"
        case .huawei: "Huawei"
        case .honor: "Honor"
        case .xiaomi: "Xiaomi"
        case .oppo: "OPPO"
        case .vivo: "vivo"
        case .meizu: "Meizu"
        case .webPush: "Web Push"
        case .unifiedPush: "UnifiedPush"
        case .ntfy: "ntfy"
        case .gotify: "Gotify"
        }
    }
}

// MARK: Targets

extension PushTargetDescription {
    /// Where it leads.
    var way: String {
        var parts = [provider.words]
        if let app { parts.append(app) }
        if let service { parts.append(service) }
        if let node { parts.append("node \(node)") }
        if let server { parts.append(server) }
        return parts.joined(separator: " ")
    }

    private func result(_ now: Int64) -> String {
        if let disabled {
            let why = reason.map { ": \($0.words)\(code.map { " (\($0))" } ?? "")" } ?? ""
            return "disabled \(Age.since(disabled, now))\(why)"
        }
        var parts: [String] = []
        if let waiting {
            let tries =
                waiting.tries > 0 ? ", \(counted(waiting.tries, "failed try", "tries"))" : ""
            parts.append("\(waiting.kind) waits, next \(Age.until(waiting.next, now))\(tries)")
        }
        if let circuit, circuit.state != "closed" {
            parts.append("way \(circuit.state)\(circuit.reason.map { ": \($0.words)" } ?? "")")
        }
        switch reason {
        case nil: parts.append("nothing sent yet")
        case .accepted: parts.append("accepted \(Age.since(lastSent, now))")
        case let reason?:
            parts.append("failed: \(reason.words)\(code.map { " (\($0))" } ?? "")")
            if lastSent != nil { parts.append("last accepted \(Age.since(lastSent, now))") }
        }
        if let waker = waker(now) { parts.append(waker) }
        return parts.joined(separator: "; ")
    }

    /// For which of the account's devices it is.
    private var place: String {
        guard let name else { return device ?? (jid == nil ? "-" : "all") }
        return order.map { "\(name), token \($0)" } ?? name
    }

    /// Who reached its device last, if it has several tokens.
    private func waker(_ now: Int64) -> String? {
        guard name != nil, let wokenBy else { return nil }
        let who =
            ProviderKind(rawValue: wokenBy).map { "by \($0.words)" } ?? "over its own connection"
        return "device woken \(who) \(Age.since(woken, now))"
    }

    fileprivate func cells(now: Int64) -> [String] {
        [
            "\(id)", jid ?? domain.map { "a device of \($0)" } ?? "a device",
            place + (always ? " (always)" : ""), way,
            "since \(since.prefix(10))", result(now),
        ]
    }
}

extension PushTargetList {
    /// Lines for a terminal.
    func lines(now: Int64) -> [String] {
        guard !targets.isEmpty else { return ["no targets"] }
        return Table.lines(targets.map { $0.cells(now: now) }) + (hasMore ? ["and more"] : [])
    }
}

// MARK: What waits, and what does not any more

extension PushQueueDescription.Entry {
    /// For whom it is.
    fileprivate var who: String {
        guard let task, let targets else { return "target \(target)" }
        return "task \(task): \(counted(targets, "target"))"
    }
}

extension PushQueueDescription {
    /// Lines for a terminal.
    func lines(now: Int64) -> [String] {
        guard total > 0 else { return ["nothing waits"] }
        let age = oldestAge.map { ", the oldest for \(BackupReports.age(Int64($0)))" } ?? ""
        let rows = entries.map { entry in
            [
                entry.who, entry.jid ?? "-", entry.provider.words, entry.push.kind,
                entry.task == nil ? "\(entry.push.unread) unread" : "-",
                "asked \(Age.since(entry.push.added, now))",
                "next \(Age.until(entry.push.next, now))",
                "\(counted(entry.push.tries, "failed try", "tries"))"
                    + (entry.circuit.map { $0 == "closed" ? "" : "; way \($0)" } ?? ""),
            ]
        }
        var lines = ["\(total == 1 ? "1 push waits" : "\(total) pushes wait")\(age)"]
        lines += Table.lines(rows)
        if total > entries.count { lines.append("and \(total - entries.count) more") }
        return lines
    }
}

extension DeadPushList {
    /// Lines for a terminal.
    func lines(now: Int64) -> [String] {
        guard total > 0 else { return ["nothing was given up"] }
        let rows = letters.map { letter in
            [
                "\(letter.id)", "target \(letter.target)", letter.jid ?? "-",
                letter.provider.words, letter.kind, "given up \(Age.since(letter.died, now))",
                "\(counted(letter.tries, "try", "tries"))",
                letter.reason.words + (letter.code.map { " (\($0))" } ?? ""),
            ]
        }
        return Table.lines(rows)
            + (total > letters.count ? ["and \(total - letters.count) older ones"] : [])
    }
}

extension PushRedriving {
    /// Lines for a terminal.
    var lines: [String] {
        if done.isEmpty, failed.isEmpty { return ["nothing was given up"] }
        var lines: [String] = []
        if !done.isEmpty {
            lines.append(
                "\(done.count == 1 ? "1 push is" : "\(done.count) pushes are") tried again")
        }
        return lines + failed.map { "\($0.id) stays: \($0.text)" }
    }
}

/// `1 try`, `2 tries`.
private func counted(_ count: Int, _ one: String, _ many: String) -> String {
    let words = one.split(separator: " ").dropLast().joined(separator: " ")
    return "\(count) " + (count == 1 ? one : words.isEmpty ? many : "\(words) \(many)")
}

// MARK: Providers

extension PushProvidersDescription {
    /// Lines for a terminal.
    func lines(now: Int64) -> [String] {
        var lines = [sending ? "pushes are sent" : "nothing is sent"]
        let rows = apps.map { app in
            [
                app.provider.words, app.app ?? "own targets", app.environment ?? "-",
                app.expiries.isEmpty
                    ? "-"
                    : app.expiries.map { "\($0.kind) until \($0.time)" }.joined(separator: ", "),
                app.receipts.map { "receipts to \($0)" } ?? "",
            ]
        }
        lines += section("providers", rows)
        lines += section("ways", circuits.map { $0.cells(now: now) })
        if omitted > 0 { lines.append("and \(omitted) more") }
        let header = [
            "", "requested", "sent", "collapsed", "suppressed", "given up", "dropped", "passed on",
            "waiting", "tried again", "",
        ]
        let numbers = books.map { book in
            [
                book.provider.words, "\(book.requested)", "\(book.sent)", "\(book.collapsed)",
                "\(book.suppressed)", "\(book.dead)", "\(book.dropped)", "\(book.passedOn)",
                "\(book.waiting)", "\(book.retried)", book.balanced ? "balanced" : "NOT BALANCED",
            ]
        }
        if !numbers.isEmpty { lines += section("books", [header] + numbers) }
        return lines
    }

    private func section(_ name: String, _ rows: [[String]]) -> [String] {
        rows.isEmpty ? [] : [name] + Table.lines(rows).map { "  \($0)" }
    }
}

extension PushCircuitDescription {
    fileprivate func cells(now: Int64) -> [String] {
        var text = state.replacing("_", with: " ")
        if let since { text += " since \(Age.since(since, now))" }
        if let until { text += ", next try \(Age.until(until, now))" }
        if let reason { text += ": \(reason.words)" }
        return [provider.words, name, text, "\(inFlight) under way", "\(ready) next"]
    }
}

// MARK: Status

extension PushSummary {
    /// One line.
    var line: String {
        var parts = [counted(targets, "target")]
        if disabled > 0 { parts.append("\(disabled) disabled") }
        if waiting > 0 {
            let age = oldestAge.map { ", the oldest for \(BackupReports.age(Int64($0)))" } ?? ""
            parts.append("\(waiting) waiting\(age)")
        }
        if let openCircuits, openCircuits > 0 {
            parts.append("\(counted(openCircuits, "way")) open: see kinglet push providers")
        }
        return parts.joined(separator: ", ")
    }
}

// MARK: Tests

extension PushTestStep {
    /// One line, and what to do if it failed.
    var lines: [String] {
        func left(_ text: String, _ width: Int) -> String {
            text + String(repeating: " ", count: max(0, width - text.count))
        }
        let line =
            left("target \(target)", 12) + left(ok ? "ok" : "failed", 8)
            + left("\(milliseconds) ms", 10) + left(step.rawValue, 14) + detail
        return [line] + (advice.map { ["            \($0)"] } ?? [])
    }

    private var detail: String {
        var parts: [String] = []
        switch step {
        case .registration:
            parts.append(provider.words + (value.map { " \($0)" } ?? ""))
            if let since { parts.append("registered \(since)") }
        case .credential:
            parts.append(value == "none" ? "none is needed, or the target's own" : value ?? "")
            if let until { parts.append("until \(until)") }
        case .request:
            if let value { parts.append("to \(value)") }
            if let bytes { parts.append(counted(bytes, "byte")) }
        case .answer:
            if let outcome { parts.append(outcome.replacing("_", with: " ")) }
        }
        if let reason { parts.append(reason.words) }
        if let code { parts.append("(\(code))") }
        return parts.filter { !$0.isEmpty }.joined(separator: ", ")
    }
}
