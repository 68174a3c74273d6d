// What the services of telephones' makers have in common: texts that are cut to a number of
// characters, codes inside of answers, and the fields of their records.

internal import HTTPClient
internal import Options

extension PushNotification {
    /// The beginning of a text, never a part of a character. The makers count as Java does, in units
    /// of UTF-16.
    ///
    /// - Parameter wide: what a unit beyond Latin counts.
    static func cut(_ text: String, units limit: Int, wide: Int = 1) -> String {
        func width(_ character: Character) -> Int {
            character.utf16.reduce(0) { $0 + ($1 > 0xFF ? wide : 1) }
        }
        // A text of megabytes is not measured to its end.
        guard text.prefix(limit + 1).reduce(0, { $0 + width($1) }) > limit else { return text }
        let mark: Character = "…"
        var length = width(mark)
        var result = ""
        for character in text {
            length += width(character)
            if length > limit { break }
            result.append(character)
        }
        return result + String(mark)
    }

    /// What a person reads: who writes, or what happened.
    var heading: String { sender.flatMap { $0.isEmpty ? nil : $0 } ?? title }

    /// What the app reads, as a text; cut to so many bytes.
    func data(_ limit: Int) throws(PushFault) -> String {
        String(decoding: try fitted(limit) { JSONValue.object($0.fields).bytes }, as: UTF8.self)
    }

    /// What a program has for the app, as texts; nil if that is nothing.
    ///
    /// - Parameter limit: characters of it as JSON, at most.
    func custom(_ limit: Int) throws(PushFault) -> [String: JSONValue]? {
        guard let data = content?.data, !data.isEmpty else { return nil }
        let texts = data.mapValues { value in
            JSONValue.string(value.text ?? String(decoding: value.bytes, as: UTF8.self))
        }
        let length = String(decoding: JSONValue.object(texts).bytes, as: UTF8.self).utf16.count
        guard length <= limit else { throw PushFault(.rejected, .tooLarge) }
        return texts
    }

    /// The same by a maker's names for a number and for so many more, 99 at most; nil where there is
    /// nothing that it could do.
    func badge(set: String, add: String) -> (name: String, count: Int64)? {
        switch badge {
        case nil: nil
        case .set(let count): (set, Int64(min(max(0, count), 99)))
        case .add(let count): count > 0 ? (add, Int64(min(count, 99))) : nil
        }
    }

    /// What an app's icon is to show; nil for what it shows.
    var badge: PushContent.Badge? {
        guard let content else { return unread.map { .set($0) } }
        return content.badge
    }

    /// A number for what the notification is about: a later one with the same takes its place.
    var place: Int64 {
        collapse.prefix(4).reduce(0) { $0 << 8 | Int64($1) } & 0x7FFF_FFFF
    }
}

extension JSONValue {
    /// A code that is a number or the text of one; nil for anything else, which may be a token.
    var code: String? {
        let text = text ?? whole.map(String.init) ?? ""
        guard (1...12).contains(text.utf8.count),
            text.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == UInt8(ascii: "-") })
        else { return nil }
        return text
    }
}

/// Fields that records of several makers have.
enum VendorFields {
    static let appID = RecordField(name: "app_id", help: "the app's number in its console.")
    static let appKey = RecordField(name: "app_key", help: "the app's key in its console.")
    static let secretFile = RecordField(
        name: "secret_file",
        help: "an absolute path of a file, mode 0600 (or 0640, for the service's group), with the "
            + "secret from its console.")
    static let clientID = RecordField(
        name: "client_id", help: "the OAuth client's number, where it is not the app's.")
    static let tokenURL = RecordField(
        name: "token_url", help: "another server than its own for access tokens.")
    static let channel = RecordField(
        name: "channel_id", help: "the notification channel that was granted for messages.")
    static let badgeClass = RecordField(
        name: "badge_class",
        help: "the name of the activity whose icon bears a count; none is shown without.")
    static let category = RecordField(
        name: "category", help: "the class of messages that was granted; IM if not set.")

    /// What is missing.
    static func problems(
        of record: ConfigurationRecord, needs names: [String]
    ) -> [(text: String, advice: String)] {
        let word = record.string("provider") ?? ""
        var problems = names.filter { (record.string($0) ?? "").isEmpty }.map {
            ("\($0) is missing", "add it; \(word) needs it")
        }
        if let url = record.string("token_url"), EndpointURL.server(url) == nil {
            problems.append(("token_url: expected a URL that begins with https://", ""))
        }
        if names.contains("app_id"), let text = record.string("app_id"), !isNumber(text) {
            problems.append(("app_id: expected a number of at most 18 digits", ""))
        }
        return problems
    }

    private static func isNumber(_ text: String) -> Bool {
        (1...18).contains(text.utf8.count)
            && text.utf8.allSatisfy { (0x30...0x39).contains($0) }
    }

    /// The secret of a file, without the line's end.
    static func secret(
        _ record: ConfigurationRecord, _ read: (String) throws -> [UInt8]
    ) throws(PushCredentialError) -> String {
        var bytes = try record.file("secret_file", read)
        while let last = bytes.last, last <= 0x20 { bytes.removeLast() }
        guard (1...512).contains(bytes.count), bytes.allSatisfy({ (0x21...0x7E).contains($0) })
        else {
            throw PushCredentialError(
                app: record.app, subject: "secret_file", "there is no secret in it")
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// What is wrong with a device's token.
    static func problem(ofToken token: String) -> String? {
        // A comma would make two of it.
        let isToken =
            (1...1024).contains(token.utf8.count)
            && token.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: ",") }
        return isToken ? nil : "expected a device's token: printable characters, 1024 at most"
    }
}
