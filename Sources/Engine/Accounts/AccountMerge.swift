// An account that was deleted, or has lost something, gets it back from a backup. Data that is
// there stays, so it can be done twice, and to an account that goes on in the meantime.

public import Addresses
internal import SASL
public import Storage

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
            var sizes = [
                AccountSize("accounts", try AccountStore.insert(connection, found) ? 1 : 0)
            ]
            for hook in hooks.mergeAccount { sizes += try hook(account, backup, self, connection) }
            return sizes
        }
    }
}
