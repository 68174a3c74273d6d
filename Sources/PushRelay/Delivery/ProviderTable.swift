// The providers in force, replaced as a whole at a reload, and what they keep over restarts.

internal import Engine
internal import Logging
internal import Storage
internal import Synchronization

/// Finds the provider of a push. Safe on any thread.
final class ProviderTable: Sendable {
    private let providers = Mutex<PushProviders?>(nil)

    /// Nil before the start.
    var current: PushProviders? { providers.withLock { $0 } }

    func replace(_ new: PushProviders) { providers.withLock { $0 = new } }

    /// The provider of an app, or the one for users' own targets where no app is named; nil when it
    /// is not configured any more.
    func provider(_ kind: ProviderKind, app: String, environment: String?) -> (any PushProvider)? {
        guard let current else { return nil }
        guard !app.isEmpty else { return current.own(kind) }
        return current.app(kind, named: app, environment: environment)?.provider
    }

    /// The environment of an app besides the one given; nil if there is none.
    func otherEnvironment(_ kind: ProviderKind, app: String, than environment: String) -> String? {
        guard let current, let known = current.app(kind, named: app, environment: environment)
        else { return nil }
        return current.other(than: known)?.environment
    }

    /// What shares a breaker and a rate with a target.
    static func circuit(_ provider: any PushProvider, _ target: PushTarget) -> String {
        "\(provider.kind.rawValue):\(provider.circuit(of: target))"
    }
}

/// What providers keep, sealed in the database. Safe on any thread.
final class StoredMemory: PushMemory {
    private let values: Mutex<[String: [UInt8]]>
    /// Keys that are there and were sealed by another key than the present one: they may come back
    /// with it, so nothing takes their place.
    private let unreadableKeys: Set<String>
    private let keys: PushKeys
    private let host: Host

    /// Reads everything; waits, so only at the start.
    init(_ host: Host, _ keys: PushKeys) throws(StorageError) {
        self.host = host
        self.keys = keys
        var opened: [String: [UInt8]] = [:]
        var unreadable: Set<String> = []
        for (name, sealed) in try host.database.readNow({ try PushQueueStore.memory($0) }) {
            opened[name] = keys.open(sealed, for: "memory \(name)")
            if opened[name] == nil, name.hasPrefix(VAPID.memoryPrefix) { unreadable.insert(name) }
        }
        unreadableKeys = unreadable
        if !unreadable.isEmpty {
            host.log.error(
                """
                push: a key of Web Push cannot be read; restore secrets/push.key from a backup, or \
                subscriptions that were made for it stay silent
                """)
        }
        values = Mutex(opened)
    }

    func load(_ name: String) -> [UInt8]? { values.withLock { $0[name] } }

    func save(_ name: String, _ value: [UInt8]) {
        values.withLock { $0[name] = value }
        guard !unreadableKeys.contains(name) else { return }
        guard let sealed = try? keys.seal(value, for: "memory \(name)") else { return }
        let log = host.log
        host.database.writer.submit(
            size: 256, { try PushQueueStore.remember($0, name, sealed) },
            then: { result in
                if case .failure(let error) = result {
                    log.error("push: what a provider remembers is not kept: \(error)")
                }
            })
    }
}
