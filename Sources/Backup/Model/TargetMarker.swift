// The file by which a target is recognised. A path that had one and has none now is an empty mount
// point, and one with another number is another disk.

internal import Foundation
internal import TLS

/// What `kinglet-backup.json` on a target says.
struct TargetMarker: Codable, Sendable, Equatable {
    /// Its name on the target.
    static let name = "kinglet-backup.json"
    /// What this installation remembers of it, in the target's memory.
    static let memory = "target"
    static let currentFormat = 1
    static let longest = 65_536
    static let mostInstances = 1000

    var format = Self.currentFormat
    /// 32 hexadecimal digits, drawn when it became a target.
    var target: String
    /// The installations that back up to it.
    var instances: [String]

    /// A marker for a new target.
    init(instance: String) {
        target = Hexadecimal.text(SecureRandom.bytes(16))
        instances = [instance]
    }

    /// - Parameter place: for messages.
    init(_ bytes: [UInt8], place: String) throws(BackupError) {
        guard bytes.count <= Self.longest,
            let marker = try? JSONDecoder().decode(TargetMarker.self, from: Data(bytes))
        else {
            throw BackupError(
                .foreign, subject: place, "this is not what kinglet wrote there",
                advice: "if it is a target of yours, somebody has changed this file")
        }
        guard marker.format <= Self.currentFormat else {
            throw BackupError(
                .permanent, subject: place, "the target is of a later kinglet than this one",
                advice: "update this one")
        }
        guard marker.format >= 1, ManifestFile.isInstance(marker.target),
            marker.instances.count <= Self.mostInstances,
            marker.instances.allSatisfy({ ManifestFile.isInstance($0) })
        else {
            throw BackupError(
                .foreign, subject: place, "this is not what kinglet wrote there",
                advice: "if it is a target of yours, somebody has changed this file")
        }
        self = marker
    }

    /// As it is stored.
    var bytes: [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return ((try? encoder.encode(self)).map { Array($0) } ?? []) + [UInt8(ascii: "\n")]
    }
}
