// Why the metrics endpoint did not start, in words for the operator.

/// The metrics endpoint could not start.
public struct MetricsEndpointError: Error, CustomStringConvertible, Sendable, Hashable {
    /// What kind of failure it is.
    public enum Code: Sendable, Hashable {
        /// Another program listens there.
        case portTaken
        /// The address is not one of this machine, or the port needs a privilege.
        case cannotListen
        /// The address or port is not one.
        case badAddress
        /// An access rule is incomplete, or missing where one is needed.
        case badAccess
        /// No thread or no memory.
        case noResources
    }

    /// What kind of failure it is.
    public let code: Code
    /// What it is about: an address or a configuration key.
    public let subject: String
    /// What happened.
    public let message: String
    /// What to do about it.
    public let advice: String

    init(_ code: Code, subject: String, message: String, advice: String) {
        self.code = code
        self.subject = subject
        self.message = message
        self.advice = advice
    }

    /// One line with what happened and what to do.
    public var description: String { "\(message); \(advice)" }
}
