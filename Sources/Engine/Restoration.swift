// Data that comes from a backup goes on where the backup was made, and clients remember what came
// after that. Whatever could be taken for something else is given up, once for each restore: the
// restore leaves a mark beside the database, and the next start does this in one transaction,
// together with a note of the mark. A process that dies in between does not do it twice.
//
// What the engine itself gives up: suspended sessions end as after a crash, so that their messages
// go to the offline store, and how far streams were (XEP-0198) is forgotten, for their clients were
// told of more. Roster versions are digests of the rosters and need nothing.

internal import Storage

/// The restores that this data has been through.
enum Restoration {
    /// Does what a restore asks for, unless that was done.
    static func note(
        _ mark: String, _ database: Database, _ hooks: Hooks
    ) throws(StorageError) {
        try database.writeNow { connection in
            guard try RestorationStore.insert(connection, mark, now: Clock.secondsSince1970())
            else { return }
            try SuspendedSessionStore.outdate(connection)
            try MessageStore.forgetStreams(connection)
            for hook in hooks.restored { try hook(connection) }
        }
    }
}
