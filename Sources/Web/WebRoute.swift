// What other parts of the program hang into the web's listener: requests and answers as plain
// values.

internal import NIOHTTP1

/// A method that routes can have (RFC 9110 section 9). HEAD comes with GET, and OPTIONS with all.
public enum WebMethod: String, Sendable, CaseIterable {
    /// GET
    case get = "GET"
    /// POST
    case post = "POST"
    /// PUT
    case put = "PUT"
    /// DELETE
    case delete = "DELETE"
    /// PATCH
    case patch = "PATCH"
}

/// A request that has come in whole.
public struct WebRequest: Sendable {
    /// The route's method; that of HEAD is `get`.
    public let method: WebMethod
    /// The path, as it was sent: it may be a secret, so it is not for logs.
    public let path: String
    /// What stands for the parameter in the path, without percent-encoding; empty in an exact path.
    public let parameter: String
    /// What follows the `?`, as it was sent; empty without one.
    public let query: String
    /// The body, at most the route's limit.
    public let body: [UInt8]
    /// The client's address in numeric form.
    public let remoteAddress: String
    /// The network that counts as one client: the address, or the /64 that an IPv6 address is in.
    public var remoteNetwork: String { WebPeer(remoteAddress).network }

    let headers: [String: String]

    /// Makes a request, for tests of routes too.
    public init(
        method: WebMethod, path: String, parameter: String = "", query: String = "",
        headers: [(String, String)] = [], body: [UInt8] = [], remoteAddress: String = ""
    ) {
        self.method = method
        self.path = path
        self.parameter = parameter
        self.query = query
        self.body = body
        self.remoteAddress = remoteAddress
        // Several of one name are one list (RFC 9110 section 5.3).
        self.headers = Dictionary(
            headers.map { ($0.0.lowercased(), $0.1) }, uniquingKeysWith: { "\($0), \($1)" })
    }

    /// The value of a header, whatever its case.
    public func header(_ name: String) -> String? { headers[name.lowercased()] }
}

/// An answer.
public struct WebResponse: Sendable {
    /// 200...599.
    public var status: Int
    /// Without those that describe the transfer. `Cache-Control` is `no-store` where none is given.
    public var headers: [(String, String)]
    /// The body.
    public var body: [UInt8]

    /// Makes an answer.
    public init(_ status: Int, headers: [(String, String)] = [], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// An answer that is one line for a person.
    public static func text(
        _ status: Int, _ text: String, headers: [(String, String)] = []
    ) -> WebResponse {
        WebResponse(
            status, headers: headers + [("Content-Type", "text/plain; charset=utf-8")],
            body: Array("\(text)\n".utf8))
    }
}

extension WebResponse {
    static let problemType = "application/problem+json"

    /// An error for a program and a person (RFC 9457).
    ///
    /// - Parameter detail: without characters that JSON escapes.
    static func problem(
        _ status: Int, _ detail: String, headers: [(String, String)] = []
    ) -> WebResponse {
        WebResponse(
            status, headers: headers + [("Content-Type", problemType)],
            body: problemBody(status, detail))
    }

    static func problemBody(_ status: Int, _ detail: String) -> [UInt8] {
        let title = HTTPResponseStatus(statusCode: status).reasonPhrase
        return Array(
            #"{"type":"about:blank","title":"\#(title)","status":\#(status),"detail":"\#(detail)"}"#
                .utf8)
    }
}

/// One thing that the listener answers.
public struct WebRoute: Sendable {
    /// Where it is.
    public enum Path: Sendable, Hashable {
        /// This path and no other.
        case exact(String)
        /// This path, which ends in `/`, and one more segment behind it: the parameter.
        case parameter(after: String)
        /// The same with something more behind the parameter, which begins with `/`.
        case inner(after: String, before: String)
    }

    let method: WebMethod
    let path: Path
    let bodyLimit: Int
    let handle: @Sendable (WebRequest) async -> WebResponse

    /// Declares a route.
    ///
    /// - Parameters:
    ///   - bodyLimit: the most bytes of a body; a longer one gets 413.
    ///   - handle: answers. It is cancelled when the client has gone or the time for a request
    ///     is over, and counts as a connection until it returns.
    public init(
        _ method: WebMethod, _ path: Path, bodyLimit: Int = 0,
        handle: @escaping @Sendable (WebRequest) async -> WebResponse
    ) {
        self.method = method
        self.path = path
        self.bodyLimit = bodyLimit
        self.handle = handle
    }

    /// How logs name it.
    var name: String {
        switch path {
        case .exact(let path): "\(method.rawValue) \(path)"
        case .parameter(let path): "\(method.rawValue) \(path)*"
        case .inner(let path, let rest): "\(method.rawValue) \(path)*\(rest)"
        }
    }
}
