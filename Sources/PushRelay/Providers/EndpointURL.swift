// The URL of somebody's endpoint, topic or server. Whoever registers it may write what he likes:
// nothing passes that another program could read in another way.

/// An absolute URL of HTTP without a user, a password or a fragment.
struct EndpointURL: Sendable, Equatable {
    /// As it was given; a secret.
    let text: String
    /// Whether it is `https:`.
    let isSecure: Bool
    /// Lower-case; an IPv6 address in brackets.
    let host: String
    let port: Int
    /// With the query; empty or beginning with `/` or `?`.
    let path: String

    /// Reads a URL of so many bytes at most; nil when it is none of those that may be used.
    init?(_ text: String, longest: Int = 2048) {
        guard (1...longest).contains(text.utf8.count), text.utf8.allSatisfy(Self.isAllowed) else {
            return nil
        }
        let lowered = text.prefix(8).lowercased()
        let isSecure = lowered.hasPrefix("https://")
        guard isSecure || lowered.hasPrefix("http://") else { return nil }
        let rest = text.dropFirst(isSecure ? 8 : 7)
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        guard let (host, port) = Self.split(authority.lowercased()) else { return nil }
        self.text = text
        self.isSecure = isSecure
        self.host = host
        self.port = port ?? (isSecure ? 443 : 80)
        path = String(rest.dropFirst(authority.count))
    }

    /// Scheme, host and port as RFC 6454 section 6.1 writes them: without the scheme's own port.
    var origin: String {
        port == (isSecure ? 443 : 80) ? "\(scheme)://\(host)" : "\(scheme)://\(host):\(port)"
    }

    /// The same with the port in any case: the name of a circuit.
    var circuit: String { "\(scheme)://\(host):\(port)" }

    /// The URL without a slash at its end, to put a path behind; nil if it has a query.
    var base: String? {
        if path.contains("?") { return nil }
        return text.hasSuffix("/") ? String(text.dropLast()) : text
    }

    /// A server that the operator names, without a slash at its end: credentials go there, so it is
    /// `https:` or this machine; nil for anything else.
    static func server(_ text: String) -> String? {
        guard let url = EndpointURL(text),
            url.isSecure || ["127.0.0.1", "[::1]", "localhost"].contains(url.host)
        else { return nil }
        return url.base
    }

    private var scheme: String { isSecure ? "https" : "http" }

    /// What RFC 3986 lets stand in a URL, without `#`.
    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: "-._~:/?[]@!$&'()*+,;=%".utf8.contains(byte)
        }
    }

    private static func split(_ authority: String) -> (host: String, port: Int?)? {
        var host = authority
        var port: Int?
        let end = authority.hasPrefix("[") ? authority.firstIndex(of: "]") : authority.startIndex
        guard let end else { return nil }
        if let colon = authority[end...].firstIndex(of: ":") {
            let digits = authority[authority.index(after: colon)...]
            guard (1...5).contains(digits.utf8.count),
                digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                let number = Int(digits), (1...65_535).contains(number)
            else { return nil }
            port = number
            host = String(authority[..<colon])
        }
        return isHost(host) ? (host, port) : nil
    }

    private static func isHost(_ host: String) -> Bool {
        if host.hasPrefix("[") {
            let inside = host.dropFirst().dropLast()
            return host.hasSuffix("]") && (2...45).contains(inside.utf8.count)
                && inside.utf8.allSatisfy { byte in
                    switch byte {
                    case 0x30...0x3A, 0x61...0x66, UInt8(ascii: "."): true
                    default: false
                    }
                }
        }
        let labels = host.split(separator: ".", omittingEmptySubsequences: false)
        return host.utf8.count <= 253
            && labels.allSatisfy { label in
                (1...63).contains(label.utf8.count)
                    && label.utf8.allSatisfy { byte in
                        switch byte {
                        case 0x30...0x39, 0x61...0x7A, UInt8(ascii: "-"), UInt8(ascii: "_"): true
                        default: false
                        }
                    }
            }
    }
}
