// What is to be told to a device is written into the queue here, in the transaction of whatever it is
// about: so it is as durable as that, and costs no commit of its own.

internal import Addresses
internal import Engine
internal import Options
internal import Storage

/// A reason to wake somebody.
struct WakeReason: Sendable {
    var kind: PushNotification.Kind
    /// The number of the message in the database; nil if it is not stored.
    var message: Int64?
    /// In which chat or room; nil where that is not known.
    var conversation: BareJID?
    /// Who writes, and what; empty where that is not told.
    var sender = ""
    var body = ""
    /// Whether it is something to see, and not only for the app.
    var isVisible = true
}

/// What was written into the queue, and is to be sent once that is committed.
struct NotedPush: Sendable {
    let item: DeliveryItem
    /// Milliseconds since 1970.
    let due: Int64
    /// It took the place of one that waited.
    let isCollapsed: Bool
}

/// Writes into the queue. Safe on any thread; the functions that take a connection are called in a
/// transaction of the writer.
struct Wakeups: Sendable {
    /// Milliseconds for which a call rings.
    static let ringTime: Int64 = 60_000

    let keys: PushKeys
    let options: PushOptions
    /// The domains of our own app server.
    let services: Set<String>

    /// Notes that an account's devices are to be woken.
    ///
    /// - Parameter isAsleep: whether a target is one to wake.
    func note(
        _ reason: WakeReason, for account: BareJID, now: Int64, _ connection: Connection,
        isAsleep: (PushTargetRow) -> Bool
    ) throws -> [NotedPush] {
        var noted: [NotedPush] = []
        var devices: Set<Int64> = []
        for (target, queued) in try PushQueueStore.targets(connection, of: account) {
            // Of a device's tokens the first is tried; it stops ringing where it rings.
            if let device = target.device, reason.kind != .callEnded,
                !devices.insert(device).inserted
            {
                continue
            }
            guard isAsleep(target) else { continue }
            if let message = reason.message, let queued, queued.message >= message { continue }
            if reason.kind == .callEnded {
                // Only where it rings.
                guard let queued, queued.kind == .call,
                    queued.due != nil || now - queued.sent < Self.ringTime
                else { continue }
            }
            if let push = try note(reason, target, queued, now: now, connection) {
                noted.append(push)
            }
        }
        return noted
    }

    /// Notes that one target is to be woken; nil if it leads nowhere.
    ///
    /// - Parameter unread: how much nobody has seen, if that is known better than here.
    func note(
        _ reason: WakeReason, _ target: PushTargetRow, _ queued: PushQueueRow?,
        unread: Int? = nil, now: Int64, _ connection: Connection
    ) throws -> NotedPush? {
        guard let way = try way(of: target, connection) else { return nil }
        let details = try details(reason)
        var row =
            queued ?? PushQueueRow(circuit: way.circuit, provider: way.provider)
        let isCollapsed = row.due != nil
        try PushQueueStore.count(
            connection, way.provider, requested: 1,
            collapsed: isCollapsed && row.provider == way.provider ? 1 : 0)
        if isCollapsed, row.provider != way.provider {
            try PushQueueStore.count(connection, row.provider, collapsed: 1)
        }
        row.provider = way.provider
        row.circuit = way.circuit
        let isUrgent = reason.kind == .call || reason.kind == .callEnded
        // A clock that was wrong may have written a time to come.
        let last = row.sent > now ? 0 : row.sent
        let earliest =
            isUrgent || reason.kind == .test ? now : max(now, last + milliseconds(options.window))
        if !isCollapsed {
            row.added = now
            row.tries = 0
        }
        row.due = isUrgent ? now : row.due ?? earliest
        // A call that is to ring is not lost behind a message, and does not ring for longer with it.
        let staysCall =
            isCollapsed && row.kind == .call && reason.kind == .message && row.expires > now
        if !staysCall {
            row.kind = reason.kind
            row.expires = now + (isUrgent ? Self.ringTime : milliseconds(options.lifetime))
        }
        let conversation = conversation(reason.conversation, of: target)
        let isFirst = !isCollapsed && row.unread == 0
        row.conversation =
            isFirst || row.conversation == conversation ? conversation : PushQueueRow.several
        if let unread {
            row.unread = unread
        } else if target.account == nil {
            // Only its owner's server knows what was read.
            row.unread = 0
        } else if reason.kind == .message {
            row.unread = min(row.unread + 1, 1_000_000)
        }
        row.message = max(row.message, reason.message ?? 0)
        row.version += 1
        row.details = details
        try PushQueueStore.put(connection, target.id, row)
        return NotedPush(
            item: way.item(for: target, row), due: row.due ?? now, isCollapsed: isCollapsed)
    }

