// Why there is no answer.

/// A look-up that failed.
public struct DNSError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kind of failure; a closed set, fit for a metric's label.
    public enum Code: String, CaseIterable, Sendable {
        /// The name does not exist (NXDOMAIN).
        case noSuchDomain = "no_such_domain"
        /// The name exists, and has no address.
        case noAddress = "no_address"
        /// No name server answered in time.
        case timeout
        /// The name servers failed, or cannot be reached.
        case serverFailure = "server_failure"
        /// A name server refused to answer, or too many look-ups wait already.
        case refused
        /// The answer makes no sense.
        case malformed
        /// What was asked for is no name.
        case invalidName = "invalid_name"
        /// Nobody waits for it any more, or the resolver was stopped.
        case cancelled
    }

    /// The kind of failure.
    public var code: Code
    /// What was looked up.
    public var name: String

    /// Creates an error.
    public init(_ code: Code, _ name: String) {
        self.code = code
        self.name = name
    }

    /// One line for a log or a terminal.
    public var description: String {
        switch code {
        case .noSuchDomain: "the name \(name) does not exist"
        case .noAddress: "the name \(name) has no address"
        case .timeout: "no name server answered in time when asked for \(name)"
        case .serverFailure: "the name servers failed when asked for \(name)"
        case .refused: "the look-up of \(name) was refused"
        case .malformed: "the answer for \(name) makes no sense"
        case .invalidName: "\(Self.excerpt(name)) is no name that can be looked up"
        case .cancelled: "the look-up of \(name) was given up"
        }
    }

    /// Such a name may hold anything.
    private static func excerpt(_ name: String) -> String {
        let start = name.unicodeScalars.prefix(100)
        return String(String.UnicodeScalarView(start)).debugDescription
    }
}
