// Every SQL statement about targets: whom accounts want to be woken by (XEP-0357, or a target of their
// own), and the devices that registered with our own app server. A target never disappears without
// a trace: one that is disabled stays, with the reason, until it is removed or enabled again.

internal import Addresses
internal import Storage

/// A target as it lies in the database.
struct PushTargetRow: Sendable, Equatable {
    var id: Int64 = 0
    var provider: ProviderKind
    /// Of the configuration.
    var app = ""
    /// Whom it wakes; nil for a node of the app server.
    var account: BareJID?
    /// The client's resource; nil for the account as a whole.
    var resource: String?
    /// XEP-0357: the app server; of a node of ours, a name for its owner.
    var service = ""
    /// What stands for the node (`PushKeys.nodeName`); the node itself is sealed.
    var node = ""
    /// Of a node: where its owner's account is.
    var domain = ""
    var circuit: String
    /// What tells it from others, 32 bytes.
    var fingerprint: [UInt8]
    /// The sealed target.
    var secret: [UInt8]
    /// It is woken though another client of the account is in use.
    var isAlways = false
    /// The device that has this token besides others; nil where that is not known.
    var device: Int64?
    /// Its place among the tokens of the device: the lowest is tried first.
    var rank: Int64 = 0
    /// The device has another token to try after this one.
    var hasNext = false
    /// Seconds since 1970.
    var created: Int64
    var refreshed: Int64
    /// The last push that arrived.
    var sentAt: Int64?
    /// The last result.
    var reason: PushReason?
    var code = ""
    /// Final errors in a row.
    var failures = 0
    var disabledAt: Int64?
}

enum PushTargetStore {
    static let schema = [
        SchemaStep(
            "push", 1,
            """
            CREATE TABLE push_targets (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                provider TEXT NOT NULL,
                app TEXT NOT NULL,
                account TEXT,
                resource TEXT,
                service TEXT NOT NULL,
                node TEXT NOT NULL,
                domain TEXT NOT NULL,
                circuit TEXT NOT NULL,
                fingerprint BLOB NOT NULL,
                secret BLOB NOT NULL,
                always INTEGER NOT NULL,
                created INTEGER NOT NULL,
                refreshed INTEGER NOT NULL,
                sent INTEGER,
                reason TEXT,
                code TEXT NOT NULL DEFAULT '',
                failures INTEGER NOT NULL DEFAULT 0,
                disabled INTEGER
            );
            CREATE UNIQUE INDEX push_targets_account ON push_targets (account, fingerprint)
                WHERE account IS NOT NULL;
            CREATE UNIQUE INDEX push_targets_node ON push_targets (node) WHERE account IS NULL;
            CREATE UNIQUE INDEX push_targets_device ON push_targets (fingerprint)
                WHERE account IS NULL;
            CREATE INDEX push_targets_service ON push_targets (service, node);
            CREATE INDEX push_targets_disabled ON push_targets (disabled)
                WHERE account IS NULL AND disabled IS NOT NULL;
            CREATE TABLE push_device_counts (
                owner TEXT PRIMARY KEY,
                devices INTEGER NOT NULL
            ) WITHOUT ROWID;
            CREATE TRIGGER push_device_added AFTER INSERT ON push_targets
            WHEN NEW.account IS NULL BEGIN
                INSERT INTO push_device_counts
                VALUES ('all', 1), (iif(NEW.domain = '', NEW.service, NEW.domain), 1)
                ON CONFLICT (owner) DO UPDATE SET devices = devices + 1;
            END;
            CREATE TRIGGER push_device_removed AFTER DELETE ON push_targets
            WHEN OLD.account IS NULL BEGIN
                UPDATE push_device_counts SET devices = devices - 1
                WHERE owner IN ('all', iif(OLD.domain = '', OLD.service, OLD.domain));
            END;
            """),
        SchemaStep(
            "push", 2,
            """
            ALTER TABLE push_targets ADD COLUMN device INTEGER;
            ALTER TABLE push_targets ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;
            CREATE INDEX push_targets_tokens ON push_targets (device, rank)
                WHERE device IS NOT NULL;
            CREATE UNIQUE INDEX push_targets_token ON push_targets (fingerprint)
                WHERE device IS NOT NULL;
            """),
    ]

