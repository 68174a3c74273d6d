// Targets that users and administrators add by hand: ntfy, Gotify, an endpoint of UnifiedPush. What
// is said of one that is refused never holds its URL or what belongs to it.

public import Addresses
internal import DNS
internal import Engine
internal import Glibc
internal import Options
internal import Prometheus
internal import Storage

extension PushService {
    // MARK: Adding

    /// Adds a target, or gives one of the same URL new values and enables it. Waits for the
    /// database: never on an event loop.
    public func add(
        _ new: NewPushTarget, for account: BareJID
    ) throws -> (target: PushTargetDescription, isNew: Bool) {
        let (row, limit) = try row(of: new, for: account)
        let dispatcher = try dispatcher()
        let kept = try dispatcher.host.database.writeNow {
            connection -> (PushTargetRow, Bool)? in
            guard let (id, isNew) = try PushTargetStore.insert(connection, row, limit: limit),
                let target = try PushTargetStore.target(connection, id)
            else { return nil }
            return (target, isNew)
        }
        guard let (target, isNew) = kept else {
            throw refused(.targets, Self.tooMany(account, limit))
        }
        didAdd(account)
        return (target.description(dispatcher.keys, nil, nil), isNew)
    }

    /// The same without waiting; `then` is called once, on any thread.
    func add(
        _ new: NewPushTarget, for account: BareJID,
        then: @escaping @Sendable (Result<Int64, PushRefused>) -> Void
    ) {
        let row: PushTargetRow
        let limit: Int
        let host: Host
        do throws(PushRefused) {
            (row, limit) = try self.row(of: new, for: account)
            host = try dispatcher().host
        } catch {
            return then(.failure(error))
        }
        host.database.writer.submit(
            { try PushTargetStore.insert($0, row, limit: limit)?.id },
            then: { result in
                switch result {
                case .success(let id?):
                    self.didAdd(account)
                    then(.success(id))
                case .success(nil):
                    then(.failure(self.refused(.targets, Self.tooMany(account, limit))))
                case .failure:
                    then(
                        .failure(PushRefused("it cannot be stored at the moment; try again later")))
                }
            })
    }

    private func didAdd(_ account: BareJID) {
        notifications.watched.insert(account)
        state.gauges.didChange()
    }

    private static func tooMany(_ account: BareJID, _ limit: Int) -> String {
        "\(account) has \(limit) targets, as many as limits.push_targets allows; remove some first"
    }

    private func refused(_ reason: PushRefusal, _ text: String) -> PushRefused {
        state.metrics.refusals[reason].add()
        return PushRefused(text)
    }

    /// The row of a target that may be added.
    private func row(
        of new: NewPushTarget, for account: BareJID
    ) throws(PushRefused) -> (row: PushTargetRow, limit: Int) {
        let dispatcher = try dispatcher()
        guard NewPushTarget.kinds.contains(new.provider),
            let provider = dispatcher.providers.provider(new.provider, app: "", environment: nil)
        else { throw refused(.malformed, "\(new.provider.rawValue) takes no targets by hand") }
        let target = try Self.target(new)
        try checkHost(of: target)
        if let problem = provider.problem(of: target) { throw refused(.malformed, problem) }
        guard let secret = try? dispatcher.keys.seal(target) else {
            throw PushRefused("the target cannot be encrypted")
        }
        let resource = new.resource.flatMap { $0.isEmpty ? nil : $0 }
        if let resource, (try? JID("\(account)/\(resource)")) == nil {
            throw refused(.malformed, "the device is no resource of an address")
        }
        let now = Clock.secondsSince1970()
        var row = PushTargetRow(
            provider: new.provider, account: account, resource: resource,
            circuit: ProviderTable.circuit(provider, target),
            fingerprint: dispatcher.keys.name("own", new.provider.rawValue, new.url),
            secret: secret, created: now, refreshed: now)
        row.isAlways = new.isAlways
        return (row, options.targets.value)
    }

    private static func target(_ new: NewPushTarget) throws(PushRefused) -> PushTarget {
        var target = PushTarget(new.url)
        let secret = new.secret.flatMap { $0.isEmpty ? nil : $0 }
        switch new.provider {
        case .ntfy: target.parameters[Ntfy.tokenName] = secret
        case .gotify: target.parameters[Gotify.tokenName] = secret
        case .unifiedPush:
            target.parameters[WebPushKeys.publicKeyName] = new.publicKey
            target.parameters[WebPushKeys.secretName] = secret
        case .xmpp, .apns, .fcm, .webPush, .huawei, .honor, .xiaomi, .oppo, .vivo, .meizu: break
        }
        guard new.provider == .unifiedPush || new.publicKey == nil else {
            throw PushRefused("only an endpoint of UnifiedPush has a key")
        }
        return target
    }

