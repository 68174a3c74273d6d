// How long archives keep messages, and how much of them, domain by domain. The oldest go first, in
// small pieces, through the same writer as everything else.

internal import Engine
internal import Logging
internal import Options
internal import Prometheus
internal import Storage
internal import Synchronization
internal import XMPP

/// What the archives of a domain's users may hold.
private struct ArchiveLimits: Sendable, Equatable {
    /// In seconds; 0 for no limit.
    var age: Int64
    /// In bytes; 0 for no limit.
    var size: Int64
}

/// Removes what is too old or too much. Safe on any thread.
final class ArchiveRetention: Sendable {
    /// Messages that are looked at in one transaction.
    private static let batch = 200

    private struct State {
        var isUnderWay = false
        /// The limits of the last pass over messages that are too old, and how far it came: what
        /// stayed behind that stays until the limits change.
        var limits: [String: ArchiveLimits] = [:]
        var checked: Int64 = 0
    }

    private let options: ArchiveOptions
    private let removed: Counter
    private let state = Mutex(State())

    init(options: ArchiveOptions, removed: Counter) {
        self.options = options
        self.removed = removed
    }

    /// Warns of limits that have no effect.
    func check(_ host: Host) {
        for domain in options.domains.value.flatMap({ $0.strings("domains") })
        where !host.isLocal(domain) {
            host.log.warning(
                "archive.domains: not a domain of this server",
                metadata: ["domain": "\(domain)"])
        }
    }

    /// Whether there is anything that could be too old or too much.
    func hasLimits(_ host: Host) -> Bool { !limits(host).isEmpty }

    private func limits(_ host: Host) -> [String: ArchiveLimits] {
        let common = ArchiveLimits(
            age: options.maximumAge.value.components.seconds,
            size: Int64(options.maximumSize.value))
        var limits: [String: ArchiveLimits] = [:]
        for domain in host.domains { limits[domain] = common }
        for record in options.domains.value {
            for domain in record.strings("domains") {
                guard var limit = limits[domain] else { continue }
                if let age = record.duration("max_age") { limit.age = age.components.seconds }
                if let size = record.size("max_size") { limit.size = Int64(size) }
                limits[domain] = limit
            }
        }
        return limits.filter { $0.value.age > 0 || $0.value.size > 0 }
    }

    /// Removes what there is to remove; `then` gets whether that was anything.
    func run(_ host: Host, then: @escaping @Sendable (Bool) -> Void) {
        let limits = limits(host)
        let start: Int64? = state.withLock { state in
            guard !limits.isEmpty, !state.isUnderWay else { return nil }
            state.isUnderWay = true
            if state.limits != limits {
                state.limits = limits
                state.checked = 0
            }
            return state.checked
        }
        guard let start else { return then(false) }
        let now = Clock.millisecondsSince1970()
        host.database.read({ try MessageArchiveStore.bytesByDomain($0) }) { result in
            guard case .success(let bytes) = result else { return self.end(nil, then) }
            var pass = Pass(after: start)
            for (domain, limit) in limits {
                if limit.age > 0 { pass.oldest[domain] = now - limit.age * 1000 }
                let excess = bytes[domain, default: 0] - limit.size
                if limit.size > 0, excess > 0 {
                    pass.excess[domain] = excess
                    pass.after = 0
                }
            }
            self.next(host, pass, then)
        }
    }

    private struct Pass: Sendable {
        /// What a domain's users received before goes, in milliseconds since 1970.
        var oldest: [String: Int64] = [:]
        /// So many bytes of a domain's are too many.
        var excess: [String: Int64] = [:]
        /// How far it is.
        var after: Int64
        var removed = 0
        var isDone = false

        func isTooOld(_ receivedAt: Int64, in domain: String) -> Bool {
            oldest[domain].map { receivedAt < $0 } ?? false
        }
    }

    private func next(_ host: Host, _ pass: Pass, _ then: @escaping @Sendable (Bool) -> Void) {
        let isWaiting = host.hooks.isWaiting
        host.database.writer.submit(
            size: 0,
            { try Self.removeSome($0, pass, isWaiting) },
            then: { result in
                switch result {
                case .success(let next):
                    self.removed.add(next.removed - pass.removed)
                    if next.isDone { self.end(next, then) } else { self.next(host, next, then) }
                case .failure(let error):
                    host.log.error("archive: \(error)")
                    self.end(nil, then)
                }
            })
    }

    /// Only the oldest of an owner's may go, so that no page has holes (XEP-0313 section 3.2).
    private static func removeSome(
        _ connection: Connection, _ before: Pass,
        _ isWaiting: MessageArchiveStore.IsWaiting?
    ) throws -> Pass {
        var pass = before
        let messages = try MessageArchiveStore.oldest(
            connection, after: pass.after, limit: batch)
        pass.isDone = messages.count < batch
        for message in messages {
            guard
                !pass.excess.isEmpty
                    || pass.oldest.values.contains(where: { message.receivedAt < $0 })
            else {
                pass.isDone = true
                break
            }
            pass.after = message.id
            for owner in message.owners {
                guard
                    pass.excess[owner.domain] != nil
                        || pass.isTooOld(message.receivedAt, in: owner.domain)
                else { continue }
                try MessageArchiveStore.remove(
                    connection, message.id, from: owner.number, isWaiting: isWaiting)
                pass.removed += 1
                guard let excess = pass.excess[owner.domain] else { continue }
                pass.excess[owner.domain] = excess > message.size ? excess - message.size : nil
            }
        }
        if pass.isDone { try MessageArchiveStore.deleteSpansOfNothing(connection) }
        return pass
    }

    private func end(_ pass: Pass?, _ then: @Sendable (Bool) -> Void) {
        state.withLock { state in
            state.isUnderWay = false
            if let pass { state.checked = pass.after }
        }
        then(pass.map { $0.removed > 0 } ?? false)
    }
}
