// Stanzas that other domains have, or that went back, and that the database still holds. While the
// disk fails they stay here: forgotten, they would be sent or returned a second time after the next
// start.

internal import Logging
internal import Storage
internal import Synchronization

/// What is to be deleted from `outgoing`. Safe on any thread.
final class OutgoingDeletions: Sendable {
    private struct State {
        var ids: [Int64] = []
        var isUnderWay = false
    }

    /// They are deleted with the next transaction, or alone after this time.
    private static let time = Duration.milliseconds(50)

    private let state = Mutex(State())

    func add(_ ids: [Int64], _ host: Host) {
        guard !ids.isEmpty else { return }
        state.withLock { $0.ids += ids }
        goOn(host)
    }

    /// Tries again what could not be done before.
    func goOn(_ host: Host) {
        let begins = state.withLock { state in
            guard !state.isUnderWay, !state.ids.isEmpty else { return false }
            state.isUnderWay = true
            return true
        }
        if begins { delete(host) }
    }

    private func delete(_ host: Host) {
        host.database.writer.submit(
            size: 0, within: Self.time,
            { connection in
                // With those that came since the job was queued. What comes later stands behind.
                let ids = self.state.withLock { $0.ids }
                try OutgoingStore.delete(connection, ids)
                return ids.count
            },
            then: { result in
                if case .failure(let error) = result { host.log.error("outgoing: \(error)") }
                self.state.withLock { state in
                    state.isUnderWay = false
                    switch result {
                    case .success(let count): state.ids.removeFirst(count)
                    // There is no other time; other servers recognise a message that comes again.
                    case .failure(let error) where error.code == .closed: state.ids = []
                    case .failure: break
                    }
                }
                if case .success = result { self.goOn(host) }
            })
    }
}
