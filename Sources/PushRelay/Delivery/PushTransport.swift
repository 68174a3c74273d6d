// What carries requests to providers: libcurl in the server, something else in tests.

public import HTTPClient
internal import Options

/// Sends requests. Safe on any thread.
public protocol PushTransport: Sendable {
    /// Sends a request; `then` is called once, on any thread, with the answer and the time from now
    /// until the request was on its way, if that is known.
    func send(
        _ request: PushRequest,
        then: @escaping @Sendable (Result<HTTPResponse, HTTPError>, _ written: Duration?) -> Void)
    /// Ends what is under way.
    func stop()
}

extension PushAnswer {
    /// What it means that there is no answer.
    init(_ error: HTTPError) {
        let wait = PushOutcome.retry(.circuit, after: nil)
        switch error.code {
        case .request: self.init(.rejected, .request, code: "request")
        case .name: self.init(wait, .name, code: "name")
        case .forbiddenAddress:
            self.init(.rejected, .forbiddenAddress, code: "private address")
        case .connection: self.init(wait, .connection, code: "connection")
        case .timeout: self.init(wait, .timeout, code: "timeout")
        case .tls: self.init(wait, .tls, code: "tls")
        case .garbage: self.init(wait, .garbage, code: "garbage")
        case .size: self.init(wait, .tooLarge, code: "answer too large")
        case .cancelled: self.init(wait, .connection, code: "stopped")
        case .libcurl: self.init(wait, .connection, code: "libcurl")
        }
    }
}

/// Where nothing goes out.
struct NoTransport: PushTransport {
    func stop() {}

    func send(
        _ request: PushRequest,
        then: @escaping @Sendable (Result<HTTPResponse, HTTPError>, _ written: Duration?) -> Void
    ) {
        let error = HTTPError(code: .cancelled, host: "", message: "nothing goes out")
        then(.failure(error), nil)
    }
}

/// Carries requests by libcurl, over connections that are kept. Safe on any thread.
public final class HTTPPushTransport: PushTransport {
    /// For all of a request: providers answer within a second, or something is wrong.
    private static let patience = Duration.seconds(30)

    private let pool: HTTPPool
    private let options: PushOptions

    /// - Parameter authorities: a file with certificates of authorities that are trusted besides the
    ///   system's.
    public init(_ options: PushOptions, authorities: String?) throws(HTTPError) {
        self.options = options
        pool = try HTTPPool(authorities: authorities)
    }

    /// Sends a request; what a user named must not be on this network, unless that is allowed.
    public func send(
        _ request: PushRequest,
        then: @escaping @Sendable (Result<HTTPResponse, HTTPError>, _ written: Duration?) -> Void
    ) {
        let rules = HTTPRules(
            timeLimit: Self.patience, bodyLimit: request.longestAnswer,
            needsHTTP2: request.needsHTTP2,
            forbidsPrivateAddresses: request.isToUsersHost && !options.allowsPrivateTargets.value)
        pool.send(request.request, rules) { result in
            then(result, (try? result.get())?.requestSent)
        }
    }

    /// Ends what is under way.
    public func stop() { pool.stop() }
}
