// What is kept for an account, as far as its administrator is told.

public import Addresses
public import Storage

extension Host {
    /// An account, and how much each feature keeps for it, read in one transaction; nil if there
    /// is none. Waits, so never on an event loop.
    public func accountAndSizes(
        of jid: BareJID
    ) throws(StorageError) -> (account: Account, sizes: [AccountSize])? {
        try database.readNow { connection in
            guard let account = try AccountStore.find(connection, jid)?.0 else { return nil }
            return (account, try hooks.accountSizes.flatMap { try $0(jid, connection) })
        }
    }
}
