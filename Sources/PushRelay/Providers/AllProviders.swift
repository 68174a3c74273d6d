// The one list of providers. One with credentials is added by its file and its line here; one for
// users' own targets by its file and a line in `PushProviders`.

public import Options

/// The providers that need a record of the configuration.
enum AllProviders {
    /// The list, in the order of the reference.
    static let configured: [any ConfiguredProvider.Type] = [
        APNs.self,
        FCM.self,
        WebPush.self,
        Huawei.self,
        Honor.self,
        Xiaomi.self,
        OPPO.self,
        Vivo.self,
        Meizu.self,
    ]
}

/// An app of the configuration in one environment.
public struct PushApp: Sendable {
    /// How registrations name it.
    public let name: String
    /// `production` or `sandbox`; nil where the provider knows none.
    public let environment: String?
    /// Whether registrations that name no app mean it.
    public let isDefault: Bool
    /// What delivers to it.
    public let provider: any PushProvider
}

/// Everything that pushes can be delivered by, as it is configured.
public struct PushProviders: Sendable {
    /// The apps, in the order of the configuration.
    public let apps: [PushApp]
    /// What those who subscribe to Web Push of the server's own have to know
    /// (`applicationServerKey`), in base64url.
    public let webPushKey: String
    private let own: [ProviderKind: any PushProvider]

    /// Makes them all.
    ///
    /// - Parameters:
    ///   - records: of `push.apps`, without problems.
    ///   - contact: `push.contact`.
    ///   - memory: what they keep.
    ///   - allowsHTTP: whether users' targets may be `http:`, as on a network at home.
    ///   - read: the bytes of a file with a secret.
    public init(
        _ records: [ConfigurationRecord], contact: String?, memory: any PushMemory,
        allowsHTTP: Bool = false,
        read: (String) throws -> [UInt8] = { try SecretFile.read($0) }
    ) throws(PushCredentialError) {
        var apps: [PushApp] = []
        for record in records {
            let word = record.string("provider")
            guard let type = AllProviders.configured.first(where: { $0.kind.rawValue == word })
            else { continue }
            let provider = try Self.make(type, record, contact, memory, allowsHTTP, read)
            let hasEnvironments = type.fields.contains { $0.name == Self.environmentName }
            apps.append(
                PushApp(
                    name: record.app,
                    environment: hasEnvironments
                        ? record.string(Self.environmentName) ?? Self.usualEnvironment : nil,
                    isDefault: record.boolean("default") ?? false, provider: provider))
        }
        self.apps = apps
        let vapid = try VAPID(key: try VAPID.key("vapid", in: memory), contact: contact)
        webPushKey = vapid.publicKey
        let webPush = WebPush(vapid: vapid, allowsHTTP: allowsHTTP)
        own = [
            .webPush: webPush,
            .unifiedPush: UnifiedPush(webPush: webPush, allowsHTTP: allowsHTTP),
            .ntfy: Ntfy(allowsHTTP: allowsHTTP),
            .gotify: Gotify(allowsHTTP: allowsHTTP),
        ]
    }

    private static let environmentName = "environment"
    private static let usualEnvironment = "production"

    private static func make<Provider: ConfiguredProvider>(
        _ type: Provider.Type, _ record: ConfigurationRecord, _ contact: String?,
        _ memory: any PushMemory, _ allowsHTTP: Bool, _ read: (String) throws -> [UInt8]
    ) throws(PushCredentialError) -> any PushProvider {
        try Provider(record, memory: memory, read: read).with(
            contact: contact, allowsHTTP: allowsHTTP)
    }

    /// What delivers for a user's own target, which is of no app; nil for other kinds.
    public func own(_ kind: ProviderKind) -> (any PushProvider)? { own[kind] }

    /// An app's provider; nil when there is none (any more).
    ///
    /// - Parameters:
    ///   - name: nil for the default of the kind: the one that says so, or the only one.
    ///   - environment: nil for production, or the only one that there is.
    public func app(
        _ kind: ProviderKind, named name: String? = nil, environment: String? = nil
    ) -> PushApp? {
        let ofKind = apps.filter { $0.provider.kind == kind }
        let names = Set(ofKind.map(\.name))
        let name =
            name ?? ofKind.first { $0.isDefault }?.name ?? (names.count == 1 ? names.first : nil)
        let candidates = ofKind.filter { $0.name == name }
        guard let environment else {
            return candidates.first { $0.environment == Self.usualEnvironment } ?? candidates.first
        }
        return candidates.first { $0.environment == nil || $0.environment == environment }
    }

    /// The same app in its other environment, to try a token there; nil when it is in one only.
    public func other(than app: PushApp) -> PushApp? {
        apps.first {
            $0.name == app.name && $0.provider.kind == app.provider.kind
                && $0.environment != app.environment
        }
    }

    /// The kind of an app, for registrations that tell its name only (`pushModule`).
    ///
    /// - Parameter name: nil for the default app, or the only one; nobody's if there are several.
    public func kind(ofApp name: String?) -> ProviderKind? {
        if let name { return apps.first { $0.name == name }?.provider.kind }
        let defaults = apps.filter(\.isDefault)
        let names = Set((defaults.isEmpty ? apps : defaults).map(\.name))
        return names.count == 1 ? names.first.flatMap { kind(ofApp: $0) } : nil
    }
}
