// Where makers of telephones say that a notification has arrived: a URL for each app, which nobody can
// guess, and a word that comes back.

internal import Synchronization

/// The URLs for receipts. Safe on any thread.
final class ReceiptAddresses: Sendable {
    /// What stands before the key.
    static let path = "/push/receipts/"

    private struct State {
        var keys: PushKeys?
        var base: @Sendable () -> String? = { nil }
    }

    private let state = Mutex(State())

    /// - Parameter base: how this server is reached from the internet; nil where it is not.
    func set(_ keys: PushKeys, base: @escaping @Sendable () -> String?) {
        state.withLock { state in
            state.keys = keys
            state.base = base
        }
    }

    /// What a provider is told with a task's notification; nil for one that gives no receipts, or
    /// where none could come.
    func address(_ kind: ProviderKind, app: String, task: Int64?) -> PushReceiptAddress? {
        guard let task, let way = Receipt.way(of: kind), let url = url(kind, app: app) else {
            return nil
        }
        return PushReceiptAddress(
            url: way == .perMessage ? url : nil, reference: "\(Self.prefix)\(task)")
    }

    private static let prefix = "task-"

    /// The URL of an app; nil where none could be reached, or its provider gives no receipts.
    func url(_ kind: ProviderKind, app: String) -> String? {
        guard Receipt.way(of: kind) != nil else { return nil }
        let (keys, base) = state.withLock { ($0.keys, $0.base) }
        guard let keys, let base = base() else { return nil }
        return base + Self.path + Self.key(kind, app, keys)
    }

    /// What stands in the URL of an app.
    static func key(_ kind: ProviderKind, _ app: String, _ keys: PushKeys) -> String {
        keys.hexName("receipt", kind.rawValue, app, bytes: 16)
    }

    /// The task that a word is about; nil for none.
    static func task(of reference: String) -> Int64? {
        reference.hasPrefix(prefix) ? Int64(reference.dropFirst(prefix.count)) : nil
    }
}
