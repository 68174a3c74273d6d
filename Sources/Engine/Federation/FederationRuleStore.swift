// Every SQL statement about the rules that an administrator gave by command.

internal import Storage

enum FederationRuleStore {
    static let schema = [
        SchemaStep(
            "federation_rules", 1,
            """
            CREATE TABLE federation_rules (
                domain TEXT NOT NULL,
                incoming INTEGER NOT NULL,
                allowed INTEGER NOT NULL,
                PRIMARY KEY (domain, incoming)
            ) WITHOUT ROWID;
            """)
    ]

    static func all(_ connection: Connection) throws -> [FederationRule] {
        var rules: [FederationRule] = []
        try connection.rows(
            "SELECT domain, incoming, allowed FROM federation_rules ORDER BY domain, incoming"
        ) { row in
            guard let pattern = DomainPattern(row.text(0) ?? "") else { return }
            rules.append(
                FederationRule(
                    pattern: pattern, direction: row.integer(1) == 0 ? .outgoing : .incoming,
                    isAllowed: row.integer(2) != 0))
        }
        return rules
    }

    static func set(_ connection: Connection, _ rule: FederationRule) throws {
        try connection.execute(
            """
            INSERT INTO federation_rules (domain, incoming, allowed) VALUES (?, ?, ?)
            ON CONFLICT (domain, incoming) DO UPDATE SET allowed = excluded.allowed
            """, .text(rule.pattern.description),
            .integer(rule.direction == .incoming ? 1 : 0), .integer(rule.isAllowed ? 1 : 0))
    }

    static func remove(
        _ connection: Connection, _ pattern: DomainPattern, _ direction: FederationDirection
    ) throws {
        try connection.execute(
            "DELETE FROM federation_rules WHERE domain = ? AND incoming = ?",
            .text(pattern.description), .integer(direction == .incoming ? 1 : 0))
    }
}