    /// A publication of another server's for a node of ours, in a transaction.
    func note(
        _ reason: WakeReason, unread: Int?, node: PushTargetRow, now: Int64,
        _ connection: Connection
    ) throws -> NotedPush? {
        let queued = try PushQueueStore.find(connection, node.id)
        return try note(reason, node, queued, unread: unread, now: now, connection)
    }

    /// The next token of a device is told what this one could not be; nil where there is none, or
    /// nobody is to be told any more.
    ///
    /// - Parameter endsAll: also what took the place of the item meanwhile.
    func passOn(
        _ item: DeliveryItem, endsAll: Bool, now: Int64, _ connection: Connection
    ) throws -> NotedPush? {
        guard let row = try PushQueueStore.find(connection, item.target), let due = row.due,
            endsAll || row.version == item.version,
            let target = try PushTargetStore.target(connection, item.target),
            let next = try PushTargetStore.next(connection, after: target),
            let way = try way(of: next, connection)
        else { return nil }
        try PushQueueStore.passOn(connection, target.id, row.provider)
        var other =
            try PushQueueStore.find(connection, next.id)
            ?? PushQueueRow(circuit: way.circuit, provider: way.provider)
        let isCollapsed = other.due != nil
        try PushQueueStore.count(
            connection, way.provider, requested: 1, collapsed: isCollapsed ? 1 : 0)
        other.provider = way.provider
        other.circuit = way.circuit
        other.due = min(due, now)
        other.added = row.added
        // A call that is to ring is not lost behind a message.
        let staysCall =
            isCollapsed && other.kind == .call && row.kind == .message && other.expires > now
        if !staysCall {
            other.kind = row.kind
            other.expires = row.expires
        }
        other.unread = max(other.unread, row.unread)
        other.message = max(other.message, row.message)
        other.conversation = row.conversation
        other.details = row.details
        other.tries = 0
        other.version += 1
        try PushQueueStore.put(connection, next.id, other)
        return NotedPush(
            item: way.item(for: next, other), due: min(due, now), isCollapsed: isCollapsed)
    }

    // MARK: The way to a device

    /// What a target leads to.
    struct Way {
        let provider: ProviderKind
        let app: String
        let circuit: String
        let secret: [UInt8]
        let device: Int64?

        func item(for target: PushTargetRow, _ row: PushQueueRow) -> DeliveryItem {
            DeliveryItem(
                target: target.id, version: row.version, provider: provider, booked: row.provider,
                app: app,
                circuit: row.circuit, secret: secret, account: target.account,
                service: target.service, node: target.node, device: device, kind: row.kind,
                unread: row.unread, details: row.details, added: row.added,
                expires: row.expires, tries: row.tries, hasNext: target.hasNext)
        }
    }

    /// The way to a target; through our own app server it is that of the device behind the node. Nil
    /// if there is none any more, which is noted.
    func way(of target: PushTargetRow, _ connection: Connection) throws -> Way? {
        guard target.provider == .xmpp, services.contains(target.service) else {
            return Way(
                provider: target.provider, app: target.app, circuit: target.circuit,
                secret: target.secret, device: target.account == nil ? target.id : nil)
        }
        guard let device = try PushTargetStore.node(connection, target.node),
            device.disabledAt == nil
        else {
            try PushTargetStore.disable(
                connection, target.id, .unregistered, "item-not-found",
                now: Clock.secondsSince1970())
            return nil
        }
        return Way(
            provider: device.provider, app: device.app, circuit: device.circuit,
            secret: device.secret, device: device.id)
    }

    /// What stands for a conversation in the queue.
    func conversation(_ address: BareJID?, of target: PushTargetRow) -> Int64 {
        guard let address, let account = target.account else { return PushQueueRow.several }
        let name = keys.name("conversation", account.description, address.description)
        return name.prefix(8).reduce(0) { $0 << 8 | Int64($1) }
    }

    // MARK: What is told

    private func details(_ reason: WakeReason) throws -> [UInt8] {
        guard !reason.sender.isEmpty || !reason.body.isEmpty || !reason.isVisible else { return [] }
        let texts = [reason.sender, reason.body, reason.isVisible ? "" : Self.unseen]
        return try keys.seal(SealedText.bytes(texts), for: "details")
    }

    /// Stands in the details of what is not to be seen.
    private static let unseen = "unseen"

    /// Adds what was sealed of a reason.
    func addDetails(_ details: [UInt8], to notification: inout PushNotification) {
        guard !details.isEmpty, let bytes = keys.open(details, for: "details"),
            let texts = SealedText.texts(bytes), texts.count == 3
        else { return }
        notification.sender = texts[0].isEmpty ? nil : texts[0]
        notification.body = texts[1].isEmpty ? nil : texts[1]
        notification.isVisible = texts[2] != Self.unseen
    }

    private func milliseconds(_ setting: Setting<Duration>) -> Int64 {
        let (seconds, attoseconds) = setting.value.components
        return seconds * 1000 + attoseconds / 1_000_000_000_000_000
    }
}
