// What is wrong with a request's head. The parser is strict already; what is safe to pass on must
// not depend on that alone.

internal import NIOHTTP1

/// The check of a head (RFC 9112).
enum RequestChecks {
    /// Why a request is not served.
    struct Problem: Error, Equatable {
        let status: Int
        let reason: WebRefusal

        static let malformed = Problem(status: 400, reason: .malformed)
    }

    /// Gives the target, or throws what is wrong.
    static func target(_ head: HTTPRequestHead) throws(Problem) -> WebTarget {
        guard head.version == .http1_1 || head.version == .http1_0 else {
            throw Problem(status: 505, reason: .malformed)
        }
        // RFC 9110 section 9.3.6: for proxies. What else nobody knows is not allowed anywhere.
        guard head.method != .CONNECT else { throw .malformed }
        guard head.uri.utf8.count <= WebLimits.target else {
            throw Problem(status: 414, reason: .headers)
        }
        try checkFraming(head)
        // Section 3.2: one Host, and in HTTP/1.1 not none.
        let hosts = head.headers["host"]
        guard hosts.count == 1 || (hosts.isEmpty && head.version == .http1_0) else {
            throw .malformed
        }
        let expectations = head.headers["expect"]
        guard expectations.isEmpty || expectations.map({ $0.lowercased() }) == ["100-continue"]
        else {
            throw Problem(status: 417, reason: .malformed)
        }
        // A question about the server as a whole is one about its first page here.
        let uri = head.uri == "*" && head.method == .OPTIONS ? "/" : head.uri
        guard let target = WebTarget(uri) else { throw .malformed }
        return target
    }

    /// Section 6: the body's length is said once and in one way, or somebody on the way may see
    /// another request where we see a body.
    private static func checkFraming(_ head: HTTPRequestHead) throws(Problem) {
        let lengths = head.headers["content-length"]
        let codings = head.headers["transfer-encoding"]
        guard lengths.count <= 1, codings.count <= 1, lengths.isEmpty || codings.isEmpty else {
            throw .malformed
        }
        if let length = lengths.first {
            guard !length.isEmpty, length.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                Int(length) != nil
            else { throw .malformed }
        }
        if let coding = codings.first {
            guard coding.lowercased() == "chunked", head.version == .http1_1 else {
                throw .malformed
            }
        }
    }
}
