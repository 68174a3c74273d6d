// Registrations of devices by apps, and what programs see of them.

internal import Addresses
internal import Engine
internal import Options
internal import Prometheus
internal import Storage

extension PushAPI {
    /// So many devices are in one answer at most.
    private static let mostDevices: Int64 = 1000

    // MARK: For apps

    /// `GET /api/v1/apps`
    func showApps(_ request: APIRequest) async throws -> APIAnswer {
        _ = try await user(request)
        _ = try request.fields([])
        guard let providers = try dispatcher.providers.current else { throw Self.storage }
        var seen: Set<[String]> = []
        let apps = providers.apps.compactMap { app -> JSONValue? in
            let kind = app.provider.kind.rawValue
            guard seen.insert([kind, app.name]).inserted else { return nil }
            return .fields([
                "provider": .string(kind), "app": .string(app.name),
                "default": .boolean(app.isDefault),
            ])
        }
        return APIAnswer(
            200,
            .object([
                "apps": .array(apps), "web_push_key": .string(providers.webPushKey),
            ]))
    }

    /// `GET /api/v1/registrations`
    func showRegistrations(_ request: APIRequest) async throws -> APIAnswer {
        let user = try await user(request)
        _ = try request.fields([])
        let found = try await read { connection in
            try PushDeviceStore.devices(connection, of: user).map {
                ($0, try PushDeviceStore.tokens(connection, of: $0.id))
            }
        }
        return APIAnswer(200, .object(["devices": .array(found.map { Self.describe($0, $1) })]))
    }

    /// `GET /api/v1/registrations/{device}`
    func showRegistration(_ request: APIRequest) async throws -> APIAnswer {
        let user = try await user(request)
        _ = try request.fields([])
        let name = try Self.name(request)
        let found = try await read { connection -> (PushDeviceRow, [PushTargetRow])? in
            try Self.device(user, name, connection)
        }
        guard let found else { throw Self.noDevice }
        return APIAnswer(200, Self.describe(found.0, found.1))
    }

    /// `DELETE /api/v1/registrations/{device}`
    func unregister(_ request: APIRequest) async throws -> APIAnswer {
        let user = try await user(request)
        _ = try request.fields([])
        let name = try Self.name(request)
        let removed = try await write { connection -> [Int64]? in
            guard let device = try PushDeviceStore.find(connection, user, name) else { return nil }
            return try PushDeviceStore.remove(connection, device.id)
        }
        guard let removed else { throw Self.noDevice }
        try dispatcher.didSuppress(removed)
        relay.gauges.didChange()
        return .noContent
    }

    /// `PUT /api/v1/registrations/{device}`
    func register(_ request: APIRequest) async throws -> APIAnswer {
        let user = try await user(request)
        _ = try request.fields([])
        let name = try Self.name(request)
        let wanted = try DeviceRequest(try request.json())
        let tokens = try rows(wanted, user, device: name)
        let now = try dispatcher.now.wall / 1000
        var device = PushDeviceRow(account: user, name: name, created: now, refreshed: now)
        device.alias = wanted.alias
        device.tags = wanted.tags
        device.badge = wanted.badge
        let fresh = device
        let limit = relay.options.targets.value
        let kept = try await write { connection in
            try Self.keep(fresh, tokens, limit: limit, connection)
        }
        switch kept {
        case .failure(let problem):
            relay.metrics.refusals[.targets].add()
            throw problem
        case .success(let kept):
            try dispatcher.didSuppress(kept.removed)
            didRegister(user)
            relay.gauges.didChange()
            for token in kept.tokens { relay.metrics.used.insert(token.provider) }
            var answer = APIAnswer(kept.isNew ? 201 : 200, Self.describe(kept.device, kept.tokens))
            answer.headers.append(("Location", "/api/v1/registrations/\(name)"))
            return answer
        }
    }

    private static let noDevice = APIProblem(.notFound, "this user has no such device")

    private static func name(_ request: APIRequest) throws(APIProblem) -> String {
        guard APIName.isName(request.parameter) else {
            throw APIProblem(.notFound, "the device's name: " + APIName.advice)
        }
        return request.parameter
    }

    private static func device(
        _ user: BareJID, _ name: String, _ connection: Connection
    ) throws -> (PushDeviceRow, [PushTargetRow])? {
        guard var device = try PushDeviceStore.find(connection, user, name) else { return nil }
        device.tags = try PushDeviceStore.tags(connection, of: device.id)
        return (device, try PushDeviceStore.tokens(connection, of: device.id))
    }

    // MARK: Tokens

