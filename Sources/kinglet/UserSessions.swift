// kinglet user show, kinglet user sessions: one user and the devices.

internal import Administration
internal import ArgumentParser

extension UserCommand {
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show one user: logins, sessions, and how much is kept.")
        @OptionGroup var common: CommonArguments
        @Argument(help: "The address.") var jid: String
        @Flag(help: "One JSON document.") var json = false

        func run() async throws {
            try await reportingFailure {
                let backend = try Backend(common)
                let answer = try await backend.perform(AdministrationRequest(.showUser, jid: jid))
                guard let user = answer.users?.first else {
                    throw Failure("the server gave no user")
                }
                if json { return try JSONOutput.print(user) }
                let notes = [
                    user.administrator ? "administrator" : nil, user.disabled ? "disabled" : nil,
                ].compactMap { $0 }
                Terminal.say(([user.jid] + notes).joined(separator: ", "))
                var rows = [("created", user.created)]
                rows.append(("last login", user.lastLogin ?? "never"))
                for (name, value) in (user.sizes ?? [:]).sorted(by: { $0.key < $1.key }) {
                    let text = name.hasSuffix("_bytes") ? SizeText.of(bytes: value) : "\(value)"
                    rows.append((name.split(separator: "_").joined(separator: " "), text))
                }
                switch user.sessions {
                case nil: rows.append(("sessions", "none, the server does not run"))
                case []?: rows.append(("sessions", "none"))
                case let sessions?: rows += sessions.map { ("session", $0.line) }
                }
                let width = rows.map(\.0.count).max() ?? 0
                for (name, text) in rows {
                    let space = String(repeating: " ", count: width - name.count + 2)
                    Terminal.say(name + space + text)
                }
            }
        }
    }

    struct Sessions: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List a user's sessions, or close them.",
            discussion: """
                A session is closed with the stream error policy-violation, and one that waits \
                for its client is no more. Clients may log in again: see kinglet user disable.
                """)
        @OptionGroup var common: CommonArguments
        @Argument(help: "The address.") var jid: String
        @Flag(help: "Close the sessions.") var close = false
        @Option(help: "Only the session with this resource.") var resource: String?
        @Flag(help: "One JSON document.") var json = false

        func run() async throws {
            try await reportingFailure {
                let backend = try Backend(common)
                let answer = try await backend.perform(
                    AdministrationRequest(
                        close ? .closeSessions : .listSessions, jid: jid, resource: resource))
                let sessions = answer.sessions ?? []
                if json {
                    return try JSONOutput.print(
                        SessionsResult(
                            jid: answer.jid ?? jid, running: answer.sessions != nil, closed: close,
                            sessions: sessions))
                }
                if answer.sessions == nil {
                    Terminal.say("nobody is online: the server does not run")
                } else if sessions.isEmpty {
                    Terminal.say("\(answer.jid ?? jid) is not online")
                }
                for session in sessions { Terminal.say((close ? "closed " : "") + session.line) }
            }
        }
    }
}

private struct SessionsResult: Codable {
    var jid: String
    var running: Bool
    var closed: Bool
    var sessions: [SessionDescription]
}

extension SessionDescription {
    /// For a person.
    fileprivate var line: String {
        var notes = ["since \(since)", address]
        if let tls { notes.append(tls == "none" ? "no TLS" : tls) }
        notes.append(priority.map { "available with priority \($0)" } ?? "unavailable")
        if let hibernatesFor {
            notes.append("away, kept for \(hibernatesFor) s")
        }
        if let unacknowledged { notes.append("\(unacknowledged) unacknowledged") }
        return "\(resource)  \(notes.joined(separator: ", "))"
    }
}

/// Sizes for a person.
enum SizeText {
    static func of(bytes: Int) -> String {
        var value = Double(bytes)
        var unit = "bytes"
        for next in ["KiB", "MiB", "GiB", "TiB"] where value >= 1024 {
            value /= 1024
            unit = next
        }
        guard unit != "bytes" else { return "\(bytes) bytes" }
        return "\((value * 10).rounded() / 10) \(unit)"
    }
}
