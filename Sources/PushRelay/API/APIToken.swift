// Tokens that programs of the owner's show: who has one may do what its scopes say, until its time is
// over or it is revoked. Only a digest of a token is kept, so that nobody finds one in the database.

internal import Engine
internal import Storage
internal import Synchronization
internal import TLS

/// What a token allows.
public enum APIScope: String, Codable, Sendable, CaseIterable {
    /// To tell something to users, devices, tags and aliases.
    case send
    /// To tell everybody something.
    case broadcast
    /// To see which devices there are.
    case devices
}

/// A token as it is kept.
struct APIToken: Sendable, Equatable {
    /// Bytes that are random in one.
    private static let length = 32
    private static let prefix = "kinglet_"

    var id: Int64 = 0
    var name: String
    var digest: [UInt8]
    var scopes: Set<APIScope>
    /// Requests a minute.
    var rate: Int
    /// Seconds since 1970.
    var created: Int64
    /// Nil for never.
    var expires: Int64?
    /// When it was shown last, within a minute.
    var used: Int64?

    /// A new one's text.
    static func make() -> String { prefix + SecureRandom.identifier(bytes: length) }

    /// What is kept of one. It is random, so that no stretching is needed.
    static func digest(_ text: String) -> [UInt8] {
        DigestAlgorithm.sha256.hash(Array(text.utf8))
    }
}

/// Every SQL statement about tokens.
enum APITokenStore {
    static let schema = [
        SchemaStep(
            "push_api_tokens", 1,
            """
            CREATE TABLE push_api_tokens (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                name TEXT NOT NULL UNIQUE,
                digest BLOB NOT NULL UNIQUE,
                scopes TEXT NOT NULL,
                rate INTEGER NOT NULL,
                created INTEGER NOT NULL,
                expires INTEGER,
                used INTEGER
            );
            """)
    ]

    static func all(_ connection: Connection) throws -> [APIToken] {
        var tokens: [APIToken] = []
        try connection.rows(
            """
            SELECT id, name, digest, scopes, rate, created, expires, used FROM push_api_tokens
            ORDER BY name
            """
        ) { row in
            let scopes = (row.text(3) ?? "").split(separator: " ")
            tokens.append(
                APIToken(
                    id: row.integer(0), name: row.text(1) ?? "", digest: row.blob(2),
                    scopes: Set(scopes.compactMap { APIScope(rawValue: String($0)) }),
                    rate: Int(clamping: row.integer(4)), created: row.integer(5),
                    expires: row.optionalInteger(6), used: row.optionalInteger(7)))
        }
        return tokens
    }

    /// Nil if there is one of this name.
    static func insert(_ connection: Connection, _ token: APIToken) throws -> Int64? {
        try connection.execute(
            """
            INSERT OR IGNORE INTO push_api_tokens (name, digest, scopes, rate, created, expires)
            VALUES (?, ?, ?, ?, ?, ?)
            """,
            .text(token.name), .blob(token.digest),
            .text(token.scopes.map(\.rawValue).sorted().joined(separator: " ")),
            .integer(Int64(token.rate)), .integer(token.created),
            token.expires.map { .integer($0) } ?? .null)
        return connection.changes == 1 ? connection.lastInsertedRow : nil
    }

    static func contains(_ connection: Connection, _ id: Int64) throws -> Bool {
        try connection.first(
            "SELECT 1 FROM push_api_tokens WHERE id = ?", .integer(id)
        ) { _ in true } ?? false
    }

    static func remove(_ connection: Connection, _ id: Int64) throws {
        try connection.execute("DELETE FROM push_api_tokens WHERE id = ?", .integer(id))
    }

    static func noteUsed(_ connection: Connection, _ id: Int64, now: Int64) throws {
        try connection.execute(
            "UPDATE push_api_tokens SET used = ? WHERE id = ?", .integer(now), .integer(id))
    }
}

/// The tokens that are good. Safe on any thread.
final class APITokens: Sendable {
    /// Why a token is not taken.
    enum Refusal: Error, Equatable {
        case missing
        case unknown
        case expired
        /// Seconds until one more request is taken.
        case rate(seconds: Int)
    }

    private struct Entry {
        var token: APIToken
        var bucket: Double
        var filledAt: Int64
    }

    private let entries = Mutex<[[UInt8]: Entry]>([:])

    func load(_ tokens: [APIToken]) {
        for token in tokens { insert(token) }
    }

    func insert(_ token: APIToken) {
        entries.withLock {
            $0[token.digest] = Entry(token: token, bucket: Double(token.rate), filledAt: 0)
        }
    }

    func remove(_ digest: [UInt8]) { entries.withLock { $0[digest] = nil } }

    /// The token of an `Authorization` header, if it is good now, and whether its use is to be
    /// written down.
    func take(
        _ header: String?, now: PushMoment
    ) -> Result<(token: APIToken, isNoted: Bool), Refusal> {
        guard let header, header.utf8.count <= 200,
            header.prefix(7).lowercased() == "bearer "
        else { return .failure(.missing) }
        let text = header.dropFirst(7).drop { $0 == " " }
        let digest = APIToken.digest(String(text))
        return entries.withLock { entries in
            // A digest tells nothing of others, however long it is compared.
            guard var entry = entries[digest] else { return .failure(.unknown) }
            let seconds = now.wall / 1000
            if let expires = entry.token.expires, seconds >= expires {
                return .failure(.expired)
            }
            let rate = Double(entry.token.rate)
            let earned = Double(max(0, now.monotonic - entry.filledAt)) * rate / 60_000
            entry.bucket = min(rate, entry.bucket + earned)
            entry.filledAt = now.monotonic
            defer { entries[digest] = entry }
            guard entry.bucket >= 1 else {
                return .failure(.rate(seconds: Int((1 - entry.bucket) * 60 / rate) + 1))
            }
            entry.bucket -= 1
            let isNoted = entry.token.used.map { abs(seconds - $0) >= 60 } ?? true
            if isNoted { entry.token.used = seconds }
            return .success((entry.token, isNoted))
        }
    }
}
