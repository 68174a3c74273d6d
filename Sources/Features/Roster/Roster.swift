// RFC 6121 sections 2 and 3: the roster and presence subscriptions. Every change is one transaction
// on the rosters of both sides, or on that of the local side and what waits for another domain; what
// follows from it (pushes, stanzas, presence) is done after the commit, in the order of the commits.

internal import Addresses
internal import Engine
internal import Logging
internal import Options
internal import Prometheus
internal import Storage
internal import XML
internal import XMPP

struct Roster: Feature {
    static let specifications: [Specification] = []

    private static let versioning = "urn:xmpp:features:rosterver"
    private static let preApproval = "urn:xmpp:features:pre-approval"

    /// A subscription stanza longer than this passes without what the client put inside.
    private static let longestRequest = 4096

    /// So many requests of one other domain may wait for an account, whatever the limit of all.
    private static let fewestRequests = 5

    private let cache = RosterCache()
    private let limit: Setting<Int>
    private let requestLimit: Setting<Int>

    init(in host: HostBuilder) {
        limit = host.options.integer(
            "limits.roster_items", default: 2000, in: 10...100_000, reloadable: true,
            help: "Contacts in one account's roster.")
        requestLimit = host.options.integer(
            "limits.subscription_requests", default: 100, in: 1...10_000, reloadable: true,
            help: "Requests for the presence of one account that it has not answered; a tenth of "
                + "them may come from one other domain.")
        for step in RosterStore.schema { host.schema(step) }
        for (name, namespace) in [("ver", Self.versioning), ("sub", Self.preApproval)] {
            host.hooks.streamFeatures.append { context, _ in
                context.account == nil ? nil : Element(name, namespace)
            }
        }
        let cache = cache
        let limit = limit
        let requestLimit = requestLimit
        host.hooks.prepareSession.append { cache.retain($0, $1, $2) }
        host.hooks.sessionEnded.append { account, _, _ in cache.release(account) }
        host.hooks.subscribers = { account in
            cache.items(of: account).values.filter(\.state.from).map(\.contact)
        }
        host.hooks.subscriptions = { account in
            cache.items(of: account).values.filter(\.state.to).map(\.contact)
        }
        host.hooks.hasContact = { account, contact, connection in
            try RosterStore.item(connection, of: account, contact)?.isListed ?? false
        }
        host.hooks.maySeePresence = { contact, account in
            // The rosters of both say so, but only those of who is online are known here.
            contact == account || cache.items(of: account)[contact]?.state.from == true
                || cache.items(of: contact)[account]?.state.to == true
        }
        host.hooks.openRequests = { account in
            cache.items(of: account).values.filter(\.state.pendingOut).map(\.contact)
        }
        host.hooks.isSubscriber = { contact, account, connection in
            try RosterStore.item(connection, of: account, contact)?.state.from ?? false
        }
        host.hooks.hasAsked = { contact, account, connection in
            try RosterStore.item(connection, of: account, contact)?.state.pendingIn ?? false
        }
        host.hooks.subscriptionRequests = { account, host in
            cache.items(of: account).values.filter { item in
                item.state.pendingIn && !Self.isBlocked(item.contact, by: account, host)
            }.map { OutboundStanza(.presence, $0.request) }
        }
        host.hooks.accountSizes.append { account, connection in
            [AccountSize("roster_items", try RosterStore.count(connection, of: account))]
        }
        host.hooks.farewells = Self.farewells
        host.hooks.removeAccount.append { account, connection in
            try RosterStore.endSubscriptions(connection, of: account)
            try RosterStore.deleteAll(connection, of: account)
        }
        host.hooks.mergeAccount.append { merge, _, connection in
            [
                AccountSize(
                    "roster_items",
                    try RosterStore.merge(merge.account, from: merge.backup, connection))
            ]
        }
        host.hooks.accountRemoved.append { account, host in
            cache.clear(account)
            for (owner, item) in cache.endSubscriptions(with: account) where item.isListed {
                Self.push(
                    item.element, to: owner, version: cache.version(of: owner), host)
            }
        }
        host.hooks.subscription = { stanza, session, host in
            Self.send(
                stanza, session, host, cache: cache, limit: limit.value,
                requestLimit: requestLimit.value)
        }
        host.hooks.subscriptionFromAway = { stanza, to, origin, host in
            Self.receive(stanza, to.bare, origin, host, cache: cache, limit: requestLimit.value)
        }
        host.answer("query", RosterItem.namespace, for: [.ownAccount, .account]) {
            request, target, session, host throws(StanzaError) in
            guard target == .ownAccount else {
                throw StanzaError(.forbidden, "a roster is its owner's")
            }
            guard request.isSet else {
                session.flags.set(.interestedInRoster)
                return .result(Self.list(session, request.payload["ver"], cache))
            }
            let change = try RosterChange(request.payload)
            Self.change(change, request, session, host, cache: cache, limit: limit.value)
            return .later
        }
    }

