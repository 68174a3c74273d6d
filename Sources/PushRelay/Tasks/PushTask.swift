// What a program wants to tell: one notification for some or all devices. Whom it is for is looked up
// by and by, so that one for everybody stops nobody; who is told the same by the same service goes
// into one parcel.

internal import Addresses

/// A notification of a program's.
struct PushTask: Sendable, Equatable {
    /// Whom it is for; those who are in several are told once.
    struct Audience: Sendable, Equatable {
        var isAll = false
        var users: [BareJID] = []
        var devices: [Device] = []
        var tags: [String] = []
        var aliases: [String] = []

        struct Device: Sendable, Equatable {
            var user: BareJID
            var name: String
        }
    }

    var audience: Audience
    var title: String?
    var text: String?
    var data: [String: JSONValue] = [:]
    var badge: PushContent.Badge?
    /// What a later one with the same takes the place of; nil for nothing.
    var collapseKey: String?
    /// Seconds.
    var lifetime: Int
    var isHigh = true
    var extras: [ProviderKind: [String: JSONValue]] = [:]

    /// Whether there is something to see.
    var isVisible: Bool { title != nil || text != nil }
}

// MARK: In the database

extension PushTask {
    /// As it is sealed.
    var json: JSONValue {
        var fields: [String: JSONValue] = [
            "lifetime": .integer(Int64(lifetime)), "high": .boolean(isHigh),
            "data": .object(data),
            "extras": .object(
                Dictionary(
                    uniqueKeysWithValues: extras.map { ($0.key.rawValue, .object($0.value)) })),
            "audience": audience.json,
        ]
        fields["title"] = title.map { .string($0) }
        fields["text"] = text.map { .string($0) }
        fields["collapse"] = collapseKey.map { .string($0) }
        switch badge {
        case .set(let count): fields["badge"] = .integer(Int64(count))
        case .add(let count): fields["more"] = .integer(Int64(count))
        case nil: break
        }
        return .object(fields)
    }

    /// What was sealed.
    init?(_ json: JSONValue) {
        guard let lifetime = json["lifetime"]?.whole, case .boolean(let isHigh)? = json["high"],
            let audience = json["audience"].flatMap(Audience.init)
        else { return nil }
        self.init(audience: audience, lifetime: Int(lifetime), isHigh: isHigh)
        title = json["title"]?.text
        text = json["text"]?.text
        collapseKey = json["collapse"]?.text
        if case .object(let fields)? = json["data"] { data = fields }
        if let count = json["badge"]?.whole { badge = .set(Int(count)) }
        if let count = json["more"]?.whole { badge = .add(Int(count)) }
        guard case .object(let known)? = json["extras"] else { return }
        for (name, value) in known {
            guard let kind = ProviderKind(rawValue: name), case .object(let fields) = value else {
                continue
            }
            extras[kind] = fields
        }
    }
}

extension PushTask.Audience {
    var json: JSONValue {
        .object([
            "all": .boolean(isAll),
            "users": .array(users.map { .string($0.description) }),
            "devices": .array(
                devices.map { .array([.string($0.user.description), .string($0.name)]) }),
            "tags": .array(tags.map { .string($0) }),
            "aliases": .array(aliases.map { .string($0) }),
        ])
    }

    init?(_ json: JSONValue) {
        guard case .boolean(let isAll)? = json["all"] else { return nil }
        self.init(isAll: isAll)
        users = (json["users"]?.texts ?? []).compactMap { try? JID($0) }.map(\.bare)
        for pair in json["devices"]?.elements ?? [] {
            let texts = pair.texts
            guard texts.count == 2, let user = try? JID(texts[0]).bare else { continue }
            devices.append(Device(user: user, name: texts[1]))
        }
        tags = json["tags"]?.texts ?? []
        aliases = json["aliases"]?.texts ?? []
    }

    /// One after the other they give everybody.
    var selections: [Selection] {
        if isAll { return [.all] }
        return users.map { .user($0) } + devices.map { .device($0.user, $0.name) }
            + tags.map { .tag($0) } + aliases.map { .alias($0) }
    }

    /// A part of the audience.
    enum Selection: Sendable, Equatable {
        case all
        case user(BareJID)
        case device(BareJID, String)
        case tag(String)
        case alias(String)
    }
}

/// Some who are told the same by the same service, in one request.
struct Parcel: Sendable, Equatable {
    let id: Int64
    let task: Int64
    /// The first and the last of its targets; between them may be others' too.
    let first: Int64
    let last: Int64
    let count: Int
}

/// How it is with one target of a task.
struct PushSending: Sendable, Equatable {
    enum State: Int64, Sendable, CaseIterable {
        case waiting = 0
        /// A provider has taken it.
        case sent = 1
        case failed = 2
        /// Its device or its task is gone.
        case dropped = 3
        /// The app took it over its own connection.
        case reached = 4

        /// For a program.
        var word: String {
            switch self {
            case .waiting: "waiting"
            case .sent: "sent"
            case .failed: "failed"
            case .dropped: "dropped"
            case .reached: "reached"
            }
        }
    }

    var target: Int64
    var state: State
    var reason: PushReason?
    var code: String?
    /// When it ended, and when the device had it; milliseconds since 1970.
    var ended: Int64?
    var delivered: Int64?
    /// Nil where the target is gone.
    var account: BareJID?
    var device: String?
    var provider: ProviderKind?
    var app: String?
}

/// What became of a task so far.
struct PushTaskCounts: Sendable, Equatable {
    var requested = 0
    var sent = 0
    var reached = 0
    var failed = 0
    var dropped = 0
    /// The device's next token was tried instead.
    var passedOn = 0
    /// The provider said that the device has it.
    var delivered = 0

    /// What is still to be sent.
    var waiting: Int { requested - sent - reached - failed - dropped - passedOn }

    static func += (left: inout PushTaskCounts, right: PushTaskCounts) {
        left.requested += right.requested
        left.sent += right.sent
        left.reached += right.reached
        left.failed += right.failed
        left.dropped += right.dropped
        left.passedOn += right.passedOn
        left.delivered += right.delivered
    }
}
