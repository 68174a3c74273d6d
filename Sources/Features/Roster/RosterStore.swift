// Every SQL statement about rosters.

internal import Addresses
internal import Storage

enum RosterStore {
    static let schema = [
        SchemaStep(
            "roster", 1,
            """
            CREATE TABLE roster_items (
                account TEXT NOT NULL,
                contact TEXT NOT NULL,
                name TEXT NOT NULL,
                groups TEXT NOT NULL,
                subscription INTEGER NOT NULL,
                listed INTEGER NOT NULL,
                request BLOB,
                PRIMARY KEY (account, contact)
            ) WITHOUT ROWID;
            """)
    ]

    /// The bit of a request in the column `subscription`.
    private static let pendingIn = 8

    static func items(
        _ connection: Connection, of account: BareJID
    ) throws -> [BareJID: RosterItem] {
        var items: [BareJID: RosterItem] = [:]
        try connection.rows(
            """
            SELECT contact, name, groups, subscription, listed, request
            FROM roster_items WHERE account = ?
            """,
            .text(account.description)
        ) { row in
            guard let item = read(row) else { return }
            items[item.contact] = item
        }
        return items
    }

    static func item(
        _ connection: Connection, of account: BareJID, _ contact: BareJID
    ) throws -> RosterItem? {
        try connection.first(
            """
            SELECT contact, name, groups, subscription, listed, request
            FROM roster_items WHERE account = ? AND contact = ?
            """,
            .text(account.description), .text(contact.description), value: read) ?? nil
    }

    static func count(_ connection: Connection, of account: BareJID) throws -> Int {
        try connection.first(
            "SELECT count(*) FROM roster_items WHERE account = ?", .text(account.description)
        ) { Int($0.integer(0)) } ?? 0
    }

    /// How many of them are only requests that nobody has answered.
    static func requestCount(_ connection: Connection, of account: BareJID) throws -> Int {
        try connection.first(
            """
            SELECT count(*) FROM roster_items
            WHERE account = ? AND listed = 0 AND subscription = \(pendingIn)
            """, .text(account.description)
        ) { Int($0.integer(0)) } ?? 0
    }

    /// The same of those who have a domain.
    static func requestCount(
        _ connection: Connection, of account: BareJID, from domain: String
    ) throws -> Int {
        try connection.first(
            """
            SELECT count(*) FROM roster_items
            WHERE account = ? AND listed = 0 AND subscription = \(pendingIn)
                AND substr(contact, instr(contact, '@') + 1) = ?
            """, .text(account.description), .text(domain)
        ) { Int($0.integer(0)) } ?? 0
    }

    /// Writes an item, or deletes it when nothing of it is left.
    static func save(
        _ connection: Connection, of account: BareJID, _ item: RosterItem
    ) throws {
        guard !item.isEmpty else {
            try delete(connection, of: account, item.contact)
            return
        }
        let state = item.state
        let bits =
            (state.to ? 1 : 0) | (state.from ? 2 : 0) | (state.pendingOut ? 4 : 0)
            | (state.pendingIn ? pendingIn : 0) | (state.isApproved ? 16 : 0)
        try connection.execute(
            """
            INSERT OR REPLACE INTO roster_items
                (account, contact, name, groups, subscription, listed, request)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            """,
            .text(account.description), .text(item.contact.description), .text(item.name),
            .text(item.groups.joined(separator: separator)), .integer(Int64(bits)),
            .integer(item.isListed ? 1 : 0), item.request.isEmpty ? .null : .blob(item.request))
    }

    static func delete(
        _ connection: Connection, of account: BareJID, _ contact: BareJID
    ) throws {
        try connection.execute(
            "DELETE FROM roster_items WHERE account = ? AND contact = ?",
            .text(account.description), .text(contact.description))
    }

    /// Frees the contacts of an account that goes from their subscriptions, so that whoever takes
    /// its address later does not inherit them. They keep it as a contact.
    static func endSubscriptions(_ connection: Connection, of account: BareJID) throws {
        for contact in try items(connection, of: account).keys {
            guard let item = try item(connection, of: contact, account) else { continue }
            try save(connection, of: contact, item.withoutSubscription)
        }
    }

    static func deleteAll(_ connection: Connection, of account: BareJID) throws {
        try connection.execute(
            "DELETE FROM roster_items WHERE account = ?", .text(account.description))
    }

    /// Between the names of groups: a character that XML, and so no name, can hold.
    private static let separator = "\u{1F}"

    private static func read(_ row: ResultRow) -> RosterItem? {
        guard let contact = row.text(0).flatMap({ try? BareJID($0) }) else { return nil }
        var item = RosterItem(contact)
        item.name = row.text(1) ?? ""
        item.groups = (row.text(2) ?? "").split(separator: separator).map(String.init)
        let bits = row.integer(3)
        item.state = SubscriptionState(
            to: bits & 1 != 0, from: bits & 2 != 0, pendingOut: bits & 4 != 0,
            pendingIn: bits & Int64(pendingIn) != 0, isApproved: bits & 16 != 0)
        item.isListed = row.integer(4) != 0
        item.request = row.blob(5)
        return item
    }

    // MARK: Backups

    /// Gives an account the contacts that a backup has and it has not, and both sides their
    /// subscriptions. Gives the number.
    static func merge(
        _ account: BareJID, from backup: Database, _ connection: Connection
    ) throws -> Int {
        let (theirs, back) = try backup.readNow { connection in
            let items = try items(connection, of: account)
            var back: [BareJID: RosterItem] = [:]
            for contact in items.keys {
                back[contact] = try item(connection, of: contact, account)
            }
            return (items, back)
        }
        var count = 0
        for (contact, item) in theirs {
            guard try self.item(connection, of: account, contact) == nil else { continue }
            count += 1
            let other = try self.item(connection, of: contact, account)
            // As long as the contact has done nothing about it since.
            let isFree = other.map { $0.withoutSubscription == $0 } ?? (back[contact] == nil)
            try save(connection, of: account, isFree ? item : item.withoutSubscription)
            if isFree, let other, let before = back[contact] {
                var restored = other
                restored.state = before.state
                try save(connection, of: contact, restored)
            }
        }
        return count
    }
}
