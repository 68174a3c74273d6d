// Who may read the metrics: addresses, a bearer token (RFC 6750), or a user and password
// (RFC 7617).

extension MetricsServer {
    /// Who may read the metrics. With nothing set, everybody who reaches the address.
    public struct Access: Sendable {
        /// Clients show this in `Authorization: Bearer`.
        public var bearerToken: String?
        /// Clients show this and `basicPassword` in `Authorization: Basic`.
        public var basicUser: String?
        /// Goes with `basicUser`.
        public var basicPassword: String?
        /// Clients must come from one of these; empty: from anywhere.
        public var allowedNetworks: [CIDR]

        /// Says who may read the metrics. When a token and a password are both set, either will do.
        public init(
            bearerToken: String? = nil, basicUser: String? = nil, basicPassword: String? = nil,
            allowedNetworks: [CIDR] = []
        ) {
            self.bearerToken = bearerToken
            self.basicUser = basicUser
            self.basicPassword = basicPassword
            self.allowedNetworks = allowedNetworks
        }
    }
}

extension MetricsServer.Access {
    /// Whether strangers may read: nothing is asked, and the allow-list, if there is one, holds
    /// more than private networks can.
    var isOpen: Bool {
        challenges.isEmpty && (allowedNetworks.isEmpty || allowedNetworks.contains(where: \.isWide))
    }

    /// What is wrong with the settings, or nil.
    var problem: MetricsEndpointError? {
        if let bearerToken, bearerToken.isEmpty {
            return MetricsEndpointError(
                .badAccess, subject: "metrics.token", message: "the token for metrics is empty",
                advice: "set metrics.token to a long random text or remove it")
        }
        // What a header cannot carry (RFC 9110 section 5.5) would lock out everybody; a token that
        // was read from a file often ends in a line feed.
        if let bearerToken, bearerToken.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F }) {
            return MetricsEndpointError(
                .badAccess, subject: "metrics.token",
                message: "the token for metrics holds a space, a line end or a control character",
                advice: "set metrics.token to letters and digits")
        }
        // RFC 7617 section 2: the user name ends at the first colon.
        if (basicUser == nil) != (basicPassword == nil) || basicPassword == ""
            || basicUser?.contains(":") == true
        {
            return MetricsEndpointError(
                .badAccess, subject: "metrics.user",
                message: "metrics need both a user, without a colon, and a password",
                advice: "set metrics.user and metrics.password or neither")
        }
        for text in [basicUser, basicPassword].compactMap(\.self)
        where text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F }) {
            return MetricsEndpointError(
                .badAccess, subject: "metrics.user",
                message: "the user or password for metrics holds a line end or another control "
                    + "character",
                advice: "set metrics.user and metrics.password to text of one line")
        }
        return nil
    }

    /// The values of WWW-Authenticate; empty when nothing is asked.
    var challenges: [String] {
        var challenges: [String] = []
        if bearerToken != nil { challenges.append("Bearer realm=\"kinglet\"") }
        if basicUser != nil {
            challenges.append("Basic realm=\"kinglet\", charset=\"UTF-8\"")
        }
        return challenges
    }

    /// Whether a client from an address, in numeric form, may read.
    public func allows(address: String) -> Bool { allows(IPAddress(address)) }

    /// Whether an Authorization header holds the token, which there has to be.
    public func acceptsToken(authorization: String?) -> Bool {
        bearerToken != nil
            && MetricsServer.Access(bearerToken: bearerToken).accepts(authorization: authorization)
    }

    func allows(_ address: IPAddress?) -> Bool {
        if allowedNetworks.isEmpty { return true }
        guard let address else { return false }
        return allowedNetworks.contains { $0.contains(address) }
    }

    /// Whether an Authorization header (RFC 9110 section 11.6.2) holds what is asked.
    func accepts(authorization: String?) -> Bool {
        if challenges.isEmpty { return true }
        guard let authorization else { return false }
        let parts = authorization.split(separator: " ", maxSplits: 1)
        guard parts.count == 2 else { return false }
        let credentials = parts[1].drop { $0 == " " }
        switch parts[0].lowercased() {
        case "bearer":
            guard let bearerToken else { return false }
            return Self.equal(Array(credentials.utf8), Array(bearerToken.utf8))
        case "basic":
            guard let basicUser, let basicPassword, let given = Self.base64(credentials.utf8)
            else { return false }
            // User and password are compared in one go, so that time does not tell which is wrong.
            return Self.equal(given, Array("\(basicUser):\(basicPassword)".utf8))
        default: return false
        }
    }

    /// Compares in a time that depends on the given bytes' length only, not on where they differ.
    static func equal(_ given: [UInt8], _ secret: [UInt8]) -> Bool {
        guard !secret.isEmpty else { return false }
        var difference = given.count ^ secret.count
        for (index, byte) in given.enumerated() {
            difference |= Int(byte ^ secret[index % secret.count])
        }
        return difference == 0
    }

    /// Decodes base64 (RFC 4648 section 4), padding optional; nil when it is none.
    static func base64(_ text: Substring.UTF8View) -> [UInt8]? {
        var bytes: [UInt8] = []
        var bits: UInt32 = 0
        var count = 0
        var digits = text
        while digits.last == UInt8(ascii: "=") && text.count - digits.count < 2 {
            digits.removeLast()
        }
        for byte in digits {
            let value: UInt8
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = byte - 65
            case UInt8(ascii: "a")...UInt8(ascii: "z"): value = byte - 71
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = byte + 4
            case UInt8(ascii: "+"): value = 62
            case UInt8(ascii: "/"): value = 63
            default: return nil
            }
            bits = bits << 6 | UInt32(value)
            count += 6
            if count >= 8 {
                count -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
            }
        }
        return count < 6 ? bytes : nil
    }
}
