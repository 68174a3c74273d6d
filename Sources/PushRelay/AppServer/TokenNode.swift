// A node that is a device's token (fpush's way): nobody registered it, the publish options name the
// app.

internal import Options
internal import Storage

/// What a publication says of the device that it is for.
struct TokenNode: Sendable {
    /// Of the publish options: the app's name (fpush), or the provider and the token (MongoosePush).
    static let options = ["pushModule", "service", "device_id"]

    private let node: String
    private let app: String?
    private let kind: ProviderKind?
    private let token: String

    /// Nil for what cannot be one.
    init?(node: String, options: [String: String]) {
        self.node = node
        app = options["pushModule"].flatMap { $0.isEmpty ? nil : $0 }
        kind = options["service"].flatMap(ProviderKind.init(rawValue:))
        token = options["device_id"].flatMap { $0.isEmpty ? nil : $0 } ?? node
        guard kind != .xmpp, (1...2048).contains(token.utf8.count) else { return nil }
    }

    /// Keeps the device; nil if its app is none of the configuration's, or its token none of that app's.
    func keep(
        _ wakeups: Wakeups, now: Int64, _ connection: Connection
    ) throws -> PushTargetRow? {
        guard let providers = wakeups.providers.current, let kind = kind ?? providers.kind(ofApp: app),
            let app = providers.app(kind, named: app)
        else { return nil }
        let target = PushTarget(token)
        guard app.provider.problem(of: target) == nil else { return nil }
        var row = PushTargetRow(
            provider: kind, app: app.name, node: wakeups.keys.nodeName(node),
            circuit: ProviderTable.circuit(app.provider, target),
            fingerprint: wakeups.keys.name("token", app.name, node),
            secret: try wakeups.keys.seal(target), created: now / 1000, refreshed: now / 1000)
        let limit = wakeups.options.devices.value
        guard let id = try PushTargetStore.insertDevice(connection, row, limit: limit) else {
            return nil
        }
        row.id = id
        return row
    }
}
