// What carries requests to providers: libcurl in the server, something else in tests.

public import HTTPClient

/// Sends requests. Safe on any thread.
public protocol PushTransport: Sendable {
    /// Sends a request; `then` is called once, on any thread, with the answer and the time from now
    /// until the request was on its way, if that is known.
    func send(
        _ request: PushRequest,
        then: @escaping @Sendable (Result<HTTPResponse, HTTPError>, _ written: Duration?) -> Void)
}

extension PushAnswer {
    /// What it means that there is no answer.
    init(_ error: HTTPError) {
        let wait = PushOutcome.retry(.circuit, after: nil)
        switch error.code {
        case .request: self.init(.rejected, .request, code: "request")
        case .name: self.init(wait, .name, code: "name")
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
    func send(
        _ request: PushRequest,
        then: @escaping @Sendable (Result<HTTPResponse, HTTPError>, _ written: Duration?) -> Void
    ) {
        let error = HTTPError(code: .cancelled, host: "", message: "nothing goes out")
        then(.failure(error), nil)
    }
}
