// Sends a request to somebody else's server and waits for the response, by libcurl.

internal import CCurl

/// How a request is sent. Blocks the thread that performs it: never an event loop's.
public struct HTTPTransfer: Sendable {
    /// For all of it, from the host's name to the body's last byte.
    public var timeLimit: Duration
    /// Bytes of the response's body; a larger one is an error.
    public var bodyLimit: Int
    /// A file with certificates (PEM) of authorities that are trusted besides the system's.
    public var authorities: String?
    /// The URL of a proxy; what the environment says of proxies never counts.
    public var proxy: String?
    /// Redirections that are followed; otherwise a redirection is a response like any other.
    public var redirections = 0

    /// Creates settings.
    public init(timeLimit: Duration = .seconds(30), bodyLimit: Int = 1 << 20) {
        self.timeLimit = timeLimit
        self.bodyLimit = bodyLimit
    }

    /// Sends a request and gives the response, whatever its status.
    ///
    /// - Parameter isWanted: asked about once a second, on the same thread; false ends it.
    public func perform(
        _ request: HTTPRequest, isWanted: @escaping () -> Bool = { true }
    ) throws(HTTPError) -> HTTPResponse {
        let host = try request.checkedHost()
        guard Curl.isReady, let handle = curl_easy_init() else { throw Curl.notStarted(host) }
        defer { curl_easy_cleanup(handle) }
        let options = CurlOptions(handle: handle, host: host)
        let receiver = Receiver(bodyLimit: bodyLimit, isWanted: isWanted)
        var fields = try CurlFields(request, host: host)
        defer { fields.free() }
        try options.set(request, fields, receiver)
        try options.setRules(timeLimit: timeLimit, proxy: proxy)
        try set(options, receiver, isSecure: request.isSecure)
        // The receiver lives until the callbacks have been called for the last time.
        let result = withExtendedLifetime(receiver) { curl_easy_perform(handle) }
        return try options.outcome(result, receiver).get()
    }

    private func set(
        _ options: CurlOptions, _ receiver: Receiver, isSecure: Bool
    ) throws(HTTPError) {
        try options.set(CURLOPT_REDIR_PROTOCOLS_STR, isSecure ? "https" : "http,https")
        try options.set(CURLOPT_FOLLOWLOCATION, redirections > 0 ? 1 : 0)
        try options.set(CURLOPT_MAXREDIRS, max(0, redirections))
        if let authorities {
            try options.set(CURLOPT_CAINFO, authorities)
            try options.set(CURLOPT_CAPATH, "/etc/ssl/certs")
        }
        try options.set(CURLOPT_XFERINFODATA, Unmanaged.passUnretained(receiver).toOpaque())
        try options.setProgress(CurlCallbacks.progress)
        try options.set(CURLOPT_NOPROGRESS, 0)
    }

    /// The host of a URL, without user, password and port; nil when it is no URL.
    public static func host(of url: String) -> String? {
        guard url.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }), let parts = curl_url() else {
            return nil
        }
        defer { curl_url_cleanup(parts) }
        var text: UnsafeMutablePointer<CChar>?
        guard curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK,
            curl_url_get(parts, CURLUPART_HOST, &text, 0) == CURLUE_OK, let text
        else { return nil }
        defer { curl_free(text) }
        let host = String(cString: text)
        return host.isEmpty ? nil : host
    }
}