    /// The tokens of a registration as they are kept, or what is wrong with them.
    private func rows(
        _ wanted: DeviceRequest, _ user: BareJID, device: String
    ) throws -> [PushTargetRow] {
        let dispatcher = try dispatcher
        guard let providers = dispatcher.providers.current else { throw Self.storage }
        var faults: [APIProblem.Fault] = []
        var rows: [PushTargetRow] = []
        var seen: Set<[UInt8]> = []
        let now = dispatcher.now.wall / 1000
        for token in wanted.tokens {
            func wrong(_ name: String, _ detail: String) {
                faults.append(
                    APIProblem.Fault(pointer: "\(token.pointer)/\(name)", detail: detail))
            }
            let environment = token.parameters[PushDispatcher.environment]
            let app = providers.app(
                token.provider, named: token.app, environment: environment)
            let own = token.app == nil ? providers.own(token.provider) : nil
            guard let provider = app?.provider ?? own else {
                let what = token.app.map { "no app \($0)" } ?? "no app"
                wrong("app", "the server has \(what) of \(token.provider.rawValue)")
                continue
            }
            let target = PushTarget(token.token, renamed(token))
            if let problem = provider.problem(of: target) {
                wrong("token", problem)
                continue
            }
            if let problem = privateProblem(token) {
                wrong("token", problem)
                continue
            }
            let name = app?.name ?? ""
            // A server or a topic may be many people's; a maker's token is one device's.
            let isShared = token.provider == .gotify || token.provider == .ntfy
            let fingerprint =
                isShared
                ? dispatcher.keys.name(
                    "shared target", token.provider.rawValue, user.description, device,
                    token.token, token.parameters["secret"] ?? "")
                : dispatcher.keys.name(
                    "device token", token.provider.rawValue, name, token.token)
            guard seen.insert(fingerprint).inserted else {
                wrong("token", "it stands twice in the list")
                continue
            }
            guard let secret = try? dispatcher.keys.seal(target) else { throw Self.storage }
            var row = PushTargetRow(
                provider: token.provider, app: name, account: user, resource: wanted.resource,
                circuit: ProviderTable.circuit(provider, target), fingerprint: fingerprint,
                secret: secret, created: now, refreshed: now)
            row.rank = Int64(rows.count)
            rows.append(row)
        }
        guard faults.isEmpty else {
            relay.metrics.refusals[.malformed].add()
            throw APIProblem(.invalid, "see errors for what is wrong", faults)
        }
        return rows
    }

    /// The names that providers have for what belongs to a token.
    private func renamed(_ token: DeviceRequest.Token) -> [String: String] {
        var parameters = token.parameters
        let secret = parameters.removeValue(forKey: "secret")
        switch token.provider {
        case .ntfy: parameters[Ntfy.tokenName] = secret
        case .gotify: parameters[Gotify.tokenName] = secret
        default: break
        }
        return parameters
    }

    private func privateProblem(_ token: DeviceRequest.Token) -> String? {
        guard !relay.options.allowsPrivateTargets.value,
            let url = EndpointURL(token.token), PushService.isPrivate(host: url.host)
        else { return nil }
        return "it is on the server's machine or in a private network"
    }

    struct KeptDevice: Sendable {
        var device: PushDeviceRow
        var tokens: [PushTargetRow]
        var isNew: Bool
        var removed: [Int64]
    }

    /// Keeps a device with these tokens in this order and no others. A token that another device had
    /// is this one's from now on: a telephone was given away, or the app was installed anew.
    private static func keep(
        _ fresh: PushDeviceRow, _ tokens: [PushTargetRow], limit: Int, _ connection: Connection
    ) throws -> Result<KeptDevice, APIProblem> {
        if let alias = fresh.alias,
            try PushDeviceStore.isTaken(connection, alias: alias, byOtherThan: fresh.account)
        {
            return .failure(APIProblem(.conflict, "the alias is another user's"))
        }
        let known = try PushDeviceStore.find(connection, fresh.account, fresh.name)
        let wanted = Set(tokens.map(\.fingerprint))
        // Those that are gone make room, and those that come from another device count once.
        let others = try PushTargetStore.targets(connection, of: fresh.account).filter {
            ($0.device == nil || $0.device != known?.id) && $0.disabledAt == nil
                && !wanted.contains($0.fingerprint)
        }
        guard others.count + tokens.count <= limit else {
            return .failure(
                APIProblem(
                    .tooMany,
                    "the user has as many devices and targets as limits.push_targets "
                        + "allows, \(limit)"))
        }
        let (id, isNew) = try PushDeviceStore.put(connection, fresh)
        var removed: [Int64] = []
        for token in tokens {
            guard let owner = try PushDeviceStore.owner(of: token.fingerprint, connection),
                owner.device != id
            else { continue }
            try PushTargetStore.remove(connection, owner.target)
            removed.append(owner.target)
            if try PushDeviceStore.tokens(connection, of: owner.device).isEmpty {
                _ = try PushDeviceStore.remove(connection, owner.device)
            }
        }
        for old in try PushDeviceStore.tokens(connection, of: id)
        where !wanted.contains(old.fingerprint) {
            try PushTargetStore.remove(connection, old.id)
            removed.append(old.id)
        }
        for var token in tokens {
            token.device = id
            _ = try PushTargetStore.insert(connection, token, limit: limit)
        }
        try PushDeviceStore.removeEmpty(connection, of: fresh.account)
        guard let (device, rows) = try device(fresh.account, fresh.name, connection) else {
            return .failure(storage)
        }
        return .success(
            KeptDevice(device: device, tokens: rows, isNew: isNew, removed: removed))
    }

