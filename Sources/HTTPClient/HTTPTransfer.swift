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
        let host = try Self.check(request)
        guard Self.isReady, let handle = curl_easy_init() else {
            throw HTTPError(code: .libcurl, host: host, message: "libcurl cannot be started")
        }
        defer { curl_easy_cleanup(handle) }
        let options = CurlOptions(handle: handle, host: host)
        let receiver = Receiver(bodyLimit: max(0, bodyLimit), isWanted: isWanted)
        try set(options, receiver, isSecure: request.url.lowercased().hasPrefix("https:"))
        try options.set(CURLOPT_URL, request.url)
        try setMethod(request, options)
        var fields = try CurlFields(request, host: host)
        defer { fields.free() }
        try options.set(CURLOPT_HTTPHEADER, UnsafeMutableRawPointer(fields.list))
        // The receiver lives until the callbacks have been called for the last time.
        let result = withExtendedLifetime(receiver) { curl_easy_perform(handle) }
        guard result == CURLE_OK else {
            if receiver.isTooLarge {
                throw HTTPError(
                    code: .size, host: host, message: "the response is larger than it may be")
            }
            if receiver.isCancelled {
                throw HTTPError(code: .cancelled, host: host, message: "it was not waited for")
            }
            throw HTTPError.of(
                result, host: host, systemError: options.number(CURLINFO_OS_ERRNO))
        }
        return HTTPResponse(
            status: options.number(CURLINFO_RESPONSE_CODE), headers: receiver.headers,
            body: receiver.body)
    }

    private func set(
        _ options: CurlOptions, _ receiver: Receiver, isSecure: Bool
    ) throws(HTTPError) {
        // Signals would interrupt other threads.
        try options.set(CURLOPT_NOSIGNAL, 1)
        try options.set(CURLOPT_PROTOCOLS_STR, "http,https")
        try options.set(CURLOPT_REDIR_PROTOCOLS_STR, isSecure ? "https" : "http,https")
        try options.set(CURLOPT_FOLLOWLOCATION, redirections > 0 ? 1 : 0)
        try options.set(CURLOPT_MAXREDIRS, max(0, redirections))
        try options.set(CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2)
        if let authorities {
            try options.set(CURLOPT_CAINFO, authorities)
            try options.set(CURLOPT_CAPATH, "/etc/ssl/certs")
        }
        // An empty text keeps libcurl from asking the environment.
        try options.set(CURLOPT_PROXY, proxy ?? "")
        try options.set(CURLOPT_NOPROXY, "")
        let (seconds, attoseconds) = timeLimit.components
        let milliseconds = Double(seconds) * 1000 + Double(attoseconds) / 1e15
        // Zero would mean no limit, and libcurl's limit is a C long of milliseconds.
        try options.set(CURLOPT_TIMEOUT_MS, Int(min(max(1, milliseconds), 2_000_000_000)))
        let argument = Unmanaged.passUnretained(receiver).toOpaque()
        try options.set(CURLOPT_WRITEDATA, argument)
        try options.set(CURLOPT_WRITEFUNCTION, CurlCallbacks.body)
        try options.set(CURLOPT_HEADERDATA, argument)
        try options.set(CURLOPT_HEADERFUNCTION, CurlCallbacks.header)
        try options.set(CURLOPT_XFERINFODATA, argument)
        try options.setProgress(CurlCallbacks.progress)
        try options.set(CURLOPT_NOPROGRESS, 0)
    }

    private func setMethod(_ request: HTTPRequest, _ options: CurlOptions) throws(HTTPError) {
        switch request.method {
        case "GET" where request.body.isEmpty:
            try options.set(CURLOPT_HTTPGET, 1)
        case "HEAD":
            try options.set(CURLOPT_NOBODY, 1)
        case "DELETE" where request.body.isEmpty:
            try options.set(CURLOPT_CUSTOMREQUEST, "DELETE")
        default:
            try options.set(CURLOPT_POST, 1)
            try options.setBody(request.body)
            try options.set(CURLOPT_CUSTOMREQUEST, request.method)
        }
    }

    // MARK: Checks

    /// The host, when the request can be sent.
    private static func check(_ request: HTTPRequest) throws(HTTPError) -> String {
        let url = request.url.lowercased()
        // libcurl would take more slashes and other beginnings, too.
        let rest = ["https://", "http://"].first { url.hasPrefix($0) }.map {
            url.dropFirst($0.count)
        }
        guard let rest, !rest.hasPrefix("/"), let host = host(of: request.url) else {
            throw HTTPError(
                code: .request, host: "", message: "the address is no https: or http: URL")
        }
        guard request.method.utf8.allSatisfy({ (0x41...0x5A).contains($0) }),
            (1...20).contains(request.method.utf8.count)
        else {
            throw HTTPError(code: .request, host: host, message: "the method is none")
        }
        return host
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

    /// Prepares libcurl, once.
    private static let isReady =
        curl_global_init(Int(CURL_GLOBAL_SSL | CURL_GLOBAL_WIN32)) == CURLE_OK
}
