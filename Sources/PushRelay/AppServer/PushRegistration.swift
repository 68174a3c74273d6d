// How apps register at the app server, in the styles that are in use: that of p2 (Conversations), with
// a device id, and `v1-register-push` (Monal), with a node of the client's choice. Both get a node and
// a secret; registering again with another token changes the token and keeps both.

internal import Addresses
internal import Engine
internal import Options
internal import Prometheus
internal import Storage
internal import TLS
internal import XMPP

/// The ad-hoc commands of the app server.
struct PushRegistration: Sendable {
    /// The publish option that proves that one may publish; parameter of a target.
    static let secret = "secret"
    /// What the app calls the account, and a room; parameters of a target.
    static let account = "account"
    static let channel = "channel"
    private static let longestToken = 2048

    private let relay: PushRelayState
    private let domain: String

    init(_ relay: PushRelayState, _ domain: String) {
        self.relay = relay
        self.domain = domain
    }

    func declare(in commands: CommandTable) {
        for (kind, name) in [(ProviderKind.fcm, "fcm"), (.apns, "apns")] {
            commands.add(
                node: "register-push-\(name)", name: "Register for push by \(name.uppercased())",
                for: .everybody, p2(kind))
            commands.add(
                node: "unregister-push-\(name)", name: "End push by \(name.uppercased())",
                for: .everybody, p2(kind, ends: true))
        }
        commands.add(
            node: "v1-register-push", name: "Register for push", for: .everybody, v1())
        commands.add(
            node: "v1-unregister-push", name: "End push", for: .everybody, v1(ends: true))
    }

    // MARK: As p2 does it

    private func p2(_ kind: ProviderKind, ends: Bool = false) -> CommandHandler {
        { step, host, done in
            guard let form = step.form else {
                let names = ends ? ["device-id", "muc"] : ["token", "device-id", "muc"]
                return done(.form(Self.form(names, ends: ends)))
            }
            let device = form.value("device-id") ?? form.value("android-id") ?? ""
            guard !device.isEmpty, device.utf8.count <= 1024 else {
                return done(.failed(StanzaError(.badRequest, "a device-id is needed")))
            }
            var room: BareJID?
            if let text = form.value("muc"), !text.isEmpty {
                guard let jid = try? JID(text) else {
                    return done(.failed(StanzaError(.badRequest, "the muc is no address")))
                }
                room = jid.bare
            }
            let owner = step.account.description
            guard let keys = relay.keys else {
                return done(.failed(StanzaError(.internalServerError)))
            }
            let fingerprint = keys.name("p2", kind.rawValue, owner, device, room?.description ?? "")
            if ends { return remove(fingerprint, host, done) }
            // Conversations knows the account by this digest, and nobody else does.
            var parameters = [Self.account: Self.digest(owner, device)]
            if let room { parameters[Self.channel] = Self.digest(room.description, device) }
            // What happens in a room is published by the room's server.
            register(
                kind, form, parameters, publisher: room?.domain ?? step.account.domain,
                fingerprint, step, host, done)
        }
    }

    private static func digest(_ address: String, _ device: String) -> String {
        HexDigits.text(
            DigestAlgorithm.sha1.hash(Array(address.utf8) + [0] + Array(device.utf8)))
    }

    // MARK: As Monal did it

    private func v1(ends: Bool = false) -> CommandHandler {
        { step, host, done in
            guard let form = step.form else {
                let names = ends ? ["type", "node"] : ["type", "node", "token"]
                return done(.form(Self.form(names, ends: ends)))
            }
            guard let kind = form.value("type").flatMap(ProviderKind.init(rawValue:)),
                kind != .xmpp
            else { return done(.failed(StanzaError(.badRequest, "the type is not known"))) }
            let node = form.value("node") ?? ""
            guard !node.isEmpty, node.utf8.count <= 1023 else {
                return done(.failed(StanzaError(.badRequest, "a node is needed")))
            }
            guard let keys = relay.keys else {
                return done(.failed(StanzaError(.internalServerError)))
            }
            let fingerprint = keys.name("v1", kind.rawValue, step.account.description, node)
            if ends { return remove(fingerprint, host, done) }
            var parameters: [String: String] = [:]
            for name in ["p256dh", "auth", "environment", "voip_token"] {
                if let value = form.value(name), !value.isEmpty, value.utf8.count <= 256 {
                    parameters[name] = value
                }
            }
            register(
                kind, form, parameters, publisher: step.account.domain, fingerprint, step, host,
                done)
        }
    }

