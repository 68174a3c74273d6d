// The file by which an archive is known again: an empty mount point has none, another disk has
// another one.

internal import Foundation
internal import TLS

/// What `kinglet-backup.json` says. One archive is one installation's; after a restore the new one
/// takes it over by having its recovery key.
struct ArchiveMarker: Codable, Sendable, Equatable {
    static let longest = 65_536

    var format = 1
    /// Which of the forms of a target it is.
    var form = "archive"
    /// 32 random hexadecimal digits.
    var target: String
    /// The installation that writes here.
    var instance: String
    /// Proves that the recovery key is the one that opens this archive.
    var key: String

    init(target: String, instance: String, key: RecoveryKey) {
        self.target = target
        self.instance = instance
        self.key = key.seal(Self.proven(target))
    }

    /// A new archive.
    init(instance: String, key: RecoveryKey) {
        let digits = SecureRandom.bytes(16).map { byte in
            (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
        self.init(target: digits.joined(), instance: instance, key: key)
    }

    private static func proven(_ target: String) -> [UInt8] {
        Array("kinglet archive \(target)".utf8)
    }

    func isOpened(by key: RecoveryKey) -> Bool { key.isSeal(self.key, of: Self.proven(target)) }

    var bytes: [UInt8] {
        get throws(BackupError) {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys]
            guard let json = try? encoder.encode(self) else {
                throw BackupError(.permanent, subject: ArchiveNames.marker, "cannot be written")
            }
            return Array(json) + [UInt8(ascii: "\n")]
        }
    }

    /// Whether a marker of either form is an archive's; nil when it does not say.
    static func isArchive(_ marker: [UInt8]?) -> Bool? {
        struct Form: Decodable { var form: String? }
        guard let marker, let form = try? JSONDecoder().decode(Form.self, from: Data(marker))
        else { return nil }
        return form.form == "archive"
    }

    /// Nil when there is none.
    static func read(_ store: any ArchiveStore) throws(BackupError) -> ArchiveMarker? {
        let read: [UInt8]?
        do {
            read = try store.read(ArchiveNames.marker, limit: longest)
        } catch {
            guard error.code == .damaged else { throw error }
            // Too long, which is refused below with the others.
            read = []
        }
        guard let bytes = read else { return nil }
        struct Form: Decodable {
            var format: Int
            var form: String?
        }
        let subject = "\(store.place)/\(ArchiveNames.marker)"
        guard let form = try? JSONDecoder().decode(Form.self, from: Data(bytes)) else {
            throw BackupError(
                .damaged, subject: subject, "this is not a marker that kinglet wrote",
                advice: "if this is the right place, restore with the recovery key first")
        }
        guard form.format <= 1 else {
            throw BackupError(
                .permanent, subject: subject, "a later kinglet wrote this",
                advice: "use that version")
        }
        guard form.form == "archive",
            let marker = try? JSONDecoder().decode(ArchiveMarker.self, from: Data(bytes)),
            ManifestFile.isInstance(marker.target), ManifestFile.isInstance(marker.instance)
        else {
            throw BackupError(
                .foreign, subject: subject, "backups in another form are here",
                advice: "give this target a folder of its own")
        }
        return marker
    }
}

extension ArchiveMarker {
    /// Finds out whether a place is the archive that it was, and makes it one at the first use.
    static func check(
        _ store: any ArchiveStore, _ context: TargetContext, forWriting: Bool
    ) throws(BackupError) {
        let memory = "\(context.memory)/target"
        let remembered = try Files.read(memory, limit: 64).map {
            String(decoding: $0, as: UTF8.self)
        }
        guard let marker = try read(store) else {
            guard remembered == nil else {
                throw BackupError(
                    .absent, subject: store.place, "the backups that were here are not here now",
                    advice: "is the disk mounted?")
            }
            let found = try store.list(ArchiveNames.snapshots)
            guard forWriting else {
                let ids = found.compactMap { ArchiveNames.snapshot(of: $0.name) }
                if context.readsUnmarked(store.place, ids) { return }
                throw BackupError(.absent, subject: store.place, "there are no backups here")
            }
            guard found.isEmpty else {
                throw BackupError(
                    .foreign, subject: store.place, "there are snapshots here, but no marker",
                    advice: "give this target a folder of its own")
            }
            try store.prepare()
            let made = ArchiveMarker(instance: context.instance, key: context.key)
            try store.put(ArchiveNames.marker, try made.bytes)
            try store.flush()
            return try Files.replace(memory, Array(made.target.utf8), mode: 0o600)
        }
        if let remembered, remembered != marker.target {
            throw BackupError(
                .foreign, subject: store.place, "these are the backups of another target",
                advice: "is it another disk at the same place?")
        }
        guard marker.isOpened(by: context.key) else {
            throw BackupError(
                .key, subject: store.place, "the recovery key is not the one of these backups",
                advice: "use the key that was printed when they were begun")
        }
        guard forWriting else { return }
        if marker.instance != context.instance {
            guard remembered == nil else {
                throw BackupError(
                    .foreign, subject: store.place,
                    "another installation has taken these backups over",
                    advice: "give each installation a target of its own")
            }
            context.warn("\(store.place): continues the backups of the installation before")
            let ours = ArchiveMarker(
                target: marker.target, instance: context.instance, key: context.key)
            try store.put(ArchiveNames.marker, try ours.bytes)
            try store.flush()
            // Where nothing may be replaced, it was not.
            try confirm(store, context)
        }
        if remembered == nil {
            try Files.replace(memory, Array(marker.target.utf8), mode: 0o600)
        }
    }

    /// Throws when the place was taken over while a run was at work.
    static func confirm(_ store: any ArchiveStore, _ context: TargetContext) throws(BackupError) {
        guard let marker = try read(store) else {
            throw BackupError(
                .absent, subject: store.place, "the place of the backups has vanished")
        }
        guard marker.instance == context.instance else {
            throw BackupError(
                .foreign, subject: store.place,
                "another installation has taken these backups over",
                advice: "give each installation a target of its own")
        }
    }
}
