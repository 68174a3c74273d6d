// Which device a node of ours leads to, and who may wake it: asked when another server publishes, and
// when a user of this one enables the node.

internal import Options
internal import Prometheus
internal import Storage
internal import TLS
internal import XMPP

/// Finds nodes. Safe on any thread; in a transaction of the writer.
struct NodeLookup: Sendable {
    /// Seconds for which a token that a provider does not know is not taken again without a
    /// registration.
    private static let tombstone: Int64 = 86_400

    struct Refusal: Error {
        let error: StanzaError
        let reason: PushRefusal
    }

    private let options: PushOptions
    private let dispatcher: PushDispatcher

    init(_ options: PushOptions, _ dispatcher: PushDispatcher) {
        self.options = options
        self.dispatcher = dispatcher
    }

    /// The device behind a node, for an account at a domain with these publish options.
    func find(
        _ node: String, _ options: [String: String], domain: String, now: Int64,
        _ connection: Connection
    ) throws -> Result<PushTargetRow, Refusal> {
        let unknown = Refusal(
            error: StanzaError(.itemNotFound, "there is no such node"), reason: .unknownNode)
        let name = dispatcher.keys.nodeName(node)
        guard let row = try PushTargetStore.node(connection, name) else {
            // Who has a secret has registered; that node is gone.
            guard options[PushRegistration.secret] == nil else { return .failure(unknown) }
            return try tokenNode(node, options, domain, now: now, connection).map { .success($0) }
                ?? .failure(unknown)
        }
        if let disabledAt = row.disabledAt {
            // A token that is its own node may have come back.
            guard row.domain.isEmpty, now / 1000 - disabledAt > Self.tombstone,
                let anew = try tokenNode(
                    node, options, domain, now: now, connection, instead: row.id)
            else { return .failure(unknown) }
            return .success(anew)
        }
        guard row.domain.isEmpty || row.domain == domain else {
            return .failure(
                Refusal(
                    error: StanzaError(.forbidden, "this node is another domain's", kind: .cancel),
                    reason: .publisher))
        }
        if let secret = dispatcher.keys.target(row.secret)?.parameters[PushRegistration.secret] {
            let given = options[PushRegistration.secret] ?? ""
            guard constantTimeEqual(Array(given.utf8), Array(secret.utf8)) else {
                return .failure(
                    Refusal(
                        error: StanzaError(.forbidden, "the secret is wrong", kind: .cancel),
                        reason: .secret))
            }
        }
        return .success(row)
    }

    /// A node that is a device's token, which nobody registered: the app is the one that the options
    /// name, or the default. Nil if it cannot be one.
    ///
    /// - Parameter old: the row of the same node that it takes the place of.
    private func tokenNode(
        _ node: String, _ options: [String: String], _ domain: String, now: Int64,
        _ connection: Connection, instead old: Int64? = nil
    ) throws -> PushTargetRow? {
        guard let providers = dispatcher.providers.current else { return nil }
        let name = options["pushModule"]
        let service = options["service"].flatMap(ProviderKind.init(rawValue:))
        guard let kind = service ?? providers.kind(ofApp: name),
            let app = providers.app(kind, named: name)
        else { return nil }
        let target = PushTarget(options["device_id"] ?? node)
        guard target.token.utf8.count <= 2048, app.provider.problem(of: target) == nil else {
            return nil
        }
        let keys = dispatcher.keys
        var row = PushTargetRow(
            provider: kind, app: app.name, service: keys.hexName("tokens", domain),
            node: keys.nodeName(node),
            circuit: ProviderTable.circuit(app.provider, target),
            fingerprint: keys.name("token", app.name, node),
            secret: try keys.seal(target), created: now / 1000, refreshed: now / 1000)
        // It may be another app's now.
        if let old { try PushTargetStore.remove(connection, old) }
        let id = try PushTargetStore.insertDevice(
            connection, row, limit: self.options.devices.value, share: self.options.deviceShare)
        guard let id else { return nil }
        row.id = id
        return row
    }
}
