// What was given up: forgotten, or asked for again. Every function waits for the database: never
// on an event loop.

internal import Engine
internal import Storage

extension PushService {
    /// So many in one transaction, for others wait meanwhile.
    private static let step = 500

    /// Forgets what was given up: one of them, or all. Gives how many.
    public func dropDead(_ id: Int64?) throws -> Int {
        let dropped = try dispatcher().host.database.writeNow {
            try PushQueueStore.removeDead($0, id)
        }
        if let id, dropped == 0 { throw Self.noLetter(id) }
        return dropped
    }

    private static func noLetter(_ id: Int64) -> PushRefused {
        PushRefused("there is no \(id) among the pushes that were given up; see kinglet push dead")
    }

    /// Asks again for what was given up: one of them, or all.
    public func redrive(_ id: Int64?) throws -> PushRedriving {
        guard let id else { return try redriveAll() }
        let (result, letters) = try redrive(from: id, limit: 1)
        guard letters == [id] else { throw Self.noLetter(id) }
        return result
    }

    private func redriveAll() throws -> PushRedriving {
        var all = PushRedriving(done: [], failed: [])
        var next: Int64 = 0
        while true {
            let (result, letters) = try redrive(from: next, limit: Self.step)
            all.done += result.done
            all.failed += result.failed
            guard letters.count == Self.step, let last = letters.last else { return all }
            next = last + 1
        }
    }

    /// Gives the numbers of all that were looked at.
    private func redrive(
        from id: Int64, limit: Int
    ) throws -> (result: PushRedriving, letters: [Int64]) {
        let dispatcher = try dispatcher()
        let now = dispatcher.now.wall
        let (result, letters, noted) = try dispatcher.host.database.writeNow {
            connection -> (PushRedriving, [Int64], [NotedPush]) in
            let letters = try PushQueueStore.dead(connection, from: id, limit: limit)
            var result = PushRedriving(done: [], failed: [])
            var noted: [NotedPush] = []
            for letter in letters where limit > 1 || letter.id == id {
                switch try Self.redrive(letter, dispatcher.wakeups, now, connection) {
                case .success(let push):
                    noted.append(push)
                    result.done.append(letter.id)
                    _ = try PushQueueStore.removeDead(connection, letter.id)
                case .failure(let refusal):
                    result.failed.append(.init(id: letter.id, text: refusal.description))
                }
            }
            return (result, letters.map(\.id), noted)
        }
        dispatcher.didCommit(noted)
        return (result, letters)
    }

    private static func redrive(
        _ letter: DeadLetter, _ wakeups: Wakeups, _ now: Int64, _ connection: Connection
    ) throws -> Result<NotedPush, PushRefused> {
        guard letter.kind != .call, letter.kind != .callEnded else {
            return .failure(PushRefused("the call is over"))
        }
        guard let target = try PushTargetStore.target(connection, letter.target) else {
            return .failure(PushRefused("target \(letter.target) was removed"))
        }
        guard target.disabledAt == nil else {
            let why = target.reason.map { ": \($0.rawValue)" } ?? ""
            return .failure(
                PushRefused(
                    "target \(target.id) is disabled\(why); it has to register again, or be added "
                        + "again"))
        }
        let unread = max(
            letter.unread, try PushQueueStore.find(connection, target.id)?.unread ?? 0)
        guard
            let push = try wakeups.note(
                WakeReason(kind: letter.kind), unread: unread, node: target, now: now, connection)
        else {
            return .failure(
                PushRefused("target \(target.id) leads to a device that is not registered any more")
            )
        }
        return .success(push)
    }
}
