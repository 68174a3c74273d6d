// A user's history comes back from a backup. A message has the same number, and so the same id, in
// both databases, as long as the one is the other's past: that is what the epochs say. So it goes
// back to its place in the order, and clients that still have it know it again.

internal import Addresses
internal import Engine
internal import Storage
internal import XMPP

/// Puts messages of a backup's archive into the archive of the same account. In one transaction.
struct ArchiveMerge {
    private struct Row {
        let message: StoredMessage
        let sender: String
        let receiver: String
        /// Whether the account is the one or the other, or both, and keeps it as such.
        let keepers: Keepers
    }

    private static let batch = 500

    private let account: BareJID
    private let backup: Database
    private let connection: Connection

    init(_ account: BareJID, _ backup: Database, _ connection: Connection) {
        self.account = account
        self.backup = backup
        self.connection = connection
    }

    /// Brings back what the owner wants archived, unless something is wanted now; true when it did.
    func preferences() throws -> Bool {
        let owner = try MessageStore.number(of: account, in: connection)
        guard try MessageArchiveStore.preferences(connection, of: owner) == nil else {
            return false
        }
        let account = account
        let found = try backup.readNow { connection in
            try MessageStore.existingNumber(of: account, in: connection).flatMap {
                try MessageArchiveStore.preferences(connection, of: $0)
            }
        }
        guard let found else { return false }
        try MessageArchiveStore.save(connection, found, of: owner)
        return true
    }

    /// Gives how many came back, and how many could not because their numbers are others' now.
    func run(isWaiting: MessageArchiveStore.IsWaiting?) throws -> [AccountSize] {
        // What the account had before it was deleted is still to be removed, or it would be hidden
        // and go later.
        while try MessageArchiveStore.removeSome(
            connection, limit: 1000, isWaiting: isWaiting) != nil
        {}
        let isPast = try MessageArchiveStore.past(of: backup, connection)
        let next = try MessageStore.nextNumber(connection)
        let owner = try MessageStore.number(of: account, in: connection)
        var (count, foreign, after) = (0, 0, Int64(0))
        while true {
            let rows = try rows(after: after)
            guard let last = rows.last else { break }
            after = last.message.id
            for row in rows {
                guard isPast(row.message.id), row.message.id < next,
                    let hasCome = try merge(row, owner)
                else {
                    foreign += 1
                    continue
                }
                count += hasCome ? 1 : 0
            }
        }
        return [
            AccountSize("archive_messages", count),
            AccountSize("archive_messages_of_another_life", foreign),
        ]
    }

    private func rows(after: Int64) throws -> [Row] {
        let account = account
        return try backup.readNow { connection in
            guard let owner = try MessageStore.existingNumber(of: account, in: connection) else {
                return []
            }
            var rows: [Row] = []
            try MessageArchiveStore.kept(
                connection, by: owner, after: after, limit: Self.batch
            ) { message, sender, receiver, keepers in
                rows.append(
                    Row(message: message, sender: sender, receiver: receiver, keepers: keepers))
            }
            return rows
        }
    }

    /// Whether it was missing; nil when the number is another message's.
    private func merge(_ row: Row, _ owner: Int64) throws -> Bool? {
        guard let from = try? BareJID(row.sender), let to = try? BareJID(row.receiver) else {
            return nil
        }
        let sender = try MessageStore.number(of: from, in: connection)
        let receiver = try MessageStore.number(of: to, in: connection)
        return try MessageArchiveStore.merge(
            connection, row.message, sender: sender, receiver: receiver, keepers: row.keepers,
            owner: owner)
    }
}
