// The keys that endpoints are encrypted with. They lie in a file of their own among the secrets, so
// that endpoints outlive a restart; the newest one seals, older ones only open.

internal import TLS

/// One key.
struct EndpointKey: Sendable, Equatable {
    /// Bytes of a key and of its name.
    static let length = 32
    static let nameLength = 4

    /// Seconds since 1970.
    let created: Int64
    let bytes: [UInt8]
    /// What stands before what it sealed. Tells nothing of the key.
    let name: [UInt8]
    /// Derived, so that the bytes in the file are used for nothing else.
    let cipherKey: [UInt8]

    init?(created: Int64, bytes: [UInt8]) {
        guard bytes.count == Self.length else { return nil }
        self.created = created
        self.bytes = bytes
        name = Array(
            HKDF.sha256(secret: bytes, salt: [], info: Array("endpoint key name".utf8))
                .prefix(Self.nameLength))
        cipherKey = HKDF.sha256(secret: bytes, salt: [], info: Array("endpoint token".utf8))
    }

    /// A new one.
    static func fresh(at now: Int64) -> EndpointKey? {
        EndpointKey(created: now, bytes: SecureRandom.bytes(length))
    }
}

/// All keys that open endpoints, the newest first.
struct EndpointKeyRing: Sendable, Equatable {
    /// More are never kept: a new one each day for as long as an endpoint can live are fewer.
    static let most = 100
    private static let header = "kinglet endpoint keys 1"
    /// A key so far in the future was made while the clock was wrong.
    private static let tolerance: Int64 = 3600

    private(set) var keys: [EndpointKey] = []

    /// None yet.
    init() {}

    /// Reads the file. Lines that are none of ours are passed over: the keys that can be read still
    /// open what they sealed.
    init(file: [UInt8]) {
        for line in String(decoding: file, as: UTF8.self).split(separator: "\n").prefix(1000) {
            let words = line.split(separator: " ")
            guard keys.count < Self.most, words.count == 2, let created = Int64(words[0]),
                let bytes = Base64URL.decode(String(words[1])),
                let key = EndpointKey(created: created, bytes: bytes)
            else { continue }
            keys.append(key)
        }
    }

    /// The file.
    var file: [UInt8] {
        var text = Self.header + "\n"
        for key in keys { text += "\(key.created) \(Base64URL.encode(key.bytes))\n" }
        return Array(text.utf8)
    }

    /// What seals.
    var newest: EndpointKey? { keys.first }

    /// The key of this name.
    func key(named name: [UInt8]) -> EndpointKey? { keys.first { $0.name == name } }

    /// Adds a key when the newest is old enough, or there is none, and forgets those of which no
    /// endpoint is left.
    ///
    /// - Parameters:
    ///   - now: seconds since 1970.
    ///   - life: seconds for which a key seals.
    ///   - isClockRight: where it is not, only the first key is made: nothing is lost to a clock
    ///     that has jumped.
    /// - Returns: whether anything changed.
    mutating func rotate(now: Int64, life: Int64, isClockRight: Bool) -> Bool {
        guard isClockRight || keys.isEmpty else { return false }
        let before = keys.count
        var isChanged = false
        let age = newest.map { now - $0.created } ?? .max
        if age >= life || age < -Self.tolerance, let key = EndpointKey.fresh(at: now) {
            keys.insert(key, at: 0)
            isChanged = true
        }
        let longest = EndpointOptions.longestLife.components.seconds
        // A key has sealed until the next newer one came.
        var kept: [EndpointKey] = []
        for (index, key) in keys.enumerated() {
            let sealedUntil = index == 0 ? now : keys[index - 1].created
            if index == 0 || now - sealedUntil < longest { kept.append(key) }
        }
        keys = Array(kept.prefix(Self.most))
        return isChanged || keys.count != before
    }
}

/// Where the keys lie.
public struct EndpointKeyFile: Sendable {
    let load: @Sendable () throws -> [UInt8]?
    let save: @Sendable ([UInt8]) throws -> Void

    /// - Parameters:
    ///   - load: the whole file; nil when there is none.
    ///   - save: writes it, whole or not at all, for its owner alone.
    public init(
        load: @escaping @Sendable () throws -> [UInt8]?,
        save: @escaping @Sendable ([UInt8]) throws -> Void
    ) {
        self.load = load
        self.save = save
    }
}