    private static func form(_ names: [String], ends: Bool) -> DataForm {
        var form = DataForm(
            .form,
            names.map { name in
                DataForm.Field(name, type: "text-single", isRequired: name != "muc", [])
            })
        form.title = ends ? "End push" : "Register for push"
        return form
    }

    // MARK: Both

    /// - Parameter publisher: the domain whose server may publish to the node.
    private func register(
        _ kind: ProviderKind, _ form: DataForm, _ parameters: [String: String], publisher: String,
        _ fingerprint: [UInt8], _ step: CommandStep, _ host: Host,
        _ done: @escaping @Sendable (CommandAnswer) -> Void
    ) {
        guard let keys = relay.keys, let dispatcher = relay.dispatcher,
            let providers = dispatcher.providers.current
        else { return done(.failed(StanzaError(.internalServerError, "not ready yet"))) }
        let name = form.value("app").flatMap { $0.isEmpty ? nil : $0 }
        guard let app = providers.app(kind, named: name, environment: parameters["environment"])
        else {
            let text = "this server has no credentials for such an app (push.apps)"
            return done(.failed(StanzaError(.itemNotFound, text)))
        }
        let token = form.value("token") ?? ""
        var target = PushTarget(token, parameters)
        guard !token.isEmpty, token.utf8.count <= Self.longestToken,
            app.provider.problem(of: target) == nil
        else {
            relay.metrics.refusals[.malformed].add()
            return done(.failed(StanzaError(.badRequest, "this is no token of such a device")))
        }
        let owner = keys.hexName("owner", step.account.description)
        let now = dispatcher.now.wall / 1000
        let node = SecureRandom.identifier(bytes: 18)
        target.parameters[Self.secret] = SecureRandom.identifier(bytes: 18)
        target.parameters[Publication.nodeParameter] = node
        let fresh = target
        let row = PushTargetRow(
            provider: kind, app: app.name, service: owner,
            node: keys.nodeName(node), domain: publisher,
            circuit: ProviderTable.circuit(app.provider, target), fingerprint: fingerprint,
            secret: [], created: now, refreshed: now)
        let devices = relay.options.devices.value
        let isOurs = host.domains.contains(step.account.domain)
        let limits = (
            owner: relay.options.targets.value, all: devices,
            share: isOurs ? devices : relay.options.deviceShare
        )
        let domain = domain
        host.database.writer.submit(
            { try Self.keep(row, fresh, keys, limits, $0) },
            then: { result in
                switch result {
                case .success(let kept?):
                    let fields = [
                        DataForm.Field("jid", type: "jid-single", [domain]),
                        DataForm.Field("node", type: "text-single", [kept.node]),
                        DataForm.Field(Self.secret, type: "text-single", [kept.secret]),
                    ]
                    done(.completed(nil, DataForm(.result, fields)))
                case .success(nil):
                    relay.metrics.refusals[.targets].add()
                    done(.failed(StanzaError(.resourceConstraint, "too many devices; end some")))
                case .failure(let error): done(.failed(.notStored(error)))
                }
            })
    }

    /// Keeps a device, with the node and the secret that it has if it was known before.
    private static func keep(
        _ row: PushTargetRow, _ fresh: PushTarget, _ keys: PushKeys,
        _ limits: (owner: Int, all: Int, share: Int), _ connection: Connection
    ) throws -> (node: String, secret: String)? {
        var row = row
        var target = fresh
        if let old = try PushTargetStore.device(connection, row.fingerprint) {
            row.node = old.node
            let known = keys.target(old.secret)?.parameters
            for name in [Self.secret, Publication.nodeParameter] {
                target.parameters[name] = known?[name] ?? target.parameters[name]
            }
        } else if try PushTargetStore.count(connection, ownedBy: row.service) >= limits.owner {
            return nil
        }
        row.secret = try keys.seal(target)
        let id = try PushTargetStore.insertDevice(
            connection, row, limit: limits.all, share: limits.share)
        guard id != nil else { return nil }
        return (
            target.parameters[Publication.nodeParameter] ?? "",
            target.parameters[Self.secret] ?? ""
        )
    }

    private func remove(
        _ fingerprint: [UInt8], _ host: Host, _ done: @escaping @Sendable (CommandAnswer) -> Void
    ) {
        host.database.writer.submit(
            { connection -> Int64? in
                guard let row = try PushTargetStore.device(connection, fingerprint) else {
                    return nil
                }
                try PushTargetStore.remove(connection, row.id)
                return row.id
            },
            then: { result in
                switch result {
                case .success(let id?):
                    relay.dispatcher?.didSuppress([id])
                    done(.completed())
                case .success(nil): done(.failed(StanzaError(.itemNotFound)))
                case .failure(let error): done(.failed(.notStored(error)))
                }
            })
    }
}
