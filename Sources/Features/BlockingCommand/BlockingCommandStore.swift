// Every SQL statement about block lists.

internal import Addresses
internal import Engine
internal import Storage

enum BlockingCommandStore {
    /// An address stands in its prepared parts, which are taken as they are: all lists are read
    /// at the start.
    static let schema = [
        SchemaStep(
            "blocking", 1,
            """
            CREATE TABLE blocked_addresses (
                account TEXT NOT NULL,
                domain TEXT NOT NULL,
                local TEXT NOT NULL,
                resource TEXT NOT NULL,
                PRIMARY KEY (account, domain, local, resource)
            ) WITHOUT ROWID;
            """)
    ]

    enum Outcome: Sendable {
        case applied, full, noAccount
    }

    /// The lists of all accounts that have one.
    static func lists(_ connection: Connection) throws -> [BareJID: BlockList] {
        var lists: [BareJID: BlockList] = [:]
        var list: BlockList?
        var owner: String?
        func finish() {
            if let list { lists[list.owner] = list }
        }
        try connection.rows(
            """
            SELECT account, domain, local, resource FROM blocked_addresses ORDER BY account
            """
        ) { row in
            let account = row.text(0)
            if account != owner {
                finish()
                owner = account
                list = account.flatMap { try? BareJID($0) }.map { BlockList(of: $0) }
            }
            guard let domain = row.text(1), let local = row.text(2), let resource = row.text(3)
            else { return }
            list?.insert(
                JID(
                    bare: BareJID(preparedLocal: local, preparedDomain: domain),
                    preparedResource: resource))
        }
        finish()
        return lists
    }

    /// Changes a list, unless more than `limit` addresses would be on it.
    static func apply(
        _ change: BlockListChange, _ connection: Connection, of account: BareJID, limit: Int
    ) throws -> Outcome {
        // The session may be there still when its account is gone.
        guard try Accounts.exists(account, in: connection) else { return .noAccount }
        switch change {
        case .block(let jids):
            let wanted = Set(jids)
            guard wanted.count <= limit else { return .full }
            let new = try wanted.filter { try !contains(connection, of: account, $0) }
            guard try new.isEmpty || count(connection, of: account) + new.count <= limit else {
                return .full
            }
            for jid in new {
                try connection.execute(
                    """
                    INSERT INTO blocked_addresses (account, domain, local, resource)
                    VALUES (?, ?, ?, ?)
                    """,
                    .text(account.description), .text(jid.domain), .text(jid.local),
                    .text(jid.resource))
            }
        case .unblock(let jids):
            for jid in jids {
                try connection.execute(
                    """
                    DELETE FROM blocked_addresses
                    WHERE account = ? AND domain = ? AND local = ? AND resource = ?
                    """,
                    .text(account.description), .text(jid.domain), .text(jid.local),
                    .text(jid.resource))
            }
        case .unblockAll: try deleteAll(connection, of: account)
        }
        return .applied
    }

    static func deleteAll(_ connection: Connection, of account: BareJID) throws {
        try connection.execute(
            "DELETE FROM blocked_addresses WHERE account = ?", .text(account.description))
    }

    private static func contains(
        _ connection: Connection, of account: BareJID, _ jid: JID
    ) throws -> Bool {
        try connection.first(
            """
            SELECT 1 FROM blocked_addresses
            WHERE account = ? AND domain = ? AND local = ? AND resource = ?
            """,
            .text(account.description), .text(jid.domain), .text(jid.local), .text(jid.resource)
        ) { _ in true } ?? false
    }

    static func count(_ connection: Connection, of account: BareJID) throws -> Int {
        try connection.first(
            "SELECT count(*) FROM blocked_addresses WHERE account = ?",
            .text(account.description)
        ) { Int($0.integer(0)) } ?? 0
    }

    /// Puts on an account's list what is on a backup's. Gives the number of what was not on it.
    static func merge(
        _ account: BareJID, from backup: Database, _ connection: Connection
    ) throws -> Int {
        let rows = try backup.readNow { connection in
            var rows: [[SQLValue]] = []
            try connection.rows(
                "SELECT domain, local, resource FROM blocked_addresses WHERE account = ?",
                .text(account.description)
            ) { row in rows.append((0..<3).map { .text(row.text($0) ?? "") }) }
            return rows
        }
        var count = 0
        for row in rows {
            try connection.execute(
                """
                INSERT OR IGNORE INTO blocked_addresses (account, domain, local, resource)
                VALUES (?, ?, ?, ?)
                """, .text(account.description), row[0], row[1], row[2])
            count += connection.changes
        }
        return count
    }
}
