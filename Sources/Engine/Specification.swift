// What a feature says of itself.

/// A specification that this server follows, as the README's table prints it.
public struct Specification: Sendable, Hashable {
    /// `RFC 6121` or `XEP-0030`.
    public let number: String
    /// The version followed; empty for an RFC.
    public let version: String
    /// The specification's own title.
    public let title: String

    /// Creates an entry.
    public init(_ number: String, version: String = "", _ title: String) {
        self.number = number
        self.version = version
        self.title = title
    }
}

/// A part of the server that one specification describes. It declares what it needs in its
/// initialiser and has no other ties to the engine: deleting its file and its line in
/// `AllFeatures` removes it.
public protocol Feature: Sendable {
    /// The specifications that this feature implements.
    static var specifications: [Specification] { get }
    /// Declares options, metrics, schema, namespaces, handlers and hooks.
    init(in host: HostBuilder)
}
