// A request to tell something, as a program writes it.

internal import Addresses
internal import Engine
internal import TLS

/// What a body asks for.
struct TaskRequest: Sendable {
    /// Receivers in one request at most.
    static let mostReceivers = 1000
    /// Characters of a title and a text, bytes of data and of each service's extras, at most.
    static let longestTitle = 256
    static let longestText = 4000
    static let longestData = 2048
    static let longestExtras = 2048
    /// Seconds for which it can be of use at most: what Google and Apple keep.
    static let longestLifetime: Int64 = 28 * 86_400
    static let mostBadge: Int64 = 99_999
    /// The services that know something that others do not.
    static let withExtras: [ProviderKind] = [
        .apns, .fcm, .huawei, .honor, .xiaomi, .oppo, .vivo, .meizu, .ntfy, .gotify,
    ]

    var task: PushTask
    var dedupe: String?
    /// Of what is asked for, without the key.
    var digest: [UInt8]
    /// What it names as users, and no user here can be.
    var strangers: [String] = []

    private static let names: Set = [
        "to", "title", "text", "data", "badge", "collapse_key", "ttl", "priority", "vendor",
        "dedupe_key",
    ]

    /// Reads a body.
    ///
    /// - Parameters:
    ///   - lifetime: seconds for which it is of use where that is not said.
    ///   - isLocal: whether a domain is ours.
    init(
        _ json: JSONValue, lifetime: Int64, isLocal: (String) -> Bool
    ) throws(APIProblem) {
        var fields = JSONFields(json, allowing: Self.names)
        let audience = Self.audience(&fields, isLocal, &strangers)
        task = PushTask(
            audience: audience,
            lifetime: Int(fields.number("ttl", 0...Self.longestLifetime) ?? lifetime))
        task.title = fields.text("title", 1...Self.longestTitle)
        task.text = fields.text("text", 1...Self.longestText)
        task.data = fields.object("data", atMost: Self.longestData) ?? [:]
        if fields.has("data"), task.data.isEmpty { fields.wrong("data", "there is nothing in it") }
        task.badge = Self.badge(&fields)
        if let key = fields["collapse_key"] {
            if let text = key.text, APIName.isKey(text) {
                task.collapseKey = text
            } else {
                fields.wrong("collapse_key", APIName.keyAdvice)
            }
        }
        switch fields["priority"] {
        case nil, .string("high")?: task.isHigh = true
        case .string("normal")?: task.isHigh = false
        default: fields.wrong("priority", "expected high or normal")
        }
        task.extras = Self.extras(&fields)
        if let key = fields["dedupe_key"] {
            if let text = key.text, APIName.isKey(text) {
                dedupe = text
            } else {
                fields.wrong("dedupe_key", APIName.keyAdvice)
            }
        }
        if !task.isVisible, task.data.isEmpty, task.badge == nil, fields.faults.isEmpty {
            fields.wrong("", "there is nothing to tell: give a title, a text, data or a badge")
        }
        if !fields.faults.isEmpty {
            throw APIProblem(.invalid, "see errors for what is wrong", fields.faults)
        }
        guard case .object(var content) = json else { throw APIProblem(.malformed, "no object") }
        content["dedupe_key"] = nil
        digest = DigestAlgorithm.sha256.hash(JSONValue.object(content).bytes)
    }

    private static func badge(_ fields: inout JSONFields) -> PushContent.Badge? {
        guard let value = fields["badge"] else { return nil }
        if let count = value.whole, (0...mostBadge).contains(count) { return .set(Int(count)) }
        if let text = value.text, let sign = text.first, sign == "+" || sign == "-",
            (2...6).contains(text.utf8.count),
            text.dropFirst().allSatisfy({ $0.isASCII && $0.isNumber }),
            let count = Int(text)
        {
            return .add(count)
        }
        fields.wrong(
            "badge",
            "expected a number from 0 to \(mostBadge), or a text such as +1 for so many more")
        return nil
    }

    private static func extras(
        _ fields: inout JSONFields
    ) -> [ProviderKind: [String: JSONValue]] {
        guard let value = fields["vendor"] else { return [:] }
        var vendor = JSONFields(
            value, at: fields.pointer("vendor"), allowing: Set(withExtras.map(\.rawValue)))
        var extras: [ProviderKind: [String: JSONValue]] = [:]
        for kind in withExtras {
            extras[kind] = vendor.object(kind.rawValue, atMost: longestExtras)
        }
        fields.add(vendor.faults)
        return extras
    }

    // MARK: Whom it is for

    private static func audience(
        _ fields: inout JSONFields, _ isLocal: (String) -> Bool, _ strangers: inout [String]
    ) -> PushTask.Audience {
        var audience = PushTask.Audience()
        guard let value = fields["to"] else {
            fields.wrong("to", "say whom it is for")
            return audience
        }
        var to = JSONFields(
            value, at: fields.pointer("to"),
            allowing: ["all", "users", "devices", "tags", "aliases"])
        if to.has("all") {
            audience.isAll = true
            if to["all"] != .boolean(true) { to.wrong("all", "expected true") }
        }
        let users = to.list("users", 1...mostReceivers) { value, _ in address(value) }
        let devices = to.list("devices", 1...mostReceivers) {
            value, pointer -> Result<(user: String, name: String), JSONFields.ListFault> in
            var device = JSONFields(value, at: pointer, allowing: ["user", "device"])
            let name = device.name("device")
            if !device.has("device") { device.wrong("device", "say which device") }
            guard case .success(let user) = address(device["user"] ?? .null) else {
                device.wrong("user", addressAdvice)
                return .failure(.several(device.faults))
            }
            guard device.faults.isEmpty, let name else { return .failure(.several(device.faults)) }
            return .success((user: user, name: name))
        }
        for user in users {
            if let jid = local(user, isLocal) {
                audience.users.append(jid)
            } else {
                strangers.append(user)
            }
        }
        for device in devices {
            if let jid = local(device.user, isLocal) {
                audience.devices.append(PushTask.Audience.Device(user: jid, name: device.name))
            } else {
                strangers.append(device.user)
            }
        }
        audience.tags = to.list("tags", 1...mostReceivers) { value, _ in
            value.text.flatMap { APIName.isName($0) ? .success($0) : nil }
                ?? .failure(.one(APIName.advice))
        }
        audience.aliases = to.list("aliases", 1...mostReceivers) { value, _ in
            value.text.flatMap { APIName.isKey($0) ? .success($0) : nil }
                ?? .failure(.one(APIName.keyAdvice))
        }
        let count =
            users.count + devices.count + audience.tags.count + audience.aliases.count
        if to.faults.isEmpty {
            if audience.isAll, count > 0 {
                to.wrong("", "all stands alone")
            } else if !audience.isAll, count == 0 {
                to.wrong("", "name at least one user, device, tag or alias, or all")
            } else if count > mostReceivers {
                to.wrong("", "\(mostReceivers) at most in one request; use a tag, or all")
            }
        }
        fields.add(to.faults)
        return audience
    }

    private static let addressAdvice = "expected the address of a user"
    /// Characters of a user's address at most.
    static let longestAddress = 1023

    private static func address(_ value: JSONValue) -> Result<String, JSONFields.ListFault> {
        guard let text = value.text, (1...longestAddress).contains(text.unicodeScalars.count)
        else { return .failure(.one(addressAdvice)) }
        return .success(text)
    }

    private static func local(_ text: String, _ isLocal: (String) -> Bool) -> BareJID? {
        guard text.contains("@"), let jid = try? JID(text), jid.isBare, isLocal(jid.bare.domain)
        else { return nil }
        return jid.bare
    }
}
