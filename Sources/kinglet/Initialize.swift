// kinglet init: configuration, certificates, first administrator. What is there already stays.

internal import Addresses
internal import Administration
internal import ArgumentParser
internal import Backup
internal import Engine
internal import Glibc
internal import Logging
internal import Storage
internal import TLS

struct Initialize: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Write a configuration, certificates and the first administrator.")

    @Option(help: "Where to write the configuration (default: ./kinglet.yaml).")
    var config: String?
    @Option(
        help: "The data directory (default: ./data; /var/lib/kinglet for a file in /etc/kinglet).")
    var data: String?
    @Option(help: "The domain of all addresses (default: <hostname>.local).")
    var domain: String?
    @Option(help: "The administrator's name (default: admin).")
    var admin: String?
    @Flag(help: "Take the suggestions and ask nothing.")
    var yes = false

    func run() async throws {
        try await reportingFailure {
            let outcome = try Initialization(
                file: config, data: data, domain: domain, admin: admin, asks: !yes
            ).run()
            outcome.print()
        }
    }
}

/// What `init` does, for itself and for the first `serve`.
struct Initialization {
    /// What was made.
    struct Outcome {
        let file: String
        let program: ProgramOptions
        let administrator: BareJID?
        /// Shown once; nil when it went to a file, or when there was an administrator before.
        let password: String?
        /// The recovery key, when it was made now and a person reads this.
        let key: String?

        func print() {
            Terminal.say("Configuration: \(file)")
            Terminal.say("Data:          \(program.dataDirectory)")
            Terminal.say("Domain:        \(program.domains.joined(separator: ", "))")
            if let administrator {
                Terminal.say("Administrator: \(administrator)")
                Terminal.say(
                    "Password:      "
                        + (password.map { "\($0)   (shown only now)" }
                            ?? "in \(program.files.initialPassword)"))
            } else {
                Terminal.say("Administrator: accounts exist already; none was added")
            }
            if let key {
                Terminal.say("Recovery key:  \(key)")
                Terminal.say(
                    """
                                   Write it down now and keep it where this machine is not: it \
                    opens every
                                   backup, and without it nobody can. It is not shown again; a \
                    copy is in
                                   \(program.files.secrets)/backup.key.
                    """)
            } else {
                Terminal.say(
                    "Recovery key:  in \(program.files.secrets)/backup.key; keep a copy elsewhere")
            }
            Terminal.say(
                "Next:          "
                    + (file == Installed.configuration
                        ? "systemctl enable --now kinglet" : "kinglet serve"))
        }
    }

    let file: String?
    var data: String?
    var domain: String?
    var admin: String?
    var asks = true

    static func existingFile(_ given: String?) -> String? {
        (given.map { [$0] } ?? ProgramOptions.searchOrder).first { access($0, F_OK) == 0 }
    }

    func run() throws -> Outcome {
        let path = file ?? "./kinglet.yaml"
        let name: String
        if access(path, F_OK) == 0 {
            guard domain == nil, data == nil else {
                throw Failure(
                    "\(path) exists; change domain and data_dir there, or remove it to start anew")
            }
            name = admin ?? "admin"
        } else {
            name = try writeConfiguration(path)
        }
        let declared = try DeclaredProgram(try CommonArguments.parse(["--config", path]))
        let program = declared.options
        try program.requireDomain()
        try program.files.prepare()
        guard let lock = try DataLock(program.files) else {
            throw Failure("kinglet runs on \(program.dataDirectory); it needs no init")
        }
        try Certificates(program: program).prepareLocal(now: Clock.secondsSince1970())
        let (administrator, password) = try addAdministrator(name, declared)
        let backups = program.backupProgram(nil)
        let isNew = try backups.makeKey()
        let key = isNew && Terminal.isShown ? try backups.key().text : nil
        _ = consume lock
        return Outcome(
            file: path, program: program, administrator: administrator, password: password,
            key: key)
    }

    private func writeConfiguration(_ path: String) throws -> String {
        let asks = asks && Terminal.isInteractive
        var domain = self.domain
        var name = admin
        if asks {
            if domain == nil {
                Terminal.say(
                    "Every address ends in this server's domain, as in alice@example.org, and "
                        + "keeps it for ever.\nIn a home network without a domain of its own, a "
                        + "name ending in .local will do.")
                domain = try Terminal.ask("Domain", suggestion: Self.suggestedDomain)
            }
            if name == nil { name = try Terminal.ask("Administrator", suggestion: "admin") }
        }
        let prepared: String
        do {
            prepared = try Preparation.domain(domain ?? Self.suggestedDomain)
        } catch {
            throw Failure("--domain: \(error)")
        }
        do {
            _ = try Preparation.local(name ?? "admin")
        } catch {
            throw Failure("--admin: \(error)")
        }
        let text = """
            # Kinglet. Every option with its default: kinglet config --reference
            # After a change: kinglet config --check, then restart or send SIGHUP.

            # The domain of all addresses. Do not change it once there are users.
            domain: \(quoted(prepared))

            # Accounts, messages, keys. Relative to this file.
            data_dir: \(quoted(data ?? (path == Installed.configuration ? Installed.data : "./data")))

            # With a certificate from a public authority, name it here (both lines):
            #tls:
            #  certificate: /etc/letsencrypt/live/example.org/fullchain.pem
            #  key: /etc/letsencrypt/live/example.org/privkey.pem

            # Every night a copy on another disk; kinglet backup run makes one now:
            #backup:
            #  targets:
            #    - name: usb
            #      location: /mnt/backup/kinglet
            #  jobs:
            #    - name: nightly
            #      schedule: "30 3 * * *"

            """
        try writeFile(path, Array(text.utf8), mode: 0o640)
        return name ?? "admin"
    }

    private func quoted(_ text: String) -> String {
        let isPlain = text.utf8.allSatisfy {
            ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7A) || ($0 >= 0x2D && $0 <= 0x39)
        }
        return isPlain && text.utf8.first != 0x2D
            ? text
            : "\"" + text.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : "\($0)" }.joined() + "\""
    }

    /// `<hostname>.local`.
    static var suggestedDomain: String {
        var buffer = [CChar](repeating: 0, count: 256)
        gethostname(&buffer, buffer.count - 1)
        let bytes = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        let host = String(decoding: bytes, as: UTF8.self).split(separator: ".").first ?? ""
        return (try? Preparation.domain("\(host).local")) ?? "kinglet.local"
    }

    /// Adds the first account; nil when there is one.
    private func addAdministrator(
        _ name: String, _ declared: DeclaredProgram
    ) throws -> (BareJID?, String?) {
        let program = declared.options
        let host = try openHost(
            program, declared.builder, eventLoops: [],
            log: Logger(label: "kinglet") { _ in SwiftLogNoOpLogHandler() })
        defer { try? host.database.close() }
        guard try host.accounts.count() == 0 else { return (nil, nil) }
        let jid = BareJID(
            preparedLocal: try Preparation.local(name), preparedDomain: program.domains[0])
        let password = SecureRandom.identifier(bytes: 15)
        let administrator = Administrator(
            host: host, isRunning: false,
            status: { ServerStatus(running: false, version: "", domains: []) }, metrics: { "" })
        // The file first: a password that nobody knows would be of no use.
        if !Terminal.isShown {
            try InitialPassword(file: program.files.initialPassword).write(jid, password)
        }
        let answer = administrator.perform(
            AdministrationRequest(
                .addUser, jid: jid.description, password: password, isAdministrator: true))
        if let error = answer.error { throw Failure(error) }
        return (jid, Terminal.isShown ? password : nil)
    }
}
