// Every SQL statement that looks something up in an archive.

internal import Addresses
internal import Engine
internal import Storage
internal import XMPP

/// What of an archive is wanted, in the database's terms.
struct ArchiveSelection: Sendable {
    /// The number of the archive's owner.
    let owner: Int64
    /// The number of the other side's bare address; nil for everybody.
    var contact: Int64?
    /// The full address of the other side, when only that is wanted.
    var resource: JID?
    /// Messages between these, both excluded.
    var after: Int64 = 0
    var before: Int64 = .max
    /// Received between these, both included, in milliseconds since 1970.
    var start: Int64?
    var end: Int64?
    /// A `MATCH` expression of `SearchText`.
    var words: String?
    /// Only these, from old to new; nil for all.
    var ids: [Int64]?
    /// The last ones of the selection, not the first.
    var fromEnd = false

    /// Whether nothing has to be read to know how many they are.
    var isCountedByIndex: Bool {
        start == nil && end == nil && words == nil && ids == nil && resource == nil
    }

    func contains(_ time: Int64) -> Bool {
        (start.map { time >= $0 } ?? true) && (end.map { time <= $0 } ?? true)
    }
}

/// A page of an archive.
struct ArchivePage: Sendable {
    /// From old to new.
    var messages: [StoredMessage] = []
    /// Whether the selection has no more in the direction that was asked for.
    var isComplete = true
}

enum ArchiveQueryStore {
    private static let columns =
        "messages.id, messages.received, messages.keepers, messages.stanza"
    /// Messages of the archive ?1 that have not settled: between the owner and ?4, or anybody.
    private static let isLatest = """
        messages.id > (SELECT settled FROM message_state)
        AND messages.id > ?2 AND messages.id < ?3
        AND ((messages.sender = ?1 AND messages.keepers & 1
                AND (?4 IS NULL OR messages.receiver = ?4))
            OR (messages.receiver = ?1 AND messages.keepers & 2
                AND (?4 IS NULL OR messages.sender = ?4)))
        """

    /// A page of at most so many messages and about so many bytes.
    static func page(
        _ connection: Connection, _ selection: ArchiveSelection, limit: Int, bytes: Int
    ) throws -> ArchivePage {
        var collector = Collector(selection, limit: limit, bytes: bytes)
        try collect(connection, selection, &collector)
        return collector.page
    }

    private static func collect(
        _ connection: Connection, _ selection: ArchiveSelection, _ collector: inout Collector
    ) throws {
        var selection = selection
        selection.after = max(selection.after, try removed(connection, selection.owner))
        if let ids = selection.ids {
            try these(connection, ids, selection, &collector)
        } else if let words = selection.words {
            try search(connection, words, selection, &collector)
        } else if selection.fromEnd {
            try latest(connection, selection, &collector)
            try settled(connection, selection, &collector)
        } else {
            try settled(connection, selection, &collector)
            try latest(connection, selection, &collector)
        }
    }

    private static func these(
        _ connection: Connection, _ ids: [Int64], _ selection: ArchiveSelection,
        _ collector: inout Collector
    ) throws {
        let words = selection.words.map { match($0, selection.owner) }
        for id in selection.fromEnd ? ids.reversed() : ids where !collector.isFull {
            guard id > selection.after, id < selection.before else { continue }
            try connection.scan(
                """
                SELECT \(columns) FROM messages WHERE id = ?2
                    AND ((sender = ?1 AND keepers & 1 AND (?3 IS NULL OR receiver = ?3))
                        OR (receiver = ?1 AND keepers & 2 AND (?3 IS NULL OR sender = ?3)))
                    AND (?4 IS NULL OR id IN (
                        SELECT rowid FROM archive_text WHERE archive_text MATCH ?4 AND rowid = ?2))
                """,
                .integer(selection.owner), .integer(id),
                selection.contact.map { .integer($0) } ?? .null, words.map { .text($0) } ?? .null,
                while: { collector.take($0) })
        }
    }

    private static func match(_ words: String, _ owner: Int64) -> String {
        "body : (\(words)) AND owners : \"o\(owner)\""
    }

