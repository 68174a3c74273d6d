// What providers have in common: the words of a notification, and how it is made to fit.

internal import HTTPClient
internal import TLS

extension PushNotification {
    /// Bytes of a sender's name at most.
    private static let longestSender = 256

    /// What happened, for a person who asked for no more.
    var title: String {
        switch kind {
        case .message: "New message"
        case .call: "Incoming call"
        case .callEnded: "Call ended"
        case .test: "Test notification"
        case .notification: "Notification"
        }
    }

    /// What a person reads below the title where something has to stand there.
    var text: String {
        if let body, !body.isEmpty { return body }
        if kind == .test { return "Notifications arrive." }
        if kind == .notification { return sender ?? title }
        guard let unread, unread > 0 else { return title }
        return unread == 1 ? "1 unread message" : "\(unread) unread messages"
    }

    /// Everything that an app may use, without what is not known.
    var fields: [String: JSONValue] {
        guard content == nil else { return fieldsOfProgram }
        var fields: [String: JSONValue] = ["type": .string(kind.word), "account": .string(account)]
        fields["channel"] = channel.map { .string($0) }
        fields["unread"] = unread.map { .integer(Int64($0)) }
        fields["sender"] = sender.map { .string($0) }
        fields["body"] = body.map { .string($0) }
        return fields
    }

    /// What a program says has names of its own, and no account: it is the same for many.
    private var fieldsOfProgram: [String: JSONValue] {
        var fields: [String: JSONValue] = ["type": .string(kind.word)]
        fields["title"] = sender.map { .string($0) }
        fields["text"] = body.map { .string($0) }
        fields["badge"] = unread.map { .integer(Int64($0)) }
        if let data = content?.data, !data.isEmpty { fields["data"] = .object(data) }
        return fields
    }

    /// How long it is of use, within what a provider takes.
    func lifetime(atMost longest: Int) -> Int { min(max(0, lifetime), longest) }

    /// The bytes that `make` gives of the most that fits; empty ones are not a payload.
    func fitted(
        _ limit: Int, _ make: (PushNotification) -> [UInt8]
    ) throws(PushFault) -> [UInt8] {
        try fitted(limit, make, size: { $0.isEmpty ? .max : $0.count })
    }

    /// The largest of what `make` gives that has `limit` bytes at most: the body is cut, then the
    /// sender goes too. Measured as it is sent, for JSON may need six bytes for one.
    func fitted<Payload>(
        _ limit: Int, _ make: (PushNotification) -> Payload, size: (Payload) -> Int
    ) throws(PushFault) -> Payload {
        var short = self
        short.sender = sender.flatMap { $0.isEmpty ? nil : Self.cut($0, to: Self.longestSender) }
        short.body = body.flatMap { $0.isEmpty ? nil : Self.cut($0, to: limit) }
        let whole = make(short)
        if size(whole) <= limit { return whole }
        var best: Payload?
        if let body = short.body {
            var low = 0
            var high = body.utf8.count
            while low <= high {
                let middle = (low + high) / 2
                let cut = Self.cut(body, to: middle)
                short.body = cut.isEmpty ? nil : cut
                let payload = make(short)
                if size(payload) <= limit {
                    best = payload
                    low = middle + 1
                } else {
                    high = middle - 1
                }
            }
        }
        if let best { return best }
        short.body = nil
        short.sender = nil
        let least = make(short)
        guard size(least) <= limit else { throw PushFault(.rejected, .tooLarge) }
        return least
    }

    /// The beginning of a text, never a part of a character's bytes.
    static func cut(_ text: String, to limit: Int) -> String {
        guard text.utf8.count > limit else { return text }
        let mark = "…"
        var length = mark.utf8.count
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            length += String(scalar).utf8.count
            if length > limit { break }
            result.append(scalar)
        }
        return result.isEmpty ? "" : String(result) + mark
    }

    /// The identifier as a UUID is written.
    var uuid: String {
        let bytes =
            identifier.count == 16
            ? identifier : Array(DigestAlgorithm.sha256.hash(identifier).prefix(16))
        let hex = Array(HexDigits.text(bytes).utf8)
        let parts = [hex[0..<8], hex[8..<12], hex[12..<16], hex[16..<20], hex[20..<32]]
        return parts.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "-")
    }
}

extension PushNotification.Kind {
    /// For a program.
    var word: String {
        switch self {
        case .message: "message"
        case .call: "call"
        case .callEnded: "call_ended"
        case .test: "test"
        case .notification: "notification"
        }
    }
}

extension PushAnswer {
    /// What a status means when the provider says nothing better.
    ///
    /// - Parameter waiter: who has to wait when there are too many requests.
    init(
        status response: HTTPResponse, at time: PushTime, waiter: PushOutcome.Waiter = .circuit,
        code: String? = nil
    ) {
        let after = RetryAfter.of(response, at: time)
        let code = code ?? String(response.status)
        self =
            switch response.status {
            case 200..<300: PushAnswer(.accepted, .accepted, code: code)
            // A captive portal redirects as well, and goes away again.
            case 300..<400: PushAnswer(.retry(waiter, after: after), .redirection, code: code)
            case 401, 403:
                PushAnswer(.authorizationExpired(.refused), .credentialRefused, code: code)
            case 408: PushAnswer(.retry(.circuit, after: after), .timeout, code: code)
            case 413: PushAnswer(.rejected, .tooLarge, code: code)
            case 425, 429: PushAnswer(.retry(waiter, after: after), .rate, code: code)
            case 400..<500: PushAnswer(.rejected, .request, code: code)
            case 500..<600: PushAnswer(.retry(.circuit, after: after), .unavailable, code: code)
            default: PushAnswer(.retry(waiter, after: nil), .garbage, code: code)
            }
    }

    /// A success whose body is not what the provider says.
    static func garbage(
        _ response: HTTPResponse, waiter: PushOutcome.Waiter = .circuit
    ) -> PushAnswer {
        PushAnswer(.retry(waiter, after: nil), .garbage, code: String(response.status))
    }
}

extension PushTarget {
    /// A word of a provider's answer that may be shown: one that nobody knows could be the token.
    func shown(_ word: String?) -> String? {
        guard let word, (1...48).contains(word.utf8.count),
            word.utf8.allSatisfy({ byte in
                switch byte {
                case 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "_"): true
                default: false
                }
            }), !token.contains(word), !parameters.values.contains(where: { $0.contains(word) })
        else { return nil }
        return word
    }
}
