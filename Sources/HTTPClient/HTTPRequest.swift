// One request to somebody else's server.

/// A request; the whole of it is in memory.
public struct HTTPRequest: Sendable, Equatable {
    /// `GET`, `POST` and so on.
    public var method: String
    /// Absolute, `https:` or `http:`. May be a secret: it is never logged.
    public var url: String
    /// Header fields in order.
    public var headers: [(name: String, value: String)]
    /// What is sent with it.
    public var body: [UInt8]

    /// Creates a request.
    public init(
        _ method: String, _ url: String, headers: [(name: String, value: String)] = [],
        body: [UInt8] = []
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
    }

    /// Equal in every part.
    public static func == (left: Self, right: Self) -> Bool {
        left.method == right.method && left.url == right.url && left.body == right.body
            && left.headers.elementsEqual(right.headers, by: ==)
    }
}
