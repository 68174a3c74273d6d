// What a restore has the rest of this program do with what it brought.

internal import Backup

struct AssembledData: RestoreParts {
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
        throw BackupError(
            .permanent, subject: address, "one account cannot be restored by this version",
            advice: "restore everything into a folder of its own")
    }
}
