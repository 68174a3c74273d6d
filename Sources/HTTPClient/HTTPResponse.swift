// What somebody else's server answered.

/// A response; the whole of it is in memory.
public struct HTTPResponse: Sendable {
    /// 100 to 599.
    public let status: Int
    /// Header fields in order; names as they came (in lower case over HTTP/2).
    public let headers: [(name: String, value: String)]
    /// What came with it.
    public let body: [UInt8]
    /// Of a response by an `HTTPPool`: from the request's being handed over to the pool until it began
    /// to be written to a connection.
    public let requestSent: Duration?

    /// Creates a response, as a test plays one.
    public init(
        status: Int, headers: [(name: String, value: String)] = [], body: [UInt8] = [],
        requestSent: Duration? = nil
    ) {
        self.status = status
        self.headers = headers
        self.body = body
        self.requestSent = requestSent
    }

    /// Whether the server did what it was asked (2xx).
    public var isSuccess: Bool { (200..<300).contains(status) }

    /// The first field of a name, which is compared without regard to case.
    public func header(_ name: String) -> String? {
        headers.first { $0.name.lowercased() == name.lowercased() }?.value
    }
}
