import Foundation
import Programs
import Testing

@testable import Backup

/// Files in age's format, for tests.
enum Age {
    /// The encrypted form of bytes that come in pieces of a size.
    static func encrypt(
        _ bytes: [UInt8], for key: RecoveryKey, pieces: Int = 1_000_000
    ) throws(BackupError) -> [UInt8] {
        let result = Collected()
        let encryptor = try AgeEncryptor(recipient: key) { result.bytes += $0 }
        for start in stride(from: 0, to: bytes.count, by: pieces) {
            try encryptor.write(bytes[start..<min(bytes.count, start + pieces)])
        }
        try encryptor.finish()
        return result.bytes
    }

    /// What an encrypted file holds that comes in pieces of a size.
    static func decrypt(
        _ bytes: [UInt8], with key: RecoveryKey, pieces: Int = 1_000_000
    ) throws(BackupError) -> [UInt8] {
        let result = Collected()
        let decryptor = AgeDecryptor(key: key) { result.bytes += $0 }
        for start in stride(from: 0, to: bytes.count, by: pieces) {
            try decryptor.write(bytes[start..<min(bytes.count, start + pieces)])
        }
        try decryptor.finish()
        return result.bytes
    }

    /// What kind of error opening something ends with; nil when it opens.
    static func failure(_ bytes: [UInt8], with key: RecoveryKey) -> BackupError.Code? {
        do {
            _ = try decrypt(bytes, with: key)
            return nil
        } catch {
            return error.code
        }
    }

    /// Runs a program that has to be installed, and gives what it prints.
    static func run(
        _ name: String, _ arguments: [String], input: [UInt8]? = nil
    ) throws -> [UInt8] {
        let path = try #require(Program.find(name), "the Debian package with \(name) is missing")
        var left = input.map { [$0] } ?? []
        var output: [UInt8] = []
        var errors: [UInt8] = []
        let end = try Program(path, arguments).run(
            input: input == nil ? nil : { left.popLast() }, output: { output += $0 },
            errors: { errors += $0 })
        try #require(end == .exited(0), "\(name): \(String(decoding: errors, as: UTF8.self))")
        return output
    }

    /// An empty folder of the test's own.
    static func folder() throws -> String {
        let folder = FileManager.default.temporaryDirectory.path + "/age-\(UUID().uuidString)"
        try Files.makeFolder(folder)
        return folder
    }

    /// Bytes without a pattern, the same each time.
    static func noise(_ count: Int) -> [UInt8] {
        var state: UInt32 = 2_463_534_242
        return (0..<count).map { _ in
            state ^= state << 13
            state ^= state >> 17
            state ^= state << 5
            return UInt8(truncatingIfNeeded: state)
        }
    }
}

/// What closures have collected.
final class Collected {
    var bytes: [UInt8] = []
}
