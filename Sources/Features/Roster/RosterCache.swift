// The rosters of those who are online, so that presence needs no database. What the database
// commits is applied here in the order of the commits, by the writer's thread.

internal import Addresses
internal import Engine
internal import Logging
internal import Storage
internal import Synchronization

/// Rosters of accounts that have a session. Safe on any thread.
final class RosterCache: Sendable {
    private enum Entry {
        /// Being read; a commit meanwhile makes what is read stale.
        case loading(sessions: Int, isStale: Bool, waiting: [@Sendable (Bool) -> Void])
        case ready(sessions: Int, roster: CachedRoster)
    }

    private struct CachedRoster {
        var items: [BareJID: RosterItem]
        /// Known once somebody has asked for it.
        var version: RosterVersion?

        mutating func set(_ contact: BareJID, _ item: RosterItem?) {
            if let before = items[contact] { version?.remove(before) }
            if let item { version?.add(item) }
            items[contact] = item
        }
    }

    private let entries = Mutex<[BareJID: Entry]>([:])

    /// Has an account's roster ready before its session exists; `done` says whether it is.
    func retain(_ account: BareJID, _ host: Host, _ done: @escaping @Sendable (Bool) -> Void) {
        enum Next { case load, wait, proceed }
        let next: Next = entries.withLock { entries in
            switch entries[account] {
            case nil:
                entries[account] = .loading(sessions: 1, isStale: false, waiting: [done])
                return .load
            case .loading(let sessions, let isStale, let waiting):
                entries[account] = .loading(
                    sessions: sessions + 1, isStale: isStale, waiting: waiting + [done])
                return .wait
            case .ready(let sessions, let roster):
                entries[account] = .ready(sessions: sessions + 1, roster: roster)
                return .proceed
            }
        }
        switch next {
        case .load: load(account, host)
        case .wait: break
        case .proceed: done(true)
        }
    }

    private func load(_ account: BareJID, _ host: Host) {
        host.database.read({ try RosterStore.items($0, of: account) }) { result in
            if case .failure(let error) = result { host.log.error("roster: \(error)") }
            let items = try? result.get()
            let waiting: [@Sendable (Bool) -> Void]? = self.entries.withLock { entries in
                guard case .loading(let sessions, let isStale, let waiting)? = entries[account]
                else { return [] }
                if isStale, items != nil {
                    entries[account] = .loading(
                        sessions: sessions, isStale: false, waiting: waiting)
                    return nil
                }
                entries[account] =
                    sessions > 0
                    ? items.map { .ready(sessions: sessions, roster: CachedRoster(items: $0)) }
                    : nil
                return waiting
            }
            guard let waiting else { return self.load(account, host) }
            for done in waiting { done(items != nil) }
        }
    }

    /// A session ended, or never began.
    func release(_ account: BareJID) {
        entries.withLock { entries in
            switch entries[account] {
            case nil: break
            case .loading(let sessions, let isStale, let waiting):
                entries[account] = .loading(
                    sessions: sessions - 1, isStale: isStale, waiting: waiting)
            case .ready(let sessions, let roster):
                entries[account] =
                    sessions > 1 ? .ready(sessions: sessions - 1, roster: roster) : nil
            }
        }
    }

    /// Applies what was committed: a changed item, or nil for one that is gone.
    func apply(_ account: BareJID, _ contact: BareJID, _ item: RosterItem?) {
        change(account) { $0.set(contact, item) }
    }

    /// The account is gone.
    func clear(_ account: BareJID) {
        change(account) { $0 = CachedRoster(items: [:]) }
    }

    /// A contact's account is gone, and both subscriptions with it. Gives the changed items.
    func endSubscriptions(with contact: BareJID) -> [(account: BareJID, item: RosterItem)] {
        entries.withLock { entries in
            var changed: [(account: BareJID, item: RosterItem)] = []
            for (account, entry) in entries {
                switch entry {
                case .loading(let sessions, _, let waiting):
                    entries[account] = .loading(
                        sessions: sessions, isStale: true, waiting: waiting)
                case .ready(let sessions, var roster):
                    guard let item = roster.items[contact]?.withoutSubscription else { continue }
                    roster.set(contact, item.isEmpty ? nil : item)
                    entries[account] = .ready(sessions: sessions, roster: roster)
                    changed.append((account, item))
                }
            }
            return changed
        }
    }

    private func change(_ account: BareJID, _ body: (inout CachedRoster) -> Void) {
        entries.withLock { entries in
            switch entries[account] {
            case nil: break
            case .loading(let sessions, _, let waiting):
                entries[account] = .loading(sessions: sessions, isStale: true, waiting: waiting)
            case .ready(let sessions, var roster):
                entries[account] = nil  // so that the dictionary is not copied
                body(&roster)
                entries[account] = .ready(sessions: sessions, roster: roster)
            }
        }
    }

    /// The version of the roster of an account that has a session (RFC 6121 section 2.6).
    func version(of account: BareJID) -> RosterVersion {
        var version = RosterVersion()
        change(account) { roster in
            version = roster.version ?? RosterVersion(roster.items.values)
            roster.version = version
        }
        return version
    }

    /// The roster of an account that has a session, else empty.
    func items(of account: BareJID) -> [BareJID: RosterItem] {
        entries.withLock { entries in
            guard case .ready(_, let roster)? = entries[account] else { return [:] }
            return roster.items
        }
    }
}
