// What is answered over HTTP, as RFC 8030 has it: nothing is stored here, so TTL is always 0.

/// An answer to a request to an endpoint.
public struct EndpointAnswer: Sendable {
    /// The path behind which a token stands.
    public static let path = "/push/"
    /// Bytes of a message at most.
    public static let longestMessage = 4096

    /// 200...599.
    public let status: Int
    /// Those that are not about the transfer.
    public let headers: [(String, String)]
    /// The body.
    public let body: [UInt8]

    init(_ status: Int, _ headers: [(String, String)], _ body: String) {
        self.status = status
        self.headers = headers
        self.body = Array(body.utf8)
    }

    private static func text(
        _ status: Int, _ text: String, _ headers: [(String, String)] = []
    ) -> EndpointAnswer {
        EndpointAnswer(
            status, headers + [("Content-Type", "text/plain; charset=utf-8")], text + "\n")
    }

    private static func later(_ status: Int, _ text: String, seconds: Int) -> EndpointAnswer {
        .text(status, text, [("Retry-After", "\(seconds)")])
    }

    /// What an app's server asks for to see that this is a push server. It is the same for each
    /// token, so that it tells nobody which ones are good.
    public static let discovery = EndpointAnswer(
        200, [("Content-Type", "application/json")], #"{"unifiedpush":{"version":1}}"#)

    /// The answer that an outcome gets.
    ///
    /// - Parameters:
    ///   - message: where the message would be asked for (RFC 8030 section 5); it is gone by then.
    ///   - pause: seconds after which one more is allowed.
    init(_ outcome: EndpointOutcome, message: String?, pause: Int) {
        self =
            switch outcome {
            case .delivered, .queued:
                EndpointAnswer(
                    201, [("TTL", "0")] + (message.map { [("Location", $0)] } ?? []), "")
            // One and the same: whether it ever was one is nobody's business.
            case .unknown, .expired, .gone: .text(404, "there is no such endpoint")
            case .empty: .text(400, "there is no message")
            case .tooLarge: .text(413, "a message has \(Self.longestMessage) bytes at most")
            case .rate: .later(429, "too many messages", seconds: pause)
            case .busy: .later(503, "too much is under way", seconds: 10)
            case .offline: .later(503, "the device is not there", seconds: 60)
            case .failed: .text(500, "the device did not take it")
            }
    }
}