    private static func settled(
        _ connection: Connection, _ selection: ArchiveSelection, _ collector: inout Collector
    ) throws {
        guard !collector.isFull else { return }
        var (after, before) = (selection.after, selection.before)
        if selection.start != nil || selection.end != nil {
            guard let span = try span(connection, selection) else { return }
            after = max(after, span.lowerBound - 1)
            before = min(before, span.upperBound &+ 1)
        }
        let order = selection.fromEnd ? "DESC" : "ASC"
        let isContact = selection.contact == nil ? "?4 IS NULL" : "contact = ?4"
        // The archive's own order is that of the messages' numbers; which index has it depends on
        // whether there is a contact.
        try connection.scan(
            """
            SELECT \(columns) FROM archive_entries JOIN messages ON messages.id = message
            WHERE owner = ?1 AND message > ?2 AND message < ?3 AND \(isContact)
            ORDER BY message \(order)
            """,
            .integer(selection.owner), .integer(after), .integer(before),
            selection.contact.map { .integer($0) } ?? .null, while: { collector.take($0) })
    }

    private static func latest(
        _ connection: Connection, _ selection: ArchiveSelection, _ collector: inout Collector
    ) throws {
        guard !collector.isFull else { return }
        try connection.scan(
            """
            SELECT \(columns) FROM messages WHERE \(isLatest)
            ORDER BY messages.id \(selection.fromEnd ? "DESC" : "ASC")
            """,
            .integer(selection.owner), .integer(selection.after), .integer(selection.before),
            selection.contact.map { .integer($0) } ?? .null, while: { collector.take($0) })
    }

    private static func search(
        _ connection: Connection, _ words: String, _ selection: ArchiveSelection,
        _ collector: inout Collector
    ) throws {
        try connection.scan(
            """
            SELECT \(columns) FROM archive_text JOIN messages ON messages.id = archive_text.rowid
            WHERE archive_text MATCH ?5 AND archive_text.rowid > ?2 AND archive_text.rowid < ?3
                AND ((sender = ?1 AND keepers & 1 AND (?4 IS NULL OR receiver = ?4))
                    OR (receiver = ?1 AND keepers & 2 AND (?4 IS NULL OR sender = ?4)))
            ORDER BY archive_text.rowid \(selection.fromEnd ? "DESC" : "ASC")
            """,
            .integer(selection.owner), .integer(selection.after), .integer(selection.before),
            selection.contact.map { .integer($0) } ?? .null,
            .text(match(words, selection.owner)),
            while: { collector.take($0) })
    }

    /// The settled messages among which are all that were received in a time. Clocks jump, so
    /// the order of times is not that of numbers; but within a batch they are never far apart.
    private static func span(
        _ connection: Connection, _ selection: ArchiveSelection
    ) throws -> ClosedRange<Int64>? {
        let ends = try connection.first(
            """
            SELECT min(first), max(last) FROM archive_spans WHERE latest >= ? AND earliest <= ?
            """, .integer(selection.start ?? .min), .integer(selection.end ?? .max)
        ) { ($0.integer(0), $0.integer(1)) }
        guard let (first, last) = ends, first > 0, last >= first else { return nil }
        return first...last
    }

    /// The number of the account with the longest archive; nil when there is none.
    static func longest(_ connection: Connection) throws -> Int64? {
        try connection.first(
            """
            SELECT owner FROM (
                SELECT owner, messages FROM archive_usage
                UNION ALL
                SELECT sender, count(*) FROM messages
                WHERE id > (SELECT settled FROM message_state) AND keepers & 1 GROUP BY sender
                UNION ALL
                SELECT receiver, count(*) FROM messages
                WHERE id > (SELECT settled FROM message_state) AND keepers & 2 GROUP BY receiver
            ) WHERE owner NOT IN (SELECT owner FROM archive_removals)
            GROUP BY owner ORDER BY sum(messages) DESC LIMIT 1
            """
        ) { $0.integer(0) }
    }