    static let columns = """
        t.id, t.provider, t.app, t.account, t.resource, t.service, t.node, t.domain, t.circuit,
        t.fingerprint, t.secret, t.always, t.created, t.refreshed, t.sent, t.reason, t.code,
        t.failures, t.disabled, t.device, t.rank, t.device IS NOT NULL AND EXISTS (
            SELECT 1 FROM push_targets o
            WHERE o.device = t.device AND o.rank > t.rank AND o.disabled IS NULL)
        """
    static let columnCount = 22

    static func target(_ row: ResultRow) -> PushTargetRow? {
        guard let provider = row.text(1).flatMap(ProviderKind.init(rawValue:)) else { return nil }
        var target = PushTargetRow(
            provider: provider, circuit: row.text(8) ?? "", fingerprint: row.blob(9),
            secret: row.blob(10), created: row.integer(12), refreshed: row.integer(13))
        target.id = row.integer(0)
        target.app = row.text(2) ?? ""
        target.account = row.text(3).flatMap { try? JID($0) }?.bare
        target.resource = row.text(4)
        target.service = row.text(5) ?? ""
        target.node = row.text(6) ?? ""
        target.domain = row.text(7) ?? ""
        target.isAlways = row.integer(11) != 0
        target.sentAt = row.optionalInteger(14)
        target.reason = row.text(15).flatMap(PushReason.init(rawValue:))
        target.code = row.text(16) ?? ""
        target.failures = Int(row.integer(17))
        target.disabledAt = row.optionalInteger(18)
        target.device = row.optionalInteger(19)
        target.rank = row.integer(20)
        target.hasNext = row.integer(21) != 0
        return target
    }

    // MARK: Changes

