// What `HTTPTransfer` and `HTTPPool` have in common: checking a request, and telling libcurl of it.

internal import CCurl

extension HTTPRequest {
    /// The host, when the request can be sent.
    func checkedHost() throws(HTTPError) -> String {
        let scheme = ["https://", "http://"].first { scheme in
            // Without regard to case. libcurl would take other beginnings, too.
            url.utf8.count > scheme.utf8.count
                && zip(url.utf8, scheme.utf8).allSatisfy { $0 == $1 || $0 | 0x20 == $1 }
        }
        // It would also take more slashes.
        guard let scheme, url.utf8.dropFirst(scheme.utf8.count).first != UInt8(ascii: "/"),
            let host = HTTPTransfer.host(of: url)
        else {
            throw HTTPError(
                code: .request, host: "", message: "the address is no https: or http: URL")
        }
        guard method.utf8.allSatisfy({ (0x41...0x5A).contains($0) }),
            (1...20).contains(method.utf8.count)
        else {
            throw HTTPError(code: .request, host: host, message: "the method is none")
        }
        return host
    }

    /// Scheme, host and port; of a checked request.
    var origin: String {
        let slashes = url.utf8.firstIndex(of: UInt8(ascii: "/")) ?? url.startIndex
        let host = url.utf8[slashes...].dropFirst(2)
        let end = host.firstIndex { [0x2F, 0x3F, 0x23].contains($0) } ?? url.endIndex
        return url[..<end].lowercased()
    }

    /// Whether it goes by TLS; of a checked request.
    var isSecure: Bool { url.utf8.dropFirst(4).first.map { $0 | 0x20 } == UInt8(ascii: "s") }
}

extension CurlOptions {
    /// The request; `fields` live until the transfer is over, and so does the receiver, which gets
    /// what comes.
    func set(
        _ request: HTTPRequest, _ fields: CurlFields, _ receiver: Receiver
    ) throws(HTTPError) {
        try set(CURLOPT_URL, request.url)
        try setMethod(request)
        try set(CURLOPT_HTTPHEADER, UnsafeMutableRawPointer(fields.list))
        let argument = Unmanaged.passUnretained(receiver).toOpaque()
        try set(CURLOPT_WRITEDATA, argument)
        try set(CURLOPT_WRITEFUNCTION, CurlCallbacks.body)
        try set(CURLOPT_HEADERDATA, argument)
        try set(CURLOPT_HEADERFUNCTION, CurlCallbacks.header)
    }

    /// What holds for every request.
    func setRules(timeLimit: Duration, proxy: String? = nil) throws(HTTPError) {
        // Signals would interrupt other threads.
        try set(CURLOPT_NOSIGNAL, 1)
        try set(CURLOPT_PROTOCOLS_STR, "http,https")
        try set(CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2)
        // An empty text keeps libcurl from asking the environment.
        try set(CURLOPT_PROXY, proxy ?? "")
        try set(CURLOPT_NOPROXY, "")
        let (seconds, attoseconds) = timeLimit.components
        let milliseconds = Double(seconds) * 1000 + Double(attoseconds) / 1e15
        // Zero would mean no limit, and libcurl's limit is a C long of milliseconds.
        try set(CURLOPT_TIMEOUT_MS, Int(min(max(1, milliseconds), 2_000_000_000)))
    }

    private func setMethod(_ request: HTTPRequest) throws(HTTPError) {
        switch request.method {
        case "GET" where request.body.isEmpty:
            try set(CURLOPT_HTTPGET, 1)
        case "HEAD":
            try set(CURLOPT_NOBODY, 1)
        case "DELETE" where request.body.isEmpty:
            try set(CURLOPT_CUSTOMREQUEST, "DELETE")
        case "POST":
            try set(CURLOPT_POST, 1)
            try setBody(request.body)
        default:
            try set(CURLOPT_POST, 1)
            try setBody(request.body)
            try set(CURLOPT_CUSTOMREQUEST, request.method)
        }
    }

    /// The response that has come, or why there is none; asked once, after the transfer.
    func outcome(
        _ result: CURLcode, _ receiver: Receiver, requestSent: Duration? = nil
    ) -> Result<HTTPResponse, HTTPError> {
        guard result != CURLE_OK else {
            return .success(
                HTTPResponse(
                    status: number(CURLINFO_RESPONSE_CODE), headers: receiver.headers,
                    body: receiver.body, requestSent: requestSent))
        }
        if receiver.isTooLarge {
            return .failure(
                HTTPError(
                    code: .size, host: host, message: "the response is larger than it may be"))
        }
        if receiver.isCancelled { return .failure(.cancelled(host)) }
        if result == CURLE_COULDNT_CONNECT, receiver.hasForbiddenAddressesOnly {
            return .failure(
                HTTPError(
                    code: .forbiddenAddress, host: host, message: "it is not on the internet"))
        }
        return .failure(
            HTTPError.of(result, host: host, systemError: number(CURLINFO_OS_ERRNO)))
    }
}

/// libcurl itself.
enum Curl {
    /// Prepares libcurl, once.
    static let isReady =
        curl_global_init(Int(CURL_GLOBAL_SSL | CURL_GLOBAL_WIN32)) == CURLE_OK

    /// Whether several requests may begin HTTP/2 without TLS on one connection: libcurl 7.88 (Debian 12)
    /// fails from the second one on, also when it comes later. With TLS it does not.
    static let sharesPlainHTTP2 =
        curl_version_info(CURLVERSION_FIRST).map { $0.pointee.version_num >= 0x08_00_00 } ?? false

    static func notStarted(_ host: String) -> HTTPError {
        HTTPError(code: .libcurl, host: host, message: "libcurl cannot be started")
    }
}