    // MARK: Hosts

    private static let waysOut =
        "set push.allow_private_targets to allow it, for all users of this server"

    /// Where a name leads is seen when something is sent; what is written as an address, here.
    private func checkHost(of target: PushTarget) throws(PushRefused) {
        guard !options.allowsPrivateTargets.value, let url = EndpointURL(target.token) else {
            return
        }
        guard url.isSecure else {
            throw refused(
                .privateTarget, "without TLS (http:) nothing is sent; \(Self.waysOut)")
        }
        guard !Self.isPrivate(host: url.host) else {
            throw refused(
                .privateTarget,
                "the target is on this machine or in a private network; \(Self.waysOut)")
        }
    }

    /// Whether a host is an address that is not on the internet, in any notation that resolvers
    /// take, or a name of this machine.
    static func isPrivate(host: String) -> Bool {
        let name = host.hasSuffix(".") ? String(host.dropLast()) : host
        if name == "localhost" || name.hasSuffix(".localhost") { return true }
        if let address = ResolvedAddress(name) { return address.reach != .global }
        var number = in_addr()
        // 127.1, 0x7f000001 and the like.
        guard inet_aton(name, &number) == 1 else { return false }
        let bytes = withUnsafeBytes(of: &number.s_addr) { Array($0) }
        return ResolvedAddress(bytes: bytes)?.reach != .global
    }

    // MARK: Removing

    /// Removes a target of an account's, or, of a domain's, a device that registered with our app
    /// server. What waits for it is dropped. Waits for the database: never on an event loop.
    public func remove(_ id: Int64, of owner: BareJID) throws -> PushTargetDescription {
        let dispatcher = try dispatcher()
        let removed = try dispatcher.host.database.writeNow { connection -> PushTargetRow? in
            guard let target = try PushTargetStore.target(connection, id),
                Self.belongs(target, to: owner)
            else { return nil }
            try PushTargetStore.remove(connection, id)
            return target
        }
        guard let removed else {
            throw PushRefused("\(owner) has no target \(id); see kinglet push list \(owner)")
        }
        didRemove(id, dispatcher)
        return removed.description(dispatcher.keys, nil, nil)
    }

    private func didRemove(_ id: Int64, _ dispatcher: PushDispatcher) {
        dispatcher.didSuppress([id])
        state.gauges.didChange()
    }

    private static func belongs(_ target: PushTargetRow, to owner: BareJID) -> Bool {
        guard !owner.isDomain else {
            // Of a device that an app server's node names alone, nobody knows where its owner is.
            return target.account == nil && ["", owner.domain].contains(target.domain)
        }
        return target.account == owner
    }

    /// Removes a target of an account's without waiting; false if it has no such target. `then` is
    /// called once, on any thread.
    func remove(
        _ id: Int64, of account: BareJID,
        then: @escaping @Sendable (Result<Bool, PushRefused>) -> Void
    ) {
        guard let dispatcher = state.dispatcher else { return then(.success(false)) }
        dispatcher.host.database.writer.submit(
            { connection -> Bool in
                guard let target = try PushTargetStore.target(connection, id),
                    target.account == account
                else { return false }
                try PushTargetStore.remove(connection, id)
                return true
            },
            then: { result in
                if case .success(true) = result { self.didRemove(id, dispatcher) }
                then(
                    result.mapError { _ in
                        PushRefused("it cannot be removed at the moment; try again later")
                    })
            })
    }

    /// The targets of an account without waiting; `then` is called once, on any thread.
    func targets(
        of account: BareJID,
        then: @escaping @Sendable ([PushTargetDescription]) -> Void
    ) {
        guard let dispatcher = state.dispatcher else { return then([]) }
        dispatcher.host.database.read(
            { connection in
                try PushTargetStore.targets(connection, of: account).map {
                    let queued = try PushQueueStore.find(connection, $0.id)
                    return $0.description(dispatcher.keys, queued, nil)
                }
            },
            then: { then((try? $0.get()) ?? []) })
    }
}
