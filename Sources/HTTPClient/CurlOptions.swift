// Setting options of a libcurl handle, by the type of their values.

internal import CCurl

/// The options of one handle.
struct CurlOptions {
    let handle: UnsafeMutableRawPointer
    /// For errors.
    let host: String

    func set(_ option: CURLoption, _ value: Int) throws(HTTPError) {
        try check(kinglet_curl_set_long(handle, option, value))
    }

    /// libcurl copies the text.
    func set(_ option: CURLoption, _ value: String) throws(HTTPError) {
        try check(kinglet_curl_set_string(handle, option, value))
    }

    /// What is behind it outlives the transfer.
    func set(_ option: CURLoption, _ value: UnsafeMutableRawPointer?) throws(HTTPError) {
        try check(kinglet_curl_set_pointer(handle, option, value))
    }

    func set(_ option: CURLoption, _ value: CurlCallbacks.Write) throws(HTTPError) {
        try check(kinglet_curl_set_write(handle, option, value))
    }

    func setProgress(_ callback: curl_xferinfo_callback) throws(HTTPError) {
        try check(kinglet_curl_set_progress(handle, callback))
    }

    func setOpenSocket(_ callback: curl_opensocket_callback) throws(HTTPError) {
        try check(kinglet_curl_set_open_socket(handle, callback))
    }

    func setBeforeRequest(_ callback: curl_prereq_callback) throws(HTTPError) {
        try check(kinglet_curl_set_before_request(handle, callback))
    }

    /// libcurl copies the bytes.
    func setBody(_ body: [UInt8]) throws(HTTPError) {
        try check(
            kinglet_curl_set_offset(handle, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(body.count)))
        // Without an address libcurl would read the body from somewhere else.
        let result = (body.isEmpty ? [0] : body).withUnsafeBytes { bytes in
            kinglet_curl_set_pointer(
                handle, CURLOPT_COPYPOSTFIELDS,
                UnsafeMutableRawPointer(mutating: bytes.baseAddress))
        }
        try check(result)
    }

    /// A number that libcurl knows after the transfer.
    func number(_ info: CURLINFO) -> Int {
        var value = 0
        return kinglet_curl_get_long(handle, info, &value) == CURLE_OK ? value : 0
    }

    private func check(_ result: CURLcode) throws(HTTPError) {
        guard result == CURLE_OK else {
            throw HTTPError.of(result, host: host, systemError: 0)
        }
    }
}

/// The header fields of a request, in libcurl's list.
struct CurlFields {
    private(set) var list: UnsafeMutablePointer<curl_slist>?

    init(_ request: HTTPRequest, host: String) throws(HTTPError) {
        var lines: [String] = []
        for (name, value) in request.headers {
            let isName =
                !name.isEmpty
                && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: ":") }
            let isValue = value.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
            guard isName, isValue else {
                throw HTTPError(code: .request, host: host, message: "a header field is none")
            }
            // libcurl's way to say that a field is empty and not left out.
            lines.append(value.isEmpty ? "\(name);" : "\(name): \(value)")
        }
        // What libcurl would add by itself.
        for name in ["Expect", "Content-Type"]
        where !request.headers.contains(where: { $0.name.lowercased() == name.lowercased() }) {
            lines.append("\(name):")
        }
        for line in lines {
            guard let longer = curl_slist_append(list, line) else {
                free()
                throw HTTPError(code: .libcurl, host: host, message: "there is no memory")
            }
            list = longer
        }
    }

    mutating func free() {
        curl_slist_free_all(list)
        list = nil
    }
}
