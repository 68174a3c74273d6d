// What is written down of a push that has ended, in one transaction with others.

internal import Addresses
internal import Storage

/// What writing an outcome down has brought.
struct Written: Sendable {
    /// When the next of the same is due, milliseconds since 1970; nil if there is none.
    var next: Int64?
    /// What other targets are told now.
    var noted: [NotedPush] = []
    var parcels: [ParcelRow] = []
    /// What is tried again by itself.
    var postponed: [ParcelRow] = []
    /// What came of the members of a parcel.
    var failed: [PushReason: Int] = [:]
    var invalidated: [ProviderKind: Int] = [:]
    var passedOn: [ProviderKind: Int] = [:]
}

/// The outcome of an item, to be written in a transaction.
protocol DeliveryRecord: Sendable {
    var item: DeliveryItem { get }
    func write(_ connection: Connection) throws -> Written
}

struct PushRecord: DeliveryRecord {
    /// So many final answers in a row end a registration with another app server: one may be a mistake
    /// of theirs (XEP-0357 section 7).
    static let finalErrors = 5

    let item: DeliveryItem
    let answer: PushAnswer
    let end: DeliveryEnd
    let now: PushMoment
    let window: Duration
    let lifetime: Duration
    let deadLetters: Int
    let wakeups: Wakeups

    private var keys: PushKeys { wakeups.keys }
    private var seconds: Int64 { now.wall / 1000 }

    /// Writes it.
    func write(_ connection: Connection) throws -> Written {
        var written = Written()
        switch end {
        case .waiting: return written
        case .sent:
            try PushQueueStore.noteSent(
                connection, item.target, version: item.version, provider: item.booked,
                next: now.wall + Deliveries.milliseconds(window), now: now.wall)
            try PushTargetStore.noteSent(connection, item.target, now: seconds)
            if let device = item.device, device != item.target {
                try PushTargetStore.noteSent(connection, device, now: seconds)
            }
            if item.isInOtherEnvironment {
                try keys.keepEnvironment(
                    of: item.device ?? item.target, item.secret, connection)
            }
        case .later(let due, let tries):
            try PushQueueStore.noteRetry(
                connection, item.target, version: item.version, provider: item.booked,
                due: due, tries: tries)
            try noteFailure(connection, isFinal: false)
        case .passedOn(let mayDisable):
            try noteFailure(connection, isFinal: true)
            let disables = try mayDisable && isStillMeant(connection)
            let noted = try wakeups.passOn(
                item, endsAll: disables, now: now.wall, connection)
            if let noted {
                written.noted = [noted]
            } else if try PushQueueStore.find(connection, item.target)?.version == item.version {
                // The other token is gone meanwhile: what may pass is waited for here.
                if answer.isTemporary, item.tries + 1 < Backoff.mostTries {
                    let tries = item.tries + 1
                    let wait = Backoff.delay(tries: tries, wish: nil, random: .random(in: 0...1))
                    try PushQueueStore.noteRetry(
                        connection, item.target, version: item.version, provider: item.booked,
                        due: now.wall + wait, tries: tries)
                } else {
                    try writeDead(connection, disables: mayDisable)
                }
                break
            }
            if disables { try disable(item.target, connection) }
        case .dead(let disables):
            try writeDead(connection, disables: disables)
        }
        written.next = try PushQueueStore.find(connection, item.target)?.due
        return written
    }

    /// Whether the target is the one that the provider said is gone.
    private func isStillMeant(_ connection: Connection) throws -> Bool {
        guard let target = try PushTargetStore.target(connection, item.target) else {
            return false
        }
        return retryOfNewer(target) == nil
    }

    private func disable(_ id: Int64, _ connection: Connection) throws {
        try PushTargetStore.disable(connection, id, answer.reason, answer.code, now: seconds)
    }

    private func noteFailure(_ connection: Connection, isFinal: Bool) throws {
        try PushTargetStore.noteFailure(
            connection, item.target, answer.reason, answer.code, isFinal: isFinal)
        if let device = item.device, device != item.target {
            try PushTargetStore.noteFailure(
                connection, device, answer.reason, answer.code, isFinal: isFinal)
        }
    }

    private func writeDead(_ connection: Connection, disables: Bool) throws {
        let device = try PushTargetStore.target(connection, item.device ?? item.target)
        if disables, let device, let (wait, tries) = retryOfNewer(device) {
            try PushQueueStore.noteRetry(
                connection, item.target, version: item.version, provider: item.booked,
                due: now.wall + wait, tries: tries)
            return
        }
        if !disables, item.isUrgent, case .retry = answer.outcome,
            try PushQueueStore.endCall(
                connection, item.target, lifetime: Deliveries.milliseconds(lifetime), now: now.wall)
        {
            return try noteFailure(connection, isFinal: false)
        }
        // What was temporary every time is no answer about the registration.
        let isFinal = if case .retry = answer.outcome { false } else { true }
        try noteFailure(connection, isFinal: isFinal)
        var ends = disables
        if !disables, isFinal, item.provider == .xmpp,
            let target = try PushTargetStore.target(connection, item.target),
            target.failures >= Self.finalErrors
        {
            ends = true
        }
        let letter = DeadLetter(
            id: 0, target: item.target, provider: item.booked,
            account: item.account?.description, kind: item.kind, reason: answer.reason,
            code: answer.code, unread: item.unread, tries: item.tries + 1, added: item.added,
            died: now.wall)
        try PushQueueStore.noteDead(
            connection, letter, version: item.version, endsAll: ends, limit: deadLetters)
        guard ends else { return }
        for id in Set([item.target, item.device ?? item.target]) {
            try disable(id, connection)
        }
    }

    /// If a target is another one than the provider said is gone, when to try that, and how often the
    /// push then counts as tried.
    private func retryOfNewer(_ target: PushTargetRow) -> (wait: Int64, tries: Int)? {
        // It registered anew meanwhile: that one is tried at once.
        if target.secret != item.secret { return (0, 0) }
        // The same token came back after the provider lost it. It may not know yet, but not for ever.
        guard case .invalidToken(_, let since?) = answer.outcome, target.refreshed > since,
            item.tries + 1 < Backoff.mostTries
        else { return nil }
        let tries = item.tries + 1
        return (Backoff.delay(tries: tries, wish: nil, random: .random(in: 0...1)), tries)
    }
}

extension PushKeys {
    /// The other environment was the right one, if the target is still the same.
    func keepEnvironment(
        of id: Int64, _ secret: [UInt8], _ connection: Connection
    ) throws {
        guard let row = try PushTargetStore.target(connection, id), row.secret == secret,
            var target = target(row.secret)
        else { return }
        let known = target.parameters[PushDispatcher.environment] ?? "production"
        target.parameters[PushDispatcher.environment] =
            known == "production" ? "sandbox" : "production"
        try PushTargetStore.update(connection, id, secret: try seal(target), circuit: row.circuit)
    }
}

extension PushAnswer {
    /// Whether another try may get through.
    var isTemporary: Bool {
        switch outcome {
        case .retry, .authorizationExpired, .quotaOfDay: true
        case .accepted, .invalidToken, .rejected: false
        }
    }
}
