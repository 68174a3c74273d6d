// What archives need besides messages, off their way and in small pieces: the index of words, the
// removal of what belonged to an account that is gone, and the count of what there is.

internal import Engine
internal import Logging
internal import NIOCore
internal import Options
internal import Prometheus
internal import Storage
internal import Synchronization

/// The work behind the archives. Safe on any thread.
final class ArchiveMaintenance: Sendable {
    /// Messages whose words are indexed in one transaction, for which others wait.
    private static let wordBatch = 128
    private static let removalBatch = 200
    private static let retentionInterval = TimeAmount.minutes(10)
    private static let countInterval = TimeAmount.minutes(1)

    private struct State {
        var isIndexing = false
        /// There was more to index after this run had begun, and it may not have seen that.
        var isDueAgain = false
        /// Called after the run that goes on, and after the next one.
        var waiting: [@Sendable () -> Void] = []
        var waitingForNext: [@Sendable () -> Void] = []
        var isRemoving = false

        mutating func beginIndexing() {
            isIndexing = true
            isDueAgain = false
            waiting = waitingForNext
            waitingForNext = []
        }
    }

    private let retention: ArchiveRetention
    private let metrics: ArchiveMetrics
    private let state = Mutex(State())

    init(options: ArchiveOptions, metrics: ArchiveMetrics) {
        self.metrics = metrics
        retention = ArchiveRetention(options: options, removed: metrics.removed)
    }

    func start(_ host: Host) {
        // A command that opens the data has other things to do.
        guard let loop = host.loops.first?.eventLoop else { return }
        retention.check(host)
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
        // On a quiet server messages settle after days.
        loop.scheduleRepeatedTask(
            initialDelay: Self.countInterval, delay: Self.countInterval
        ) { [weak host] _ in
            if let host { self.count(host) }
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

    /// Calls back when the words of everything that is stored now are indexed, or cannot be.
    func indexAllWords(_ host: Host, then: @escaping @Sendable () -> Void) {
        host.settleAllMessages {
            self.state.withLock { $0.waitingForNext.append(then) }
            self.indexWords(host)
        }
    }

    private func indexWords(_ host: Host) {
        let begins = state.withLock { state in
            guard !state.isIndexing else {
                state.isDueAgain = true
                return false
            }
            state.beginIndexing()
            return true
        }
        if begins { indexSome(host) }
    }

    /// Reads and cuts beside the writer, for whom messages wait.
    private func indexSome(_ host: Host) {
        host.database.read(
            { try MessageArchiveStore.words($0, limit: Self.wordBatch) },
            then: { result in
                guard case .success(let words?) = result else {
                    return self.didIndex(host, result.map { _ in })
                }
                host.database.writer.submit(size: 0, { try MessageArchiveStore.index($0, words) }) {
                    guard case .success = $0, words.isMore else { return self.didIndex(host, $0) }
                    self.indexSome(host)
                }
            })
    }

    private func didIndex(_ host: Host, _ result: Result<Void, StorageError>) {
        if case .failure(let error) = result { host.log.error("archive: \(error)") }
        let (waiting, goesOn) = state.withLock { state in
            let waiting = state.waiting
            state.isIndexing = false
            guard state.isDueAgain else { return (waiting, false) }
            state.beginIndexing()
            return (waiting, true)
        }
        for body in waiting { body() }
        if goesOn { indexSome(host) }
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
                if case .success(let removed?) = result {
                    self.metrics.removed.add(removed)
                    return self.removeNext(host)
                }
                if case .failure(let error) = result { host.log.error("archive: \(error)") }
                self.state.withLock { $0.isRemoving = false }
                self.count(host)
            })
    }

    // MARK: Retention

    /// Removes what is too old or too much, of all that is stored now.
    private func retain(_ host: Host) {
        guard retention.hasLimits(host) else { return }
        host.settleAllMessages {
            self.retention.run(host) { hasRemoved in
                if hasRemoved { self.count(host) }
            }
        }
    }
}
