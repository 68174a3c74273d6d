// What a test restore needs of a scratch copy, which nobody else will ever see: an account whose
// password is known, with a history.

public import Addresses
public import Storage

extension Host {
    /// How much the copy holds: nothing of it may be missing in what was opened.
    public func countStored() throws(StorageError) -> (accounts: Int, messages: Int) {
        try database.readNow { connection in
            (try AccountStore.count(connection), try MessageStore.count(connection))
        }
    }

    /// Gives an account that has no history the longest that there is, and so takes it from its
    /// owner. For commands that work on a scratch copy.
    ///
    /// - Returns: how many messages its archive has now.
    public func takeLongestHistory(for account: BareJID) throws(StorageError) -> Int {
        let hooks = hooks
        return try database.writeNow { connection in
            guard let (owner, messages) = try hooks.longestHistory?(connection) ?? nil else {
                return 0
            }
            try MessageStore.rename(connection, owner, to: account)
            return messages
        }
    }
}
