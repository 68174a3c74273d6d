// What archives need besides messages, off their way and in small pieces: the index of words, the
// removal of what is too old or too much or belonged to an account that is gone, and the count of
// what there is.

internal import Engine
internal import Logging
internal import NIOCore
internal import Options
internal import Prometheus
internal import Storage
internal import Synchronization

/// The work behind the archives. Safe on any thread.
final class ArchiveMaintenance: Sendable {
    /// Messages whose words are indexed in one transaction: some 5 ms.
    private static let wordBatch = 256
    private static let removalBatch = 200
    private static let retentionInterval = TimeAmount.minutes(10)

    private struct State {
        var isIndexing = false
        /// Called when all words are indexed.
        var waiting: [@Sendable () -> Void] = []
        var isRemoving = false
        var isRetaining = false
    }

    private let options: ArchiveOptions
    private let metrics: ArchiveMetrics
    private let state = Mutex(State())

    init(options: ArchiveOptions, metrics: ArchiveMetrics) {
        self.options = options
        self.metrics = metrics
    }

    func start(_ host: Host) {
        // A command that opens the data has other things to do.
        guard let loop = host.loops.first?.eventLoop else { return }
        count(host)
        indexWords(host)
        removeSome(host)
        let log = host.log
        loop.scheduleRepeatedTask(
            initialDelay: .minutes(1), delay: Self.retentionInterval
        ) { [weak host] _ in
            guard let host else { return log.debug("archive: the server is gone") }
            self.retain(host)
        }
    }

    func messagesSettled(_ host: Host) {
        indexWords(host)
        count(host)
    }

    private func count(_ host: Host) {
        host.database.read({ try MessageArchiveStore.usage($0) }) { result in
            guard case .success(let usage) = result else { return }
            self.metrics.messages.set(Double(usage.messages))
            self.metrics.bytes.set(Double(usage.bytes))
        }
    }

    // MARK: Words

    /// Calls back when the words of everything that is stored are indexed, or cannot be.
    func indexAllWords(_ host: Host, then: @escaping @Sendable () -> Void) {
        host.settleAllMessages {
            self.state.withLock { $0.waiting.append(then) }
            self.indexWords(host)
        }
    }

    private func indexWords(_ host: Host) {
        let begins = state.withLock { state in
            defer { state.isIndexing = true }
            return !state.isIndexing
        }
        if begins { indexSome(host) }
    }

    private func indexSome(_ host: Host) {
        host.database.writer.submit(
            size: 0,
            { try MessageArchiveStore.indexWords($0, limit: Self.wordBatch) },
            then: { result in
                if case .success(true) = result { return self.indexSome(host) }
                if case .failure(let error) = result { host.log.error("archive: \(error)") }
                let waiting = self.state.withLock { state in
                    defer { state.waiting = [] }
                    state.isIndexing = false
                    return state.waiting
                }
                for body in waiting { body() }
            })
    }

    // MARK: Removal

    /// Removes what belonged to accounts that are gone, piece by piece.
    func removeSome(_ host: Host) {
        let begins = state.withLock { state in
            defer { state.isRemoving = true }
            return !state.isRemoving
        }
        // What has not settled is in no list that could be removed.
        if begins { host.settleAllMessages { self.removeNext(host) } }
    }

    private func removeNext(_ host: Host) {
        let isWaiting = host.hooks.isWaiting
        host.database.writer.submit(
            size: 0,
            {
                try MessageArchiveStore.removeSome(
                    $0, limit: Self.removalBatch, isWaiting: isWaiting)
            },
            then: { result in
                if case .success(true) = result { return self.removeNext(host) }
                if case .failure(let error) = result { host.log.error("archive: \(error)") }
                self.state.withLock { $0.isRemoving = false }
                self.count(host)
            })
    }

    // MARK: Retention

    /// Removes the oldest messages of domains that have too old ones, or too much of them.
    func retain(_ host: Host, then: @escaping @Sendable () -> Void = {}) {
        let age = options.maximumAge.value.components.seconds
        let size = Int64(options.maximumSize.value)
        guard age > 0 || size > 0 else { return then() }
        let begins = state.withLock { state in
            defer { state.isRetaining = true }
            return !state.isRetaining
        }
        guard begins else { return then() }
        let oldest = age > 0 ? Clock.millisecondsSince1970() - age * 1000 : nil
        host.database.read({ try MessageArchiveStore.bytesByDomain($0) }) { result in
            guard case .success(let bytes) = result else { return self.didRetain(host, then) }
            let excess = size > 0 ? bytes.mapValues { $0 - size }.filter { $0.value > 0 } : [:]
            self.retainNext(host, Retention(oldest: oldest, excess: excess), then)
        }
    }

    private struct Retention: Sendable {
        /// What was received before goes.
        let oldest: Int64?
        /// So many bytes of a domain's are too many.
        var excess: [String: Int64]
        /// How far it is.
        var after: Int64 = 0
        /// The first message that stayed; nil as long as all go.
        var firstKept: Int64?
    }

    private func retainNext(
        _ host: Host, _ retention: Retention, _ then: @escaping @Sendable () -> Void
    ) {
        let isWaiting = host.hooks.isWaiting
        host.database.writer.submit(
            size: 0,
            { connection -> (Retention, removed: Int, isDone: Bool) in
                var retention = retention
                var removed = 0
                let messages = try MessageArchiveStore.oldest(
                    connection, after: retention.after, limit: Self.removalBatch)
                var isDone = messages.count < Self.removalBatch
                for message in messages {
                    retention.after = message.id
                    let isOld = retention.oldest.map { message.receivedAt < $0 } ?? false
                    // Only the oldest may go, so the first one that stays ends it (section 3.2).
                    guard isOld || !retention.excess.isEmpty else {
                        isDone = true
                        retention.firstKept = message.id
                        break
                    }
                    for owner in message.owners {
                        let isTooMuch = retention.excess[owner.domain] != nil
                        guard isOld || isTooMuch else { continue }
                        try MessageArchiveStore.remove(
                            connection, message.id, from: owner.number, isWaiting: isWaiting)
                        removed += 1
                        guard let excess = retention.excess[owner.domain] else { continue }
                        retention.excess[owner.domain] =
                            excess > message.size ? excess - message.size : nil
                    }
                }
                if let first = retention.firstKept {
                    try MessageArchiveStore.deleteSpans(connection, before: first)
                }
                return (retention, removed, isDone)
            },
            then: { result in
                guard case .success(let (next, removed, isDone)) = result else {
                    if case .failure(let error) = result { host.log.error("archive: \(error)") }
                    return self.didRetain(host, then)
                }
                self.metrics.removed.add(removed)
                guard isDone else { return self.retainNext(host, next, then) }
                self.didRetain(host, then)
            })
    }

    private func didRetain(_ host: Host, _ then: @Sendable () -> Void) {
        state.withLock { $0.isRetaining = false }
        count(host)
        then()
    }
}
