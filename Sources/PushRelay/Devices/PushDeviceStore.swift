// Every SQL statement about devices that apps registered by HTTP: what their user calls them, the tags
// and the alias that they are reached by, what their icon shows. Their tokens are `push_targets`.

internal import Addresses
internal import Storage

/// A device that an app has registered.
struct PushDeviceRow: Sendable, Equatable {
    var id: Int64 = 0
    var account: BareJID
    /// The app's name for it; one of a kind in the account.
    var name: String
    /// Another name for the account, in the owner's other programs.
    var alias: String?
    var tags: [String] = []
    /// What its icon shows, as far as it was told.
    var badge: Int64 = 0
    /// Seconds since 1970.
    var created: Int64
    var refreshed: Int64
    /// When its app was reached over its own connection last.
    var reached: Int64?
}

enum PushDeviceStore {
    static let schema = [
        SchemaStep(
            "push_devices", 1,
            """
            CREATE TABLE push_devices (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                account TEXT NOT NULL,
                name TEXT NOT NULL,
                alias TEXT,
                badge INTEGER NOT NULL DEFAULT 0,
                created INTEGER NOT NULL,
                refreshed INTEGER NOT NULL,
                reached INTEGER,
                UNIQUE (account, name)
            );
            CREATE INDEX push_devices_alias ON push_devices (alias) WHERE alias IS NOT NULL;
            CREATE TABLE push_tags (
                tag TEXT NOT NULL,
                device INTEGER NOT NULL,
                PRIMARY KEY (tag, device)
            ) WITHOUT ROWID;
            CREATE INDEX push_tags_device ON push_tags (device);
            """)
    ]

    private static let columns =
        "id, account, name, alias, badge, created, refreshed, reached"

    private static func device(_ row: ResultRow) -> PushDeviceRow? {
        guard let account = row.text(1).flatMap({ try? JID($0) })?.bare, let name = row.text(2)
        else { return nil }
        return PushDeviceRow(
            id: row.integer(0), account: account, name: name, alias: row.text(3),
            badge: row.integer(4), created: row.integer(5), refreshed: row.integer(6),
            reached: row.optionalInteger(7))
    }

    // MARK: Changes

    /// Keeps a device, with the number that it had if it was known. Gives that, and whether it is
    /// new.
    static func put(
        _ connection: Connection, _ device: PushDeviceRow
    ) throws -> (id: Int64, isNew: Bool) {
        let known = try find(connection, device.account, device.name)
        if let known {
            try connection.execute(
                "UPDATE push_devices SET alias = ?, badge = ?, refreshed = ? WHERE id = ?",
                SQLValue(device.alias), .integer(device.badge), .integer(device.refreshed),
                .integer(known.id))
        } else {
            try connection.execute(
                """
                INSERT INTO push_devices (account, name, alias, badge, created, refreshed)
                VALUES (?, ?, ?, ?, ?, ?)
                """,
                .text(device.account.description), .text(device.name), SQLValue(device.alias),
                .integer(device.badge), .integer(device.created), .integer(device.refreshed))
        }
        let id = known?.id ?? connection.lastInsertedRow
        try connection.execute("DELETE FROM push_tags WHERE device = ?", .integer(id))
        for tag in device.tags {
            try connection.execute(
                "INSERT OR IGNORE INTO push_tags (tag, device) VALUES (?, ?)", .text(tag),
                .integer(id))
        }
        return (id, known == nil)
    }

    /// Removes a device with its tokens; what waits for them is dropped. Gives the numbers of those.
    static func remove(_ connection: Connection, _ id: Int64) throws -> [Int64] {
        let tokens = try tokens(connection, of: id).map(\.id)
        for token in tokens { try PushTargetStore.remove(connection, token) }
        try connection.execute("DELETE FROM push_tags WHERE device = ?", .integer(id))
        try connection.execute("DELETE FROM push_devices WHERE id = ?", .integer(id))
        return tokens
    }

    /// Devices whose last token made room for others.
    static func removeEmpty(_ connection: Connection, of account: BareJID) throws {
        for device in try devices(connection, of: account)
        where try tokens(connection, of: device.id).isEmpty {
            _ = try remove(connection, device.id)
        }
    }

    static func removeAll(_ connection: Connection, of account: BareJID) throws {
        for device in try devices(connection, of: account) {
            _ = try remove(connection, device.id)
        }
    }

