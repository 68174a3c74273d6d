// The options that say with what credentials pushes are delivered.

public import Options

/// The apps of the configuration and who answers for this server.
public struct PushAppOptions: Sendable {
    /// The key of the list.
    public static let key = "push.apps"
    /// Apps at most; one in two environments is two entries.
    private static let most = 64

    /// The apps as they are written.
    public let records: Setting<[ConfigurationRecord]>
    /// Who answers for this server, for those who run push services (RFC 8292).
    public let contact: Setting<String?>

    /// Declares the options.
    public init(_ options: OptionSet) {
        records = options.records(
            Self.key, fields: Self.fields, maximumCount: Self.most, reloadable: true,
            example: """
                - {name: chat-ios, provider: apns, topic: org.example.chat, team_id: ABCDE12345,
                   key_id: FGHIJ67890, key_file: /etc/kinglet/chat.p8}
                """,
            help:
                "Apps that pushes are delivered to with credentials of their publisher. Users' own "
                + "targets (ntfy, Gotify, UnifiedPush, Web Push) need none.")
        options.judgeRecords([Self.key]) { Self.problems($0[Self.key] ?? []) }
        contact = options.optionalText(
            "push.contact", check: VAPID.problem(ofContact:), reloadable: true,
            help: "mailto: or https: address of who answers for this server; push services of "
                + "browsers are told. Some take nothing from a server without one.")
    }

    // MARK: Fields

    private static let common = [
        RecordField(
            name: "name", required: true,
            help: "How registrations name the app: 1 to 64 of a-z, 0-9, ., _ and -."),
        RecordField(
            name: "provider",
            content: .choice(AllProviders.configured.map { $0.kind.rawValue }),
            required: true, help: "Who delivers."),
        RecordField(
            name: "url", help: "Another server than the provider's, such as one for tests."),
        RecordField(
            name: "default", content: .boolean,
            help: "Whether registrations that name no app mean this one."),
    ]

    /// Those of all providers; a name that several have is one field with the help of each.
    static var fields: [RecordField] {
        var fields = common
        for provider in AllProviders.configured {
            for field in provider.fields {
                let help = "\(provider.kind.rawValue): \(field.help)"
                let known = fields.firstIndex { $0.name == field.name }
                let merged = RecordField(
                    name: field.name, content: field.content, list: field.list,
                    secret: field.secret || known.map { fields[$0].secret } ?? false,
                    help: (known.map { fields[$0].help + " " } ?? "") + help)
                if let known { fields[known] = merged } else { fields.append(merged) }
            }
        }
        return fields
    }

    // MARK: What is wrong

    /// Whether it may name an app.
    static func isName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x61...0x7A, UInt8(ascii: "."), UInt8(ascii: "_"),
                    UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }

    /// Everything that is wrong with the records beyond their fields.
    static func problems(_ records: [ConfigurationRecord]) -> [RecordProblem] {
        var problems: [RecordProblem] = []
        var places: Set<[String]> = []
        var providers: [String: String] = [:]
        var defaults: [String: String] = [:]
        for record in records {
            func report(_ text: String, _ advice: String = "") {
                problems.append(RecordProblem(key: key, line: record.line, text, advice: advice))
            }
            let name = record.app
            if !isName(name) { report("name: expected 1 to 64 of a-z, 0-9, ., _ and -") }
            guard let word = record.string("provider"),
                let provider = AllProviders.configured.first(where: { $0.kind.rawValue == word })
            else { continue }
            if let other = providers[name], other != word {
                report("name: \(name) is an app of \(other) as well", "give one another name")
            }
            providers[name] = word
            let environment = record.string("environment") ?? "production"
            if !places.insert([name, word, environment]).inserted {
                report("name: there are two named \(name)", "give one of them another name")
            }
            if record.boolean("default") ?? false {
                if let other = defaults[word], other != name {
                    report("default: \(other) is the default of \(word) already", "keep one")
                }
                defaults[word] = name
            }
            if let url = record.string("url"), EndpointURL.server(url) == nil {
                report("url: expected a URL that begins with https://")
            }
            let own = Set(provider.fields.map(\.name) + common.map(\.name))
            for field in fields where record.string(field.name) != nil {
                if !own.contains(field.name) {
                    report("\(field.name): \(word) does not use it", "remove it")
                } else if field.name.hasSuffix("_file"),
                    record.string(field.name)?.hasPrefix("/") == false
                {
                    report("\(field.name): expected an absolute path")
                }
            }
            for (text, advice) in provider.problems(of: record) { report(text, advice) }
        }
        return problems
    }
}
