// Federation in words for a person.

internal import Administration
internal import Backup
internal import Engine
internal import XMPP

extension FederationRuleChange {
    /// What was done.
    var done: String {
        switch self {
        case .allow: "allowed"
        case .deny: "denied"
        case .forget: "forgotten"
        }
    }
}

extension FederationChangeResult {
    /// What was done, and what follows.
    func lines(
        _ change: FederationRuleChange, _ direction: FederationDirection?, isRunning: Bool
    ) -> [String] {
        let way =
            switch direction {
            case .incoming: ", stanzas from there"
            case .outgoing: ", stanzas to there"
            case nil: ""
            }
        var lines = ["\(change.done) \(domain)\(way)"]
        if endedStreams > 0 { lines.append("\(counted(endedStreams, "stream")) ended") }
        if returnedStanzas > 0 {
            lines.append("\(counted(returnedStanzas, "stanza")) went back to the senders")
        }
        if policy == "off" {
            lines.append(
                "federation.policy is off: no rule has an effect until it is allowlist or open")
        } else if change == .deny, direction != .incoming, !isRunning {
            lines.append("what waits for it goes back to its senders when the server starts")
        }
        return lines
    }
}

extension FederationSummary {
    /// One line.
    var line: String {
        var parts = ["policy \(policy)"]
        if let outgoing, let incoming {
            parts.append("\(counted(outgoing, "stream")) out, \(incoming) in")
        }
        if queuedStanzas > 0 {
            parts.append(
                "\(counted(queuedStanzas, "stanza")) "
                    + "(\(ProgressLine.size(Double(queuedBytes)))) waiting")
        }
        if unreachable > 0 { parts.append("\(counted(unreachable, "domain")) not reached") }
        return parts.joined(separator: ", ")
    }

    /// What is wrong.
    var problems: [String] {
        guard !unreachablePushDomains.isEmpty else { return [] }
        return [
            "phones are not woken through \(unreachablePushDomains.joined(separator: ", ")): "
                + "see kinglet federation test \(unreachablePushDomains[0])"
        ]
    }
}

extension FederationDescription {
    /// Lines for a terminal.
    func lines(now: Int64) -> [String] {
        var lines = ["policy    \(policy)\(policy == "off" ? ": no rule has an effect" : "")"]
        lines += ruleLines
        if !running {
            lines.append("the server is not running: shown is what waits for its start")
        }
        for peer in domains { lines += peer.lines(now: now) }
        if omitted > 0 { lines.append("and \(omitted) more") }
        return lines
    }

    /// A line for each domain; both directions in one where they agree.
    private var ruleLines: [String] {
        var lines: [String] = []
        var index = 0
        while index < rules.count {
            let rule = rules[index]
            index += 1
            var way = rule.direction == .incoming ? " (in)" : " (out)"
            if index < rules.count {
                var other = rules[index]
                other.direction = rule.direction
                if other == rule {
                    way = ""
                    index += 1
                }
            }
            let word = rule.isAllowed ? "allowed" : "denied "
            let source = rule.source == .command ? "by command" : "by the configuration"
            lines.append("\(word)   \(rule.domain)\(way), \(source)")
        }
        return lines
    }
}

extension PeerDescription {
    /// What it is at: a line for the domain, and one for each stream and each way to it.
    func lines(now: Int64) -> [String] {
        let summary = state
        var lines = ["\(domain)\(push ? " (wakes phones)" : ""): \(summary)"]
        for stream in streams { lines.append("  " + stream.line(now: now)) }
        for route in routes {
            guard let text = route.line(now: now) else { continue }
            lines.append(routes.count > 1 ? "  from \(route.local): \(text)" : "  \(text)")
        }
        return lines
    }

    private var state: String {
        let states = Set(routes.map(\.state))
        if states.contains(.open) || !streams.isEmpty { return "open" }
        if states.contains(.connecting) { return "connecting" }
        if states.contains(.pausing) { return "pausing" }
        return routes.contains { $0.queuedStanzas > 0 } ? "waiting" : "not connected"
    }
}

extension PeerRoute {
    /// What waits and what failed; nil when there is nothing to say.
    func line(now: Int64) -> String? {
        var parts: [String] = []
        if queuedStanzas > 0 {
            var text =
                "\(counted(queuedStanzas, "stanza")) "
                + "(\(ProgressLine.size(Double(queuedBytes)))) waiting"
            if let age = Self.age(oldest, now) { text += ", the oldest for \(age)" }
            parts.append(text)
        }
        if let nextAttempt, let time = seconds(nextAttempt) {
            parts.append("next attempt in \(BackupReports.age(max(0, time - now)))")
        }
        if let failure {
            let when = Self.age(failedAt, now).map { " \($0) ago" } ?? ""
            parts.append("failed\(when): \(failure)")
        }
        return parts.isEmpty ? nil : parts.joined(separator: "; ")
    }

    private static func age(_ text: String?, _ now: Int64) -> String? {
        text.flatMap(seconds).map { BackupReports.age(max(0, now - $0)) }
    }
}

extension PeerConnection {
    func line(now: Int64) -> String {
        var text = direction == .incoming ? "in " : "out"
        text += bidirectional ? " (both ways)" : ""
        if let start = seconds(since) { text += " for \(BackupReports.age(max(0, now - start)))" }
        for part in [tls, mechanism, address].compactMap({ $0 }) { text += ", \(part)" }
        return text
    }
}

/// The time that XEP-0082 writes so, in seconds since 1970.
private func seconds(_ text: String) -> Int64? {
    Timestamp.parse(text).map { $0 / 1000 }
}

extension FederationTestStep {
    /// One line: whether it went well, its time, what was found.
    var line: String {
        func left(_ text: String, _ width: Int) -> String {
            text + String(repeating: " ", count: max(0, width - text.count))
        }
        let time = "\(milliseconds) ms"
        return left(ok ? "ok" : "failed", 8) + left(time, 10) + left(step.rawValue, 16) + detail
    }

    /// What was found.
    var detail: String {
        if let text { return "\(text) (\(reason ?? ""))" }
        let value = value ?? ""
        switch step {
        case .policy:
            return incoming == true
                ? "stanzas may go there and come from there"
                : "stanzas may go there, but not come from there"
        case .dns, .stream: return value
        case .addresses: return "\(value): \(addresses?.joined(separator: ", ") ?? "none")"
        case .connection: return "\(addresses?.first ?? "") port \(port ?? 0)"
        case .tls: return "\(value), \(cipher ?? "")"
        case .certificate:
            var text = "\(verdict ?? "")".replacing("_", with: " ")
            if !value.isEmpty { text += ": \(value)" }
            if let issuer { text += ", issued by \(issuer)" }
            if let notAfter { text += ", until \(notAfter)" }
            return text
        case .authentication: return "they accept who we are, by \(value)"
        case .ping: return "they answered: their way to us works, too"
        }
    }
}
