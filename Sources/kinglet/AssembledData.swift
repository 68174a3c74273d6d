// What a restore has the rest of this program do with what it brought.

internal import ArgumentParser
internal import Backup

struct AssembledData: RestoreParts {
    /// Names the configuration in force, where one account can be restored into its data.
    var arguments: [String]?

    func assemble(
        _ record: Manifest.Database, in folder: String, to file: String
    ) throws(BackupError) {
        try BackupProgram.assemble(record, in: folder, to: file)
    }

    func check(_ file: String) throws(BackupError) -> [String: Int64] {
        try BackupProgram.check(file)
    }

    func extractSecrets(
        _ file: String, key: RecoveryKey, into folder: String
    ) throws(BackupError) {
        try BackupProgram.extractSecrets(file, key: key, into: folder)
    }

    func mergeAccount(_ address: String, from file: String) throws(BackupError) -> [String] {
        guard let arguments, let common = try? CommonArguments.parse(arguments) else {
            throw BackupError(
                .permanent, subject: address, "there is no data to restore an account into")
        }
        return try kinglet.mergeAccount(address, from: file, common)
    }
}