    // MARK: The roster (RFC 6121 section 2)

    /// The roster; nil when it is the one that the client has (section 2.6.3). Pushes begin with
    /// the request, so a change in between comes as a push.
    private static func list(
        _ session: Session, _ known: String?, _ cache: RosterCache
    ) -> Element? {
        // First the version: a change right after it only makes the client ask once more.
        let version = known == nil ? nil : cache.version(of: session.jid.bare).description
        if let version, version == known { return nil }
        let items = cache.items(of: session.jid.bare).values
            .filter(\.isListed).sorted { $0.contact < $1.contact }
        return Element(
            "query", RosterItem.namespace, version.map { [("ver", $0)] } ?? [],
            items.map(\.element))
    }

    /// What a transaction did; carried out once it is committed.
    struct Outcome: Sendable {
        var error: StanzaError?
        /// Too much is there already.
        var isRefused = false
        /// New items by account, in order.
        var changes: [(account: BareJID, item: RosterItem, wasListed: Bool)] = []
        /// Subscription stanzas to hand to an account's clients.
        var deliveries: [(to: BareJID, verb: SubscriptionVerb, bytes: [UInt8])] = []
        /// What goes to other domains.
        var away: [AwayStanza] = []
        /// The first may see the second from now on.
        var granted: [(contact: BareJID, account: BareJID)] = []
        /// The first may no longer see the second.
        var revoked: [(contact: BareJID, account: BareJID)] = []
    }

    private static func change(
        _ change: RosterChange, _ request: IQRequest, _ session: Session, _ host: Host,
        cache: RosterCache, limit: Int
    ) {
        let account = session.jid.bare
        host.database.writer.submit(
            { connection in
                switch change {
                case .set(let contact, let name, let groups):
                    return try set(connection, account, contact, name, groups, limit: limit)
                case .remove(let contact):
                    return try remove(connection, account, contact, host: host)
                }
            },
            then: { result in
                switch result {
                case .success(let outcome):
                    if let error = outcome.error {
                        if error.condition == .resourceConstraint {
                            host.metrics.refusals[.rosterItems].add()
                        }
                        session.answer(request, .failure(error))
                        return
                    }
                    // Who has the result and asks for the roster gets the new one.
                    let versions = apply(outcome, cache)
                    // The push may come before or after the result (section 2.1.6).
                    session.answer(request, .success(nil))
                    carryOut(outcome, versions, host)
                case .failure(let error):
                    host.log.error("roster: \(error)")
                    host.metrics.refusals[.storage].add()
                    session.answer(request, .failure(.notStored(error)))
                }
            })
    }

    private static func set(
        _ connection: Connection, _ account: BareJID, _ contact: BareJID, _ name: String,
        _ groups: [String], limit: Int
    ) throws -> Outcome {
        guard contact != account else {
            return Outcome(error: StanzaError(.notAllowed, "you cannot be your own contact"))
        }
        var outcome = Outcome()
        guard
            var item = try existingOrNew(connection, account, contact, limit: limit)
        else {
            outcome.error = StanzaError(.resourceConstraint, "the roster is full")
            return outcome
        }
        let wasListed = item.isListed
        item.name = name
        item.groups = groups
        item.isListed = true
        try RosterStore.save(connection, of: account, item)
        outcome.changes.append((account, item, wasListed))
        return outcome
    }

    /// Nil when a new item would be one too many.
    private static func existingOrNew(
        _ connection: Connection, _ account: BareJID, _ contact: BareJID, limit: Int
    ) throws -> RosterItem? {
        let found = try RosterStore.item(connection, of: account, contact)
        if let found, !found.isRequest { return found }
        guard try hasRoom(connection, account, limit) else { return nil }
        return found ?? RosterItem(contact)
    }

    /// Whether an account may have one contact more; requests to it, which are for anybody to send,
    /// leave it its room.
    private static func hasRoom(
        _ connection: Connection, _ account: BareJID, _ limit: Int
    ) throws -> Bool {
        try RosterStore.count(connection, of: account)
            - RosterStore.requestCount(connection, of: account) < limit
    }

