// An account that was deleted, or has lost something, gets it back from a backup. Data that is
// there stays, so it can be done twice, and to an account that goes on in the meantime.

public import Addresses
internal import SASL
public import Storage

/// An account of a backup that is merged into this data.
public struct AccountMerge: Sendable {
    /// Whose it is.
    public let account: BareJID
    /// Whether it was gone and has just been made again: what waited for it then waits now.
    public let isNew: Bool
    /// The backup's data.
    public let backup: Database
}

extension Host {
    /// Merges an account of a backup into this data, which nobody else has open.
    ///
    /// - Parameter backup: the backup's data, brought up to date.
    /// - Returns: what came back, by name; nil when the backup has no such account.
    public func mergeAccount(
        _ account: BareJID, from backup: Host
    ) throws(StorageError) -> [AccountSize]? {
        let hooks = hooks
        let backup = backup.database
        let found = try backup.readNow { try AccountStore.copy($0, account) }
        guard let found else { return nil }
        return try database.writeNow { connection in
            while let range = try MessageStore.unsettled(connection, limit: 1000) {
                for hook in hooks.settleMessages { try hook(range, connection) }
                try MessageStore.settle(connection, range, now: Clock.secondsSince1970())
            }
            let isNew = try AccountStore.insert(connection, found)
            var sizes = [AccountSize("accounts", isNew ? 1 : 0)]
            let merge = AccountMerge(account: account, isNew: isNew, backup: backup)
            for hook in hooks.mergeAccount { sizes += try hook(merge, self, connection) }
            return sizes
        }
    }
}
