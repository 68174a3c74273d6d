// The providers that the configuration gives credentials for, and those that need none. Replaced as
// a whole at a reload.

internal import Synchronization

/// Finds the provider of a push. Safe on any thread.
final class ProviderTable: Sendable {
    struct Key: Hashable, Sendable {
        var kind: ProviderKind
        var app: String
        /// Empty where there is only one.
        var environment = ""
    }

    private let providers = Mutex<[Key: any PushProvider]>([:])

    var all: [(key: Key, provider: any PushProvider)] {
        providers.withLock { $0.map { ($0.key, $0.value) } }
    }

    func replace(_ new: [Key: any PushProvider]) { providers.withLock { $0 = new } }

    /// The provider of an app; in another environment than the one asked for if it has only that.
    func provider(_ kind: ProviderKind, app: String, environment: String?) -> (any PushProvider)? {
        providers.withLock { providers in
            if let exact = providers[Key(kind: kind, app: app, environment: environment ?? "")] {
                return exact
            }
            return providers.filter { $0.key.kind == kind && $0.key.app == app }
                .min { $0.key.environment < $1.key.environment }?.value
        }
    }

    /// The environment of an app besides the one given; nil if there is none.
    func otherEnvironment(_ kind: ProviderKind, app: String, than environment: String) -> String? {
        providers.withLock { providers in
            providers.keys.first {
                $0.kind == kind && $0.app == app && $0.environment != environment
            }?.environment
        }
    }
}
