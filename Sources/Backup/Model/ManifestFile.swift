// A manifest as it is stored: a line of JSON and a line with its seal. Without the recovery key
// nobody can write one that is believed; by hand, everybody can read it.

internal import Foundation
internal import TLS

/// Writes and reads manifests.
enum ManifestFile {
    /// Its name in a snapshot.
    static let name = "manifest"
    /// Bytes at most.
    static let longest = 4 << 20
    static let sealName = "hmac-sha256 "
    /// Parts of one database, and databases of a snapshot, at most.
    static let mostChanges = 1024
    static let mostDatabases = 16

    /// Writes a manifest.
    static func encode(_ manifest: Manifest, key: RecoveryKey) throws(BackupError) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let json = try? encoder.encode(manifest) else {
            throw BackupError(
                .permanent, subject: "manifest of \(manifest.id)", "it cannot be written as JSON")
        }
        let bytes = Array(json)
        let file = bytes + Array("\n\(sealName)\(key.seal(bytes))\n".utf8)
        guard file.count <= longest else {
            throw BackupError(
                .permanent, subject: "manifest of \(manifest.id)", "it is longer than it may be",
                advice: "back up fewer files")
        }
        return file
    }

    /// Reads a manifest and believes nothing of it that its seal does not prove.
    ///
    /// - Parameter id: the snapshot's name, as its folder has it.
    static func decode(
        _ file: [UInt8], id: SnapshotID, key: RecoveryKey
    ) throws(BackupError) -> Manifest {
        func damaged(_ message: String) -> BackupError {
            BackupError(
                .damaged, subject: "manifest of \(id)", message,
                advice: "do not use this snapshot; others may be whole")
        }
        guard file.count <= longest else { throw damaged("it is longer than any that we write") }
        let lines = file.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        guard lines.count == 3, lines[2].isEmpty, lines[1].starts(with: sealName.utf8) else {
            throw damaged("it is not a line of JSON and a line with a seal; part of it is missing")
        }
        let json = Array(lines[0])
        let seal = Array(lines[1].dropFirst(sealName.utf8.count))
        guard constantTimeEqual(seal, Array(key.seal(json).utf8)) else {
            try checkFormat(json, id)
            throw damaged(
                "its seal does not fit: it was changed after it was written, or it was made with"
                    + " another recovery key")
        }
        try checkFormat(json, id)
        guard let manifest = try? JSONDecoder().decode(Manifest.self, from: Data(json)) else {
            throw damaged("its JSON is not that of a manifest")
        }
        guard manifest.id == id else {
            throw damaged("it is the manifest of \(manifest.id), put here by somebody")
        }
        if let fault = fault(of: manifest) { throw damaged(fault) }
        return manifest
    }

    /// What any format of a manifest has.
    private struct Outline: Decodable {
        var format: Int
        var software: [String: String]?
    }

    /// Throws for one that a later kinglet wrote.
    private static func checkFormat(_ json: [UInt8], _ id: SnapshotID) throws(BackupError) {
        guard let outline = try? JSONDecoder().decode(Outline.self, from: Data(json)),
            outline.format > Manifest.currentFormat
        else { return }
        // What is not proven yet goes into a message only if it looks like a version.
        let version = outline.software?["kinglet"].flatMap { text in
            text.utf8.count <= 32 && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
                ? text : nil
        }
        throw BackupError(
            .permanent, subject: "snapshot \(id)",
            "it has format \(outline.format), and this kinglet knows \(Manifest.currentFormat)",
            advice: "use kinglet \(version.map { "\($0) or later" } ?? "in a later version")")
    }

    // MARK: What cannot be

    /// What is wrong with what a manifest says; nil when nothing is.
    static func fault(of manifest: Manifest) -> String? {
        guard manifest.format >= 1 else { return "its format is \(manifest.format)" }
        guard isInstance(manifest.instance) else { return "its installation has no proper name" }
        guard manifest.files >= 0, manifest.bytes >= 0, manifest.copied >= 0 else {
            return "a number of it is negative"
        }
        guard manifest.databases.count <= mostDatabases else { return "it has too many databases" }
        for database in manifest.databases {
            if let fault = fault(of: database) { return fault }
        }
        for folder in manifest.extra.keys {
            guard folder.utf8.count <= 9, Int(folder).map({ $0 >= 0 }) == true else {
                return "it names a folder below extra/ that cannot be one"
            }
        }
        return listFault(of: manifest) ?? archiveFault(of: manifest)
    }

    static func isInstance(_ text: String) -> Bool {
        text.utf8.count == 32
            && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    private static func fault(of database: Manifest.Database) -> String? {
        guard let name = SnapshotPath(database.name), name.components.count == 1 else {
            return "it names a database that cannot be one"
        }
        guard database.changes.count <= mostChanges else { return "a database has too many parts" }
        for part in [database.base] + database.changes {
            guard let path = SnapshotPath(part.path), path.isBelow("database/\(database.name)"),
                ContentHash(hexadecimal: part.sha256) != nil, part.size >= 0
            else { return "a part of the database \(database.name) cannot be one" }
        }
        guard (512...65_536).contains(database.pageSize),
            database.pageSize & (database.pageSize - 1) == 0, database.pageCount >= 0,
            database.lastMessage >= 0, database.rows.values.allSatisfy({ $0 >= 0 })
        else { return "a number of the database \(database.name) cannot be" }
        return nil
    }

    private static func listFault(of manifest: Manifest) -> String? {
        var entries = 0
        for list in manifest.lists {
            guard ContentHash(hexadecimal: list.sha256) != nil,
                (1...FileListCodec.most).contains(list.entries),
                (1...Int64(FileListCodec.longestPart)).contains(list.size)
            else { return "it names a list of files that cannot be one" }
            entries += list.entries
        }
        guard entries <= FileListCodec.mostEntries, manifest.files <= entries else {
            return "it counts files that its lists do not have"
        }
        return nil
    }

    private static func archiveFault(of manifest: Manifest) -> String? {
        guard let archive = manifest.archive else { return nil }
        guard archive.packs.allSatisfy({ ContentHash(hexadecimal: $0) != nil }) else {
            return "it names a pack that cannot be one"
        }
        guard archive.lists.count == manifest.lists.count else {
            return "it does not say where its lists are"
        }
        for place in archive.lists {
            guard archive.packs.indices.contains(place.pack), place.offset >= 0 else {
                return "it says that a list is where nothing can be"
            }
        }
        return nil
    }
}

extension ManifestFile {
    /// The installation that a manifest names, without any proof; nil for what is no manifest.
    static func instance(in file: [UInt8]) -> String? {
        struct Owner: Decodable { var instance: String }
        let line = file.prefix { $0 != UInt8(ascii: "\n") }
        return (try? JSONDecoder().decode(Owner.self, from: Data(line)))?.instance
    }
}
