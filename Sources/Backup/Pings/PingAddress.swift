// Where a service listens that tells somebody when a backup did not run: Healthchecks
// (healthchecks.io/docs/http_api) and what speaks its protocol, and Uptime Kuma's push monitors.

internal import HTTPClient

/// A URL of the configuration. It is a secret: whoever knows it can pretend that all is well.
public struct PingAddress: Sendable, Equatable {
    /// What a service is told.
    enum Event: Sendable, Equatable {
        /// A run begins.
        case start
        /// A run has succeeded.
        case success
        /// A run has failed.
        case failure
    }

    /// What else is said.
    struct Report: Sendable {
        /// The same for all that is said of a run: a UUID.
        var run: String
        /// One line for a person.
        var message = ""
        /// The end of the run's log.
        var log = ""
        /// What the run took; nil at its start.
        var took: Duration?
    }

    /// Bytes of a log that are sent; Healthchecks keeps no more.
    static let mostLog = 100_000
    /// Characters of a message that are sent in a URL.
    static let mostMessage = 200

    /// Its host, which is all that is said of it.
    public let host: String
    private let path: String
    private let query: String
    private let isPush: Bool

    /// Reads an `https:` or `http:` URL.
    public init(_ text: String) throws(BackupError) {
        let lower = text.lowercased()
        guard lower.hasPrefix("https://") || lower.hasPrefix("http://"), !text.contains("#"),
            text.utf8.count <= 2048, let host = HTTPTransfer.host(of: text)
        else {
            // The text itself may be a secret with a typing error in it.
            throw BackupError(
                .permanent, subject: "backup.jobs.ping", "this is no https: or http: address",
                advice: "copy the whole ping URL from the service")
        }
        self.host = host
        let parts = text.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        var path = String(parts[0])
        while path.hasSuffix("/") { path.removeLast() }
        self.path = path
        isPush = path.contains("/api/push/")
        // What is copied from Uptime Kuma ends with values of an example.
        query = isPush || parts.count < 2 ? "" : String(parts[1])
    }

    /// The request that tells of an event; nil when this service is not told of it.
    func request(_ event: Event, _ report: Report) -> HTTPRequest? {
        if isPush {
            guard event != .start else { return nil }
            let status = event == .success ? "up" : "down"
            let message = Self.encode(String(report.message.prefix(Self.mostMessage)))
            var url = "\(path)?status=\(status)&msg=\(message)&ping="
            if let took = report.took { url += String(Self.milliseconds(took)) }
            return HTTPRequest("GET", url)
        }
        var url = path
        switch event {
        case .start: url += "/start"
        case .success: break
        case .failure: url += "/fail"
        }
        url += "?" + (query.isEmpty ? "" : query + "&") + "rid=" + Self.encode(report.run)
        let text = report.message + (report.log.isEmpty ? "" : "\n\n" + report.log)
        return HTTPRequest(
            "POST", url, headers: [("Content-Type", "text/plain; charset=utf-8")],
            body: event == .start ? [] : Self.tail(text))
    }

    /// Not more than a year's.
    private static func milliseconds(_ duration: Duration) -> Int64 {
        let (seconds, attoseconds) = duration.components
        return min(max(0, seconds), 31_536_000) * 1000
            + max(0, attoseconds) / 1_000_000_000_000_000
    }

    /// The end of a text, from the beginning of a character.
    private static func tail(_ text: String) -> [UInt8] {
        let bytes = Array(text.utf8)
        guard bytes.count > mostLog else { return bytes }
        return Array(bytes.suffix(mostLog).drop { $0 & 0xC0 == 0x80 })
    }

    /// Everything but letters, digits and `-._~` as `%XX` (RFC 3986 section 2).
    private static func encode(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: bytes.append(byte)
            default: bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension PingAddress: CustomStringConvertible, CustomReflectable {
    /// Its host only.
    public var description: String { "pings to \(host)" }

    /// Nothing.
    public var customMirror: Mirror { Mirror(self, children: []) }
}
