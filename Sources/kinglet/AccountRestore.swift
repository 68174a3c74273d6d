// Gives one account of the running data back what a backup has of it. No server runs.

internal import Addresses
internal import ArgumentParser
internal import Backup
internal import Engine
internal import Logging
internal import Storage

/// Merges an account from a database that was put together from a snapshot.
///
/// - Parameters:
///   - arguments: name the configuration in force. The caller has the lock on its data.
///   - file: the snapshot's database, which is brought up to date.
/// - Returns: sentences that say what came back.
func mergeAccount(
    _ address: String, from file: String, _ arguments: CommonArguments
) throws(BackupError) -> [String] {
    do {
        return try merge(address, file, arguments)
    } catch let error as BackupError {
        throw error
    } catch {
        throw BackupError(.permanent, subject: address, "\(error)")
    }
}

private func merge(
    _ address: String, _ file: String, _ arguments: CommonArguments
) throws -> [String] {
    let jid: BareJID
    do {
        jid = try BareJID(address)
    } catch {
        throw BackupError(.permanent, subject: address, "this is no address: \(error.message)")
    }
    let log = Logger(label: "kinglet") { _ in SwiftLogNoOpLogHandler() }
    let live = try DeclaredProgram(arguments)
    let program = live.options
    let then = try DeclaredProgram(arguments)
    let backup = try Host(
        then.builder, domains: program.domains, databaseFile: file,
        loginSecret: try program.files.loadLoginSecret(), eventLoops: [], log: log)
    defer { try? backup.database.close() }
    let host = try openHost(program, live.builder, eventLoops: [], log: log)
    defer { try? host.database.close() }
    guard let sizes = try host.mergeAccount(jid, from: backup) else {
        throw BackupError(
            .permanent, subject: address, "the snapshot has no such account",
            advice: "take an older one; kinglet backup list shows them")
    }
    return sizes.compactMap { size in
        switch (size.name, size.value) {
        case ("archive_messages_of_another_life", 0): nil
        case ("archive_messages_of_another_life", let count):
            "\(count) messages were not restored: since that snapshot the data was restored "
                + "from another one."
        case ("archive_preferences", let count):
            count == 0 ? nil : "What is to be archived is as it was set then."
        case ("waiting_messages", let count):
            count == 0 ? nil : "\(count) messages wait for it again, as then."
        case ("accounts", 0): "The account is there and keeps its password."
        case ("accounts", _): "The account is there again, with its password of then."
        case (let name, let count):
            "Came back: \(count) \(name.split(separator: "_").joined(separator: " "))."
        }
    }
}