    // MARK: For programs

    /// `GET /api/v1/devices`
    func showDevices(_ request: APIRequest) async throws -> APIAnswer {
        _ = try token(request, .devices)
        let fields = try request.fields(["user", "tag", "alias", "after", "limit"])
        let after = try APIRequest.number(
            fields["after"], "after", in: APIRequest.places, default: 0)
        let limit = try APIRequest.number(
            fields["limit"], "limit", in: 1...Self.mostDevices, default: 100)
        guard (1...TaskRequest.longestAddress).contains(fields["user"]?.unicodeScalars.count ?? 1)
        else {
            throw APIProblem(.malformed, "user: expected the address of a user")
        }
        guard fields["tag"].map(APIName.isName) ?? true else {
            throw APIProblem(.malformed, "tag: \(APIName.advice)")
        }
        guard fields["alias"].map(APIName.isKey) ?? true else {
            throw APIProblem(.malformed, "alias: \(APIName.keyAdvice)")
        }
        // Who is no user here has no devices.
        let user = fields["user"].map { (try? JID($0))?.bare }
        if case .some(nil) = user { return Self.list([], isMore: false) }
        let wanted = user ?? nil
        let found = try await read { connection in
            try PushDeviceStore.devices(
                connection, of: wanted, tag: fields["tag"], alias: fields["alias"], after: after,
                limit: Int(limit)
            ).map { ($0, try PushDeviceStore.tokens(connection, of: $0.id)) }
        }
        return Self.list(found, isMore: found.count == Int(limit))
    }

    private static func list(
        _ found: [(PushDeviceRow, [PushTargetRow])], isMore: Bool
    ) -> APIAnswer {
        APIAnswer(
            200,
            .fields([
                "devices": .array(found.map { describe($0, $1) }),
                "next": isMore ? found.last.map { .string(String($0.0.id)) } : nil,
            ]))
    }

    // MARK: In words

    /// Never a token: who sees this need not be able to wake the device.
    private static func describe(_ device: PushDeviceRow, _ tokens: [PushTargetRow]) -> JSONValue {
        let reached = Reached(device, tokens)
        return .fields([
            "user": .string(device.account.description), "device": .string(device.name),
            "alias": device.alias.map { .string($0) },
            "tags": .array(device.tags.map { .string($0) }),
            "badge": .integer(device.badge),
            "resource": tokens.first?.resource.map { .string($0) } ?? nil,
            "registered": .time(seconds: device.created),
            "refreshed": .time(seconds: device.refreshed),
            "woken_by": reached.way.map { .string($0) },
            "woken": reached.time.map { .time(seconds: $0) },
            "tokens": .array(tokens.map(describe)),
        ])
    }

    private static func describe(_ token: PushTargetRow) -> JSONValue {
        .fields([
            "target": .string(String(token.id)), "provider": .string(token.provider.rawValue),
            "app": token.app.isEmpty ? nil : .string(token.app),
            "state": .string(token.disabledAt == nil ? "enabled" : "disabled"),
            "reason": token.reason.map { .string($0.rawValue) },
            "code": token.code.isEmpty ? nil : .string(token.code),
            "sent": token.sentAt.map { .time(seconds: $0) },
        ])
    }
}

/// Who woke a device last.
struct Reached: Equatable {
    var way: String?
    var time: Int64?

    init(_ device: PushDeviceRow, _ tokens: [PushTargetRow]) {
        // Of several in the same second, the one that took the last.
        let last = tokens.filter { $0.sentAt != nil }.max { left, right in
            (left.sentAt ?? 0, left.reason == .accepted ? 1 : 0, left.rank)
                < (right.sentAt ?? 0, right.reason == .accepted ? 1 : 0, right.rank)
        }
        if let reached = device.reached, reached >= last?.sentAt ?? 0 {
            (way, time) = ("connection", reached)
        } else {
            (way, time) = (last?.provider.rawValue, last?.sentAt)
        }
    }
}