    /// Keeps a target, in the place of one with the same fingerprint, and enables it. Gives its
    /// number and whether it is new; nil if the account has so many that no other may be added.
    static func insert(
        _ connection: Connection, _ target: PushTargetRow, limit: Int
    ) throws -> (id: Int64, isNew: Bool)? {
        if let known = try find(connection, target.account, target.fingerprint) {
            try connection.execute(
                """
                UPDATE push_targets SET provider = ?, app = ?, resource = ?, circuit = ?,
                    secret = ?, always = ?, refreshed = ?, device = ?, rank = ?, failures = 0,
                    disabled = NULL
                WHERE id = ?
                """,
                .text(target.provider.rawValue), .text(target.app), SQLValue(target.resource),
                .text(target.circuit), .blob(target.secret), .integer(target.isAlways ? 1 : 0),
                .integer(target.refreshed), target.device.map { .integer($0) } ?? .null,
                .integer(target.rank), .integer(known))
            return (known, false)
        }
        if let account = target.account {
            let count =
                try connection.first(
                    "SELECT count(*) FROM push_targets WHERE account = ?",
                    .text(account.description)
                ) { $0.integer(0) } ?? 0
            if count >= Int64(limit) {
                // Those that are disabled make room, the oldest first.
                let oldest = try connection.first(
                    """
                    SELECT id FROM push_targets WHERE account = ? AND disabled IS NOT NULL
                    ORDER BY disabled LIMIT 1
                    """, .text(account.description)
                ) { $0.integer(0) }
                guard let oldest else { return nil }
                try remove(connection, oldest)
            }
        }
        try connection.execute(
            """
            INSERT INTO push_targets (
                provider, app, account, resource, service, node, domain, circuit, fingerprint,
                secret, always, created, refreshed, device, rank
            ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            .text(target.provider.rawValue), .text(target.app),
            SQLValue(target.account?.description), SQLValue(target.resource),
            .text(target.service), .text(target.node), .text(target.domain),
            .text(target.circuit), .blob(target.fingerprint), .blob(target.secret),
            .integer(target.isAlways ? 1 : 0), .integer(target.created),
            .integer(target.refreshed), target.device.map { .integer($0) } ?? .null,
            .integer(target.rank))
        return (connection.lastInsertedRow, true)
    }

    /// Keeps a device of the app server; nil if there are so many that no other may be added.
    ///
    /// - Parameters:
    ///   - limit: of all. Those that are disabled make room, the oldest first.
    ///   - share: of those of the device's domain, or of its service where it has none: nobody fills
    ///     the table for all others.
    static func insertDevice(
        _ connection: Connection, _ device: PushTargetRow, limit: Int, share: Int
    ) throws -> Int64? {
        if try find(connection, nil, device.fingerprint) == nil {
            let owner = device.domain.isEmpty ? device.service : device.domain
            guard try count(connection, inShareOf: owner) < share else { return nil }
            if try count(connection, inShareOf: "all") >= limit {
                let oldest = try connection.first(
                    """
                    SELECT id FROM push_targets WHERE account IS NULL AND disabled IS NOT NULL
                    ORDER BY disabled LIMIT 1
                    """
                ) { $0.integer(0) }
                guard let oldest else { return nil }
                try remove(connection, oldest)
            }
        }
        return try insert(connection, device, limit: limit)?.id
    }

    private static func count(
        _ connection: Connection, inShareOf owner: String
    ) throws -> Int {
        Int(
            try connection.first(
                "SELECT devices FROM push_device_counts WHERE owner = ?", .text(owner)
            ) { $0.integer(0) } ?? 0)
    }

    /// How many devices of the app server are somebody's.
    static func count(_ connection: Connection, ownedBy owner: String) throws -> Int {
        Int(
            try connection.first(
                "SELECT count(*) FROM push_targets WHERE service = ? AND account IS NULL",
                .text(owner)
            ) { $0.integer(0) } ?? 0)
    }

    private static func find(
        _ connection: Connection, _ account: BareJID?, _ fingerprint: [UInt8]
    ) throws -> Int64? {
        guard let account else {
            return try connection.first(
                "SELECT id FROM push_targets WHERE account IS NULL AND fingerprint = ?",
                .blob(fingerprint)
            ) { $0.integer(0) }
        }
        return try connection.first(
            "SELECT id FROM push_targets WHERE account = ? AND fingerprint = ?",
            .text(account.description), .blob(fingerprint)
        ) { $0.integer(0) }
    }

    /// Removes a target, and what waits for it is dropped. What programs wanted to tell it finds
    /// nobody.
    static func remove(_ connection: Connection, _ id: Int64) throws {
        try PushQueueStore.drop(connection, id)
        try connection.execute("DELETE FROM push_targets WHERE id = ?", .integer(id))
    }

    /// Nothing more is sent to it. Gives the account's targets that lead to a node, which end with it.
    static func disable(
        _ connection: Connection, _ id: Int64, _ reason: PushReason, _ code: String, now: Int64
    ) throws {
        try connection.execute(
            """
            UPDATE push_targets SET disabled = ?, reason = ?, code = ? WHERE id = ?
                AND disabled IS NULL
            """, .integer(now), .text(reason.rawValue), .text(code), .integer(id))
    }

    /// The sealed target, and the way that it goes, are others from now on.
    static func update(
        _ connection: Connection, _ id: Int64, secret: [UInt8], circuit: String
    ) throws {
        try connection.execute(
            "UPDATE push_targets SET secret = ?, circuit = ? WHERE id = ?", .blob(secret),
            .text(circuit), .integer(id))
    }

    /// A push arrived.
    static func noteSent(_ connection: Connection, _ id: Int64, now: Int64) throws {
        try connection.execute(
            """
            UPDATE push_targets SET sent = ?, reason = 'accepted', code = '', failures = 0
            WHERE id = ?
            """, .integer(now), .integer(id))
    }

    /// A push did not arrive.
    static func noteFailure(
        _ connection: Connection, _ id: Int64, _ reason: PushReason, _ code: String,
        isFinal: Bool
    ) throws {
        try connection.execute(
            """
            UPDATE push_targets SET reason = ?, code = ?, failures = failures + ? WHERE id = ?
            """, .text(reason.rawValue), .text(code), .integer(isFinal ? 1 : 0), .integer(id))
    }

    // MARK: Questions

    static func target(_ connection: Connection, _ id: Int64) throws -> PushTargetRow? {
        try connection.first(
            "SELECT \(columns) FROM push_targets t WHERE t.id = ?", .integer(id)
        ) { target($0) } ?? nil
    }

    /// A node of our own app server.
    static func node(_ connection: Connection, _ node: String) throws -> PushTargetRow? {
        try connection.first(
            "SELECT \(columns) FROM push_targets t WHERE t.node = ? AND t.account IS NULL",
            .text(node)
        ) { target($0) } ?? nil
    }

    /// A device of our own app server.
    static func device(
        _ connection: Connection, _ fingerprint: [UInt8]
    ) throws -> PushTargetRow? {
        try connection.first(
            """
            SELECT \(columns) FROM push_targets t WHERE t.fingerprint = ? AND t.account IS NULL
            """, .blob(fingerprint)
        ) { target($0) } ?? nil
    }

    /// The token of a device that is to be tried after one; nil if there is none.
    static func next(
        _ connection: Connection, after target: PushTargetRow
    ) throws -> PushTargetRow? {
        guard let device = target.device else { return nil }
        return try connection.first(
            """
            SELECT \(columns) FROM push_targets t
            WHERE t.device = ? AND t.rank > ? AND t.disabled IS NULL ORDER BY t.rank LIMIT 1
            """, .integer(device), .integer(target.rank)
        ) { Self.target($0) } ?? nil
    }

    /// All targets of an account, in the order in which they came.
    static func targets(
        _ connection: Connection, of account: BareJID
    ) throws -> [PushTargetRow] {
        var targets: [PushTargetRow] = []
        try connection.rows(
            "SELECT \(columns) FROM push_targets t WHERE t.account = ? ORDER BY t.id",
            .text(account.description)
        ) { row in
            if let target = target(row) { targets.append(target) }
        }
        return targets
    }

    /// Targets from a number on, for a list of all.
    static func targets(
        _ connection: Connection, after id: Int64, limit: Int
    ) throws -> [PushTargetRow] {
        var targets: [PushTargetRow] = []
        try connection.rows(
            "SELECT \(columns) FROM push_targets t WHERE t.id > ? ORDER BY t.id LIMIT ?",
            .integer(id), .integer(Int64(limit))
        ) { row in
            if let target = target(row) { targets.append(target) }
        }
        return targets
    }

    /// The accounts that want to be woken, once for each of their targets.
    static func accounts(_ connection: Connection, each: (String) -> Void) throws {
        try connection.rows("SELECT account FROM push_targets WHERE account IS NOT NULL") { row in
            if let account = row.text(0) { each(account) }
        }
    }

    /// How many there are, by provider: enabled and disabled ones.
    static func counts(
        _ connection: Connection
    ) throws -> [(provider: String, isEnabled: Bool, count: Int)] {
        var counts: [(String, Bool, Int)] = []
        try connection.rows(
            "SELECT provider, disabled IS NULL, count(*) FROM push_targets GROUP BY 1, 2"
        ) { row in
            counts.append((row.text(0) ?? "", row.integer(1) != 0, Int(row.integer(2))))
        }
        return counts
    }

    static func removeAll(_ connection: Connection, of account: BareJID) throws {
        for target in try targets(connection, of: account) { try remove(connection, target.id) }
        try PushDeviceStore.removeAll(connection, of: account)
    }

    /// The devices that an account has registered at the app server.
    static func removeAll(_ connection: Connection, ownedBy owner: String) throws {
        var ids: [Int64] = []
        try connection.rows(
            "SELECT id FROM push_targets WHERE service = ? AND account IS NULL", .text(owner)
        ) { ids.append($0.integer(0)) }
        for id in ids { try remove(connection, id) }
    }

    static func count(_ connection: Connection, of account: BareJID) throws -> Int {
        Int(
            try connection.first(
                "SELECT count(*) FROM push_targets WHERE account = ?", .text(account.description)
            ) { $0.integer(0) } ?? 0)
    }
}