    /// Removing a contact ends both subscriptions (RFC 6121 section 2.5.2).
    private static func remove(
        _ connection: Connection, _ account: BareJID, _ contact: BareJID, host: Host
    ) throws -> Outcome {
        var outcome = Outcome()
        guard var item = try RosterStore.item(connection, of: account, contact), item.isListed
        else {
            outcome.error = StanzaError(.itemNotFound, "there is no such contact")
            return outcome
        }
        if item.state.to || item.state.pendingOut {
            try forward(.unsubscribe, nil, account, contact, connection, host, &outcome)
        }
        if item.state.from || item.state.pendingIn {
            if item.state.from { outcome.revoked.append((contact, account)) }
            try forward(.unsubscribed, nil, account, contact, connection, host, &outcome)
        }
        item = RosterItem(contact)
        try RosterStore.delete(connection, of: account, contact)
        outcome.changes.append((account, item, true))
        return outcome
    }

    // MARK: Subscriptions (RFC 6121 section 3)

    private static func send(
        _ stanza: Stanza, _ session: Session, _ host: Host, cache: RosterCache, limit: Int,
        requestLimit: Int
    ) {
        let account = session.jid.bare
        guard let contact = stanza.to?.bare,
            let verb = stanza.type.flatMap(SubscriptionVerb.init(rawValue:)), contact != account
        else { return }
        host.commit(
            for: stanza,
            { connection in
                try send(
                    verb, stanza, account, contact, connection, host, limit: limit,
                    requestLimit: requestLimit)
            },
            then: { finish(stanza, $0, host, cache) })
    }

    /// A subscription stanza from another domain.
    private static func receive(
        _ stanza: Stanza, _ account: BareJID, _ origin: any StanzaOrigin, _ host: Host,
        cache: RosterCache, limit: Int
    ) {
        guard let verb = stanza.type.flatMap(SubscriptionVerb.init(rawValue:)) else { return }
        let contact = stanza.from.bare
        host.commit(
            for: stanza, from: origin,
            { connection in
                var outcome = Outcome()
                try forward(
                    verb, stanza, contact, account, connection, host, &outcome, limit: limit)
                return outcome
            },
            then: { finish(stanza, $0, host, cache) })
    }

    private static func finish(
        _ stanza: Stanza, _ result: Result<Outcome, StorageError>, _ host: Host,
        _ cache: RosterCache
    ) {
        switch result {
        case .success(let outcome):
            if outcome.isRefused || outcome.error != nil {
                host.metrics.refusals[.rosterItems].add()
            }
            if let error = outcome.error { host.bounce(stanza, error) }
            carryOut(outcome, apply(outcome, cache), host)
        case .failure(let error):
            host.log.error("subscription: \(error)")
            host.metrics.refusals[.storage].add()
            host.bounce(stanza, .notStored(error))
        }
    }

    private static func send(
        _ verb: SubscriptionVerb, _ stanza: Stanza, _ account: BareJID, _ contact: BareJID,
        _ connection: Connection, _ host: Host, limit: Int, requestLimit: Int
    ) throws -> Outcome {
        var outcome = Outcome()
        let found = try RosterStore.item(connection, of: account, contact)
        var item = found ?? RosterItem(contact)
        let before = item
        let forwards = item.state.send(verb)
        if verb == .subscribe || verb == .subscribed { item.isListed = true }
        guard
            try found?.isRequest == false || item.isEmpty || item.isRequest
                || hasRoom(connection, account, limit)
        else {
            outcome.error = StanzaError(.resourceConstraint, "the roster is full")
            return outcome
        }
        if !item.state.pendingIn { item.request = [] }
        if item != before {
            try RosterStore.save(connection, of: account, item)
            outcome.changes.append((account, item, before.isListed))
        }
        guard forwards else { return outcome }
        if verb == .unsubscribed, before.state.from { outcome.revoked.append((contact, account)) }
        if verb == .subscribed { outcome.granted.append((contact, account)) }
        try forward(
            verb, stanza, account, contact, connection, host, &outcome, limit: requestLimit,
            changes: verb == .subscribe || item != before)
        return outcome
    }

    private static func isBlocked(
        _ contact: BareJID, by account: BareJID, _ host: Host
    ) -> Bool {
        host.hooks.isBlocked?(account, JID(bare: contact)) ?? false
    }