    /// What its icon shows becomes this, or so much more. Gives that.
    static func setBadge(
        _ connection: Connection, _ id: Int64, _ badge: PushContent.Badge
    ) throws -> Int64 {
        let (isSum, count) =
            switch badge {
            case .set(let count): (false, count)
            case .add(let count): (true, count)
            }
        try connection.execute(
            """
            UPDATE push_devices SET badge = min(max(iif(?, badge, 0) + ?, 0), 999999) WHERE id = ?
            """, .integer(isSum ? 1 : 0), .integer(Int64(count)), .integer(id))
        return try connection.first(
            "SELECT badge FROM push_devices WHERE id = ?", .integer(id)
        ) { $0.integer(0) } ?? 0
    }

    /// Its app took something over its own connection.
    static func noteReached(_ connection: Connection, _ id: Int64, now: Int64) throws {
        try connection.execute(
            "UPDATE push_devices SET reached = ? WHERE id = ?", .integer(now), .integer(id))
    }

    // MARK: Questions

    static func find(
        _ connection: Connection, _ account: BareJID, _ name: String
    ) throws -> PushDeviceRow? {
        try connection.first(
            "SELECT \(columns) FROM push_devices WHERE account = ? AND name = ?",
            .text(account.description), .text(name)
        ) { device($0) } ?? nil
    }

    static func device(_ connection: Connection, _ id: Int64) throws -> PushDeviceRow? {
        try connection.first(
            "SELECT \(columns) FROM push_devices WHERE id = ?", .integer(id)
        ) { device($0) } ?? nil
    }

    /// With their tags, by name.
    static func devices(
        _ connection: Connection, of account: BareJID
    ) throws -> [PushDeviceRow] {
        var devices: [PushDeviceRow] = []
        try connection.rows(
            "SELECT \(columns) FROM push_devices WHERE account = ? ORDER BY name",
            .text(account.description)
        ) { row in
            if let device = device(row) { devices.append(device) }
        }
        for index in devices.indices {
            devices[index].tags = try tags(connection, of: devices[index].id)
        }
        return devices
    }

    /// Some of all devices, by number, with their tags.
    ///
    /// - Parameters:
    ///   - account: only this one's; nil for everybody's. The same of the tag and the alias.
    ///   - id: the last that is known.
    static func devices(
        _ connection: Connection, of account: BareJID?, tag: String?, alias: String?,
        after id: Int64, limit: Int
    ) throws -> [PushDeviceRow] {
        var devices: [PushDeviceRow] = []
        try connection.rows(
            """
            SELECT \(columns) FROM push_devices d
            WHERE id > ?1 AND (?2 IS NULL OR account = ?2) AND (?3 IS NULL OR alias = ?3)
                AND (?4 IS NULL OR EXISTS (
                    SELECT 1 FROM push_tags g WHERE g.tag = ?4 AND g.device = d.id))
            ORDER BY id LIMIT ?5
            """, .integer(id), SQLValue(account?.description), SQLValue(alias), SQLValue(tag),
            .integer(Int64(limit))
        ) { row in
            if let device = device(row) { devices.append(device) }
        }
        for index in devices.indices {
            devices[index].tags = try tags(connection, of: devices[index].id)
        }
        return devices
    }

    static func tags(_ connection: Connection, of device: Int64) throws -> [String] {
        var tags: [String] = []
        try connection.rows(
            "SELECT tag FROM push_tags WHERE device = ? ORDER BY tag", .integer(device)
        ) { tags.append($0.text(0) ?? "") }
        return tags
    }

    /// A device's tokens in their order.
    static func tokens(_ connection: Connection, of device: Int64) throws -> [PushTargetRow] {
        var tokens: [PushTargetRow] = []
        try connection.rows(
            "SELECT \(PushTargetStore.columns) FROM push_targets t WHERE t.device = ? ORDER BY t.rank",
            .integer(device)
        ) { row in
            if let token = PushTargetStore.target(row) { tokens.append(token) }
        }
        return tokens
    }

    /// Whose a token is that a device has; nil if none has it.
    static func owner(
        of fingerprint: [UInt8], _ connection: Connection
    ) throws -> (target: Int64, device: Int64)? {
        try connection.first(
            "SELECT id, device FROM push_targets WHERE fingerprint = ? AND device IS NOT NULL",
            .blob(fingerprint)
        ) { ($0.integer(0), $0.integer(1)) }
    }

    /// Whether an alias is somebody else's.
    static func isTaken(
        _ connection: Connection, alias: String, byOtherThan account: BareJID
    ) throws -> Bool {
        try connection.first(
            "SELECT 1 FROM push_devices WHERE alias = ? AND account <> ? LIMIT 1", .text(alias),
            .text(account.description)
        ) { _ in true } ?? false
    }
}