    /// How many messages a selection has.
    static func count(_ connection: Connection, _ selection: ArchiveSelection) throws -> Int {
        guard selection.isCountedByIndex else {
            var collector = Collector(selection, limit: 0, bytes: 0)
            collector.onlyCounts = true
            try collect(connection, selection, &collector)
            return collector.count
        }
        let after = max(selection.after, try removed(connection, selection.owner))
        let contact: SQLValue = selection.contact.map { .integer($0) } ?? .null
        let isContact = selection.contact == nil ? "?4 IS NULL" : "contact = ?4"
        let settled = try connection.first(
            """
            SELECT count(*) FROM archive_entries
            WHERE owner = ?1 AND message > ?2 AND message < ?3 AND \(isContact)
            """,
            .integer(selection.owner), .integer(after), .integer(selection.before), contact
        ) { Int($0.integer(0)) }
        let latest = try connection.first(
            "SELECT count(*) FROM messages WHERE \(isLatest)",
            .integer(selection.owner), .integer(after), .integer(selection.before), contact
        ) { Int($0.integer(0)) }
        return (settled ?? 0) + (latest ?? 0)
    }

    /// The messages of these numbers that an archive lists, from old to new.
    static func messages(
        _ connection: Connection, of owner: Int64, _ ids: [Int64]
    ) throws -> [StoredMessage] {
        let removed = try removed(connection, owner)
        return try ids.sorted().compactMap { id in
            guard id > removed else { return nil }
            return try connection.first(
                """
                SELECT \(columns) FROM messages WHERE id = ?2
                    AND ((sender = ?1 AND keepers & 1) OR (receiver = ?1 AND keepers & 2))
                """, .integer(owner), .integer(id)
            ) { StoredMessage($0) }
        }
    }

    /// The first and the last message of an archive.
    static func ends(
        _ connection: Connection, of owner: Int64
    ) throws -> (first: StoredMessage, last: StoredMessage)? {
        var selection = ArchiveSelection(owner: owner)
        let first = try page(connection, selection, limit: 1, bytes: .max).messages.first
        selection.fromEnd = true
        let last = try page(connection, selection, limit: 1, bytes: .max).messages.last
        guard let first, let last else { return nil }
        return (first, last)
    }

    /// Messages up to this number are gone for the owner, and are being deleted.
    private static func removed(_ connection: Connection, _ owner: Int64) throws -> Int64 {
        try connection.first(
            "SELECT through FROM archive_removals WHERE owner = ?", .integer(owner)
        ) { $0.integer(0) } ?? 0
    }
}

/// Takes rows until the page is full.
private struct Collector {
    private let selection: ArchiveSelection
    private let limit: Int
    private let byteLimit: Int
    private var messages: [StoredMessage] = []
    private var bytes = 0
    private(set) var isFull = false
    var onlyCounts = false
    private(set) var count = 0

    init(_ selection: ArchiveSelection, limit: Int, bytes: Int) {
        self.selection = selection
        self.limit = limit
        byteLimit = bytes
    }

    /// False once there is more than the page can have.
    mutating func take(_ row: ResultRow) -> Bool {
        guard selection.contains(row.integer(1)) else { return true }
        if onlyCounts {
            if selection.resource == nil || isWanted(StoredMessage(row)) { count += 1 }
            return true
        }
        guard messages.count < limit, messages.isEmpty || bytes < byteLimit else {
            guard isWanted(StoredMessage(row)) else { return true }
            isFull = true
            return false
        }
        let message = StoredMessage(row)
        guard isWanted(message) else { return true }
        messages.append(message)
        bytes += message.stanza.count
        return true
    }

    /// Whether the other side is the resource that is wanted.
    private func isWanted(_ message: StoredMessage) -> Bool {
        guard let resource = selection.resource else { return true }
        guard let stanza = Stanza(routed: message.stanza) else { return false }
        return stanza.from == resource || stanza.to == resource
    }

    var page: ArchivePage {
        ArchivePage(
            messages: selection.fromEnd ? messages.reversed() : messages, isComplete: !isFull)
    }
}
