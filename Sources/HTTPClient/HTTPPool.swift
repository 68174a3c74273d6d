// Sends many requests at once, on one thread, over connections that are kept and shared.

internal import Glibc

/// Requests to other servers without a thread for each.
///
/// Redirections are not followed. Over a connection that was kept and turns out to be closed, nothing
/// was answered: then libcurl sends the request once more over a new one, also a POST.
public final class HTTPPool: Sendable {
    private let thread: PoolThread

    /// A pool, with its thread.
    ///
    /// - Parameters:
    ///   - authorities: a file with certificates (PEM) of authorities that are trusted besides the
    ///     system's.
    ///   - connectionsPerHost: connections to one host at most; more requests wait.
    ///   - connections: connections at most. Requests that forbid private addresses have connections
    ///     of their own, and the same number of them.
    public init(
        authorities: String? = nil, connectionsPerHost: Int = 4, connections: Int = 64
    ) throws(HTTPError) {
        guard Curl.isReady else { throw Curl.notStarted("") }
        if let authorities, access(authorities, R_OK) != 0 {
            let reason = String(cString: strerror(errno))
            throw HTTPError(
                code: .tls, host: "", message: "\(authorities) cannot be read: \(reason)")
        }
        thread = try PoolThread(
            PoolThread.Settings(
                authorities: authorities, connectionsPerHost: max(1, connectionsPerHost),
                connections: max(1, connections)))
        try thread.start()
    }

    /// The thread ends soon, and so does everything.
    deinit { thread.stop(waits: false) }

    /// Sends a request; on any thread. It waits for as long as it may if there are many: whoever sends
    /// limits how many are under way.
    ///
    /// - Parameter then: gets the response, whatever its status, or why there is none: once, on the
    ///   pool's thread, which it must not block, or here if the pool has been stopped.
    public func send(
        _ request: HTTPRequest, _ rules: HTTPRules = HTTPRules(),
        then: @escaping @Sendable (Result<HTTPResponse, HTTPError>) -> Void
    ) {
        let order = PoolThread.Order(
            request: request, rules: rules, handedOver: .now, then: then)
        guard !thread.take(order) else { return }
        then(.failure(.cancelled(HTTPTransfer.host(of: request.url) ?? "")))
    }

    /// How many requests have been handed over whose end has not been told.
    public var underWay: Int { thread.underWay }

    /// Ends everything: what is under way is `cancelled`. Waits until that has been told and the thread
    /// is over, unless it is called on the thread.
    public func stop() { thread.stop(waits: true) }
}
