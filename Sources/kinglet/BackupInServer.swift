// The backup as a part of the running server.

internal import Backup
internal import Dispatch
internal import Engine
internal import Features
internal import Glibc
internal import Hardware
internal import Logging
internal import Options
internal import Storage

extension ProgramOptions {
    /// What the backup needs to know of this program.
    ///
    /// - Parameter database: the server's own; nil where none is open.
    func backupProgram(_ database: Database?) -> BackupProgram {
        var program = BackupProgram(
            options: backup, dataDirectory: absolute(dataDirectory),
            configuration: file.map(absolute), domains: domains, version: Software.version,
            tester: BackupProgram.Tester(
                parts: AssembledData(), server: TestRestoreProgram()),
            database: database)
        program.named = { [self] in namedFiles }
        return program
    }

    /// Certificates and keys of the configuration.
    private var namedFiles: [BackupProgram.NamedFile] {
        let records = certificates.value
        let certificates =
            [certificate.value] + records.map { $0.string("certificate") }
        let keys = [certificateKey.value] + records.map { $0.string("key") }
        return certificates.compactMap { $0.map(place) }.map {
            BackupProgram.NamedFile($0, isSecret: holdsKey($0))
        } + keys.compactMap { $0.map(place) }.map { BackupProgram.NamedFile($0, isSecret: true) }
    }

    /// Absolute; links stay, for what renews a certificate may lead them elsewhere.
    private func place(_ text: String) -> String {
        let path = path(text)
        return path.hasPrefix("/") ? path : absolute(path)
    }

    /// A file with a certificate may hold its key as well.
    private func holdsKey(_ path: String) -> Bool {
        let text = ((try? readFile(path)) ?? nil).map { String(decoding: $0, as: UTF8.self) }
        return text?.contains("PRIVATE KEY") ?? false
    }

    private func absolute(_ path: String) -> String {
        guard let resolved = realpath(path, nil) else { return path }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}

extension Server {
    /// Makes the service, unless this server keeps to itself. It does nothing before it is started.
    static func makeBackup(
        _ program: ProgramOptions, _ backups: BackupProgram, _ host: Host,
        _ hardware: HardwareMonitor, _ log: Logger
    ) -> BackupService? {
        guard !program.isIsolated else { return nil }
        do {
            if try backups.makeKey() {
                log.notice(
                    "a recovery key was made; keep a copy of it elsewhere",
                    metadata: ["file": "\(program.files.secrets)/backup.key"])
            }
        } catch {
            log.error("\(String(describing: error))")
        }
        let weather = BackupWeather(hardware)
        let service = BackupService(
            backups,
            BackupService.Surroundings(
                conditions: { weather.conditions },
                stanzas: { host.metrics.handledStanzas },
                report: { text in
                    do {
                        try host.notifyAdministrators(text)
                    } catch {
                        log.error("report of the backup: \(error)")
                    }
                },
                log: { text, isWarning in
                    isWarning ? log.warning("\(text)") : log.notice("\(text)")
                }))
        service.register(in: program.registry)
        return service
    }

    /// Waits for the service's thread without keeping one of the pool's.
    static func stop(_ service: BackupService, _ log: Logger) async {
        let hasEnded = await withCheckedContinuation { continuation in
            DispatchQueue.global().async { continuation.resume(returning: service.stop()) }
        }
        if !hasEnded { log.warning("the backup does not end; the server stops without it") }
    }
}
