// Why there is no response.

internal import CCurl
internal import Glibc

/// A failure. It never names more of the URL than the host, for the rest may be a secret.
public struct HTTPError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kind of failure; a closed set, fit for a metric's label.
    public enum Code: String, Sendable, CaseIterable {
        /// The request cannot be sent as it is.
        case request
        /// The host's name is not known.
        case name
        /// No connection, or it broke.
        case connection
        /// Each of the host's addresses is one that must not be connected to.
        case forbiddenAddress = "forbidden_address"
        /// It took longer than it may.
        case timeout
        /// No secure connection, or the certificate is not the host's.
        case tls
        /// What came is not HTTP.
        case garbage
        /// The response is larger than it may be.
        case size
        /// Nobody wants it any more.
        case cancelled
        /// libcurl failed on its own.
        case libcurl
    }

    /// The kind of failure.
    public let code: Code
    /// The host; empty when the URL has none.
    public let host: String
    /// What is wrong.
    public let message: String

    /// Describes a failure.
    public init(code: Code, host: String, message: String) {
        self.code = code
        self.host = host
        self.message = message
    }

    /// One line for a log or a terminal.
    public var description: String { host.isEmpty ? message : "\(host): \(message)" }

    static func cancelled(_ host: String) -> HTTPError {
        HTTPError(code: .cancelled, host: host, message: "it was not waited for")
    }

    /// What libcurl's number means.
    static func of(_ result: CURLcode, host: String, systemError: Int) -> HTTPError {
        let code: Code
        switch result {
        case CURLE_URL_MALFORMAT: code = .request
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY: code = .name
        case CURLE_COULDNT_CONNECT, CURLE_SEND_ERROR, CURLE_RECV_ERROR, CURLE_GOT_NOTHING,
            CURLE_PARTIAL_FILE,
            // Mostly that the server went away, or gave up one request (RFC 9113 sections 6.4, 6.8).
            CURLE_HTTP2, CURLE_HTTP2_STREAM:
            code = .connection
        case CURLE_OPERATION_TIMEDOUT: code = .timeout
        case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE,
            CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER, CURLE_SSL_ENGINE_INITFAILED,
            CURLE_SSL_ISSUER_ERROR, CURLE_SSL_PINNEDPUBKEYNOTMATCH, CURLE_USE_SSL_FAILED:
            code = .tls
        // The URL's scheme was looked at before: an unsupported protocol is what was answered.
        case CURLE_WEIRD_SERVER_REPLY, CURLE_BAD_CONTENT_ENCODING, CURLE_TOO_MANY_REDIRECTS,
            CURLE_UNSUPPORTED_PROTOCOL:
            code = .garbage
        default: code = .libcurl
        }
        var message =
            curl_easy_strerror(result).map { String(cString: $0) } ?? "no reason is known"
        if code == .connection, systemError != 0, let number = Int32(exactly: systemError) {
            message += " (\(String(cString: strerror(number))))"
        }
        return HTTPError(code: code, host: host, message: message)
    }
}