    /// The contact's side when it is local, else the way there. One that does not exist hears
    /// nothing and says nothing (section 8.5.1), nor does one who has blocked the sender (XEP-0191
    /// section 3.3); but what a blocked sender takes back or grants holds.
    ///
    /// - Parameters:
    ///   - limit: how many requests may wait for the contact.
    ///   - changes: whether it tells another domain of a change, and is kept for that.
    private static func forward(
        _ verb: SubscriptionVerb, _ stanza: Stanza?, _ sender: BareJID, _ receiver: BareJID,
        _ connection: Connection, _ host: Host, _ outcome: inout Outcome, limit: Int = 0,
        changes: Bool = true
    ) throws {
        guard host.isLocal(receiver.domain) else {
            let bytes = subscriptionBytes(verb, stanza, from: sender, to: receiver)
            let (from, to) = (JID(bare: sender), JID(bare: receiver))
            outcome.away.append(
                changes
                    ? try host.keepAway(bytes, .presence, from: from, to: to, connection)
                    : host.unkeptAway(bytes, .presence, from: from, to: to))
            return
        }
        guard try Accounts.exists(receiver, in: connection) else { return }
        let isBlocked = isBlocked(sender, by: receiver, host)
        if isBlocked, verb == .subscribe { return }
        let found = try RosterStore.item(connection, of: receiver, sender)
        if found == nil, verb == .subscribe,
            try !mayAsk(receiver, sender.domain, connection, host, limit: limit)
        {
            outcome.isRefused = true
            // Another domain hears nothing, as if there were no such account.
            if host.isLocal(sender.domain) {
                outcome.error = StanzaError(
                    .resourceConstraint, "too many requests wait for the contact")
            }
            return
        }
        var item = found ?? RosterItem(sender)
        let before = item
        let reception = item.state.receive(verb)
        let bytes = subscriptionBytes(verb, stanza, from: sender, to: receiver)
        switch reception {
        case .ignore: return
        case .agree, .begin:
            if reception == .begin {
                try RosterStore.save(connection, of: receiver, item)
                outcome.changes.append((receiver, item, before.isListed))
            }
            try forward(
                .subscribed, nil, receiver, sender, connection, host, &outcome, limit: limit,
                changes: reception == .begin)
            outcome.granted.append((sender, receiver))
            return
        case .deliver: break
        }
        item.request = item.state.pendingIn ? (verb == .subscribe ? bytes : item.request) : []
        try RosterStore.save(connection, of: receiver, item)
        outcome.changes.append((receiver, item, before.isListed))
        if !isBlocked { outcome.deliveries.append((receiver, verb, bytes)) }
        if verb == .unsubscribe, before.state.from { outcome.revoked.append((sender, receiver)) }
    }

    /// Whether one more request may wait for an account. One domain elsewhere may have a tenth of
    /// the limit, or anybody could close the account to everybody; components are this server's own.
    private static func mayAsk(
        _ account: BareJID, _ domain: String, _ connection: Connection, _ host: Host, limit: Int
    ) throws -> Bool {
        guard try RosterStore.requestCount(connection, of: account) < limit else { return false }
        guard !host.isLocal(domain), !host.components.domains.contains(domain) else { return true }
        return try RosterStore.requestCount(connection, of: account, from: domain)
            < max(limit / 10, fewestRequests)
    }

    /// From bare JID to bare JID (section 3.1.2), with what the client put inside.
    private static func subscriptionBytes(
        _ verb: SubscriptionVerb, _ stanza: Stanza?, from sender: BareJID, to receiver: BareJID
    ) -> [UInt8] {
        // What a request says beside itself is kept and shown again and again, so it is short.
        if let stanza, stanza.fragment.bytes.count <= longestRequest {
            return Stanza(
                stanza.fragment, .presence, from: JID(bare: sender), to: JID(bare: receiver),
                streamLanguage: stanza.streamLanguage
            ).routedBytes()
        }
        let presence = Element(
            "presence", Namespaces.client,
            [
                ("from", sender.description), ("to", receiver.description),
                ("type", verb.rawValue),
            ])
        return XMLWriter.bytes(presence, contentNamespace: Namespaces.client)
    }

    /// What the contacts of an account that goes are told on other domains; those here lose it
    /// from their rosters.
    private static let farewells: @Sendable (BareJID, Host, Connection) throws -> [AwayStanza] = {
        account, host, connection in
        var outcome = Outcome()
        let items = try RosterStore.items(connection, of: account).values
        for item in items.sorted(by: { $0.contact < $1.contact })
        where !host.isLocal(item.contact.domain) {
            let state = item.state
            if state.to || state.pendingOut {
                try forward(
                    .unsubscribe, nil, account, item.contact, connection, host, &outcome)
            }
            if state.from || state.pendingIn {
                try forward(
                    .unsubscribed, nil, account, item.contact, connection, host, &outcome)
            }
        }
        return outcome.away
    }
}
