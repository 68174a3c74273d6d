// What a test restore has this program do: make a probe account in the scratch copy, and start a
// second server on it.

internal import Addresses
internal import Administration
internal import ArgumentParser
internal import Backup
internal import Engine
internal import Glibc
internal import Logging
internal import Programs
internal import Storage
internal import TLS

/// This program as a test restore uses it.
struct TestRestoreProgram: TestRestoreServer {
    func makeProbe(configuration: String) throws(BackupError) -> ProbeAccount {
        do {
            return try probe(configuration)
        } catch let error as BackupError {
            throw error
        } catch {
            throw BackupError(
                .damaged, subject: configuration, "the restored data cannot be opened: \(error)")
        }
    }

    func program(configuration: String) -> Programs.Program {
        var arguments = [
            "serve", "--isolated", "--until-input-ends", "--config", configuration,
            "--set", "log.format=json", "--set", "log.level=notice",
        ]
        arguments += Self.assignments(configuration).flatMap { ["--set", $0] }
        let temporary = TemporaryIdentity(configuration)
        if temporary.exists {
            arguments += [
                "--set", "tls.certificate=\(temporary.certificate)",
                "--set", "tls.key=\(temporary.key)", "--set", "tls.certificates=[]",
            ]
        }
        var program = Programs.Program("/proc/self/exe", arguments)
        program.holdsInput = true
        return program
    }

    /// What holds whatever the restored configuration says: the data is the folder that it is in,
    /// no message gets too old while it is counted, and clients are neither sent elsewhere nor
    /// given up because the machine or its owner's limits are slow.
    private static func assignments(_ configuration: String) -> [String] {
        [
            "data_dir=" + folder(of: configuration), "listen.see_other_host=",
            "archive.query_time=60s", "archive.max_age=", "archive.max_size=", "archive.domains=",
            "limits.negotiation=", "limits.outgoing_queue=", "limits.stanza_rate=",
            "limits.byte_rate=", "limits.memory=",
        ]
    }

    private static func folder(of configuration: String) -> String {
        let folder = configuration.lastIndex(of: "/").map { String(configuration[..<$0]) } ?? "."
        return resolved(folder) ?? folder
    }

    private static func resolved(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// A test changes the data: it must be the copy, and never what a server lives on.
    private static func requireOwnFolder(
        _ program: ProgramOptions, _ configuration: String
    ) throws {
        guard let data = resolved(program.dataDirectory), data == folder(of: configuration)
        else {
            throw Failure(
                "a test would work on \(program.dataDirectory), which is not the restored copy")
        }
    }

    private func probe(_ configuration: String) throws -> ProbeAccount {
        let declared = try DeclaredProgram(
            try CommonArguments.parse(
                ["--config", configuration]
                    + Self.assignments(configuration).flatMap { ["--set", $0] }), isolated: true)
        let program = declared.options
        try Self.requireOwnFolder(program, configuration)
        try program.requireDomain()
        try program.files.prepare()
        guard let lock = try DataLock(program.files) else {
            throw Failure("another kinglet uses \(program.dataDirectory)")
        }
        try TemporaryIdentity(configuration).makeIfNeeded(program)
        let host = try openHost(
            program, declared.builder, eventLoops: [],
            log: Logger(label: "kinglet") { _ in SwiftLogNoOpLogHandler() })
        defer { try? host.database.close() }
        let stored = try host.countStored()
        // Nobody has this name, and after the test nobody ever had.
        let name = "probe-" + SecureRandom.bytes(12).map { String($0, radix: 16) }.joined()
        let jid = BareJID(preparedLocal: name, preparedDomain: program.domains[0])
        let password = SecureRandom.identifier(bytes: 24)
        let administrator = Administrator(
            host: host, isRunning: false,
            status: { ServerStatus(running: false, version: "", domains: []) }, metrics: { "" })
        let answer = administrator.perform(
            AdministrationRequest(.addUser, jid: jid.description, password: password))
        if let error = answer.error { throw Failure(error) }
        let messages = try host.takeLongestHistory(for: jid)
        _ = consume lock
        return ProbeAccount(
            name: name, domain: program.domains[0], password: password, messages: messages,
            storedAccounts: stored.accounts, storedMessages: stored.messages)
    }
}

/// A certificate for the length of a test, where the restored configuration names one that is not
/// in the backup: those of public authorities are elsewhere on the machine.
private struct TemporaryIdentity {
    let certificate: String
    let key: String

    init(_ configuration: String) {
        certificate = configuration + ".test.crt"
        key = configuration + ".test.key"
    }

    var exists: Bool { (try? readFile(key)) != nil }

    func makeIfNeeded(_ program: ProgramOptions) throws {
        let certificates = Certificates(program: program)
        do {
            try certificates.prepareLocal(now: Clock.secondsSince1970())
            _ = try TLSServerContext(try certificates.identities())
        } catch {
            let made = try LocalAuthority.create(
                domains: try program.domains.map { try Preparation.domainASCII($0) },
                authorityName: "Kinglet test", now: Clock.secondsSince1970())
            try writeFile(certificate, Array(made.serverCertificatePEM.utf8), mode: 0o600)
            try writeFile(key, Array(made.serverKeyPEM.utf8), mode: 0o600)
        }
    }
}
