// The running server: everything is joined here, started in order and stopped in reverse. The
// metrics endpoint is the first thing up and the last thing down.

internal import Administration
internal import Backup
internal import CMalloc
internal import Engine
internal import Features
internal import Glibc
internal import Hardware
internal import Listeners
internal import Logging
internal import MetricsEndpoint
internal import NIOCore
internal import NIOPosix
internal import Options
internal import Prometheus
internal import PushRelay
internal import Storage
internal import Synchronization
internal import TLS
internal import Web

/// A server that runs. Safe on any thread.
final class Server: Sendable {
    /// What health checks and metrics look at while the parts come and go.
    private final class Parts: Sendable {
        struct State {
            var host: Host?
            var tls: TLSServerContext?
            var isListening = false
        }
        let state = Mutex(State())

        /// Which of the event loops have not turned for some seconds. Asks none of them.
        var stuckLoops: StuckLoops {
            let loops = state.withLock { $0.host?.loops ?? [] }
            return StuckLoops(times: loops.map(\.timeSinceLastTurn))
        }
    }

    let listeners: StreamListeners
    let metricsPort: Int
    private let program: ProgramOptions
    private let host: Host
    private let tls: TLSServerContext
    private let federation: FederationNetwork
    private let parts: Parts
    private let endpoint: MetricsServer
    private let hardware: HardwareMonitor
    private let memorySaver: MachineMemorySaver
    private let control: ControlSocket
    /// Nil in an isolated server.
    private let backup: BackupService?
    /// Nil when it is not enabled.
    private let web: WebServer?
    private let group: MultiThreadedEventLoopGroup
    private let log: Logger

    private init(
        program: ProgramOptions, host: Host, tls: TLSServerContext,
        federation: FederationNetwork, parts: Parts, endpoint: MetricsServer,
        hardware: HardwareMonitor, memorySaver: MachineMemorySaver, control: ControlSocket,
        backup: BackupService?, listeners: StreamListeners, web: WebServer?,
        group: MultiThreadedEventLoopGroup,
        log: Logger
    ) {
        self.program = program
        self.host = host
        self.tls = tls
        self.federation = federation
        self.parts = parts
        self.endpoint = endpoint
        self.hardware = hardware
        self.memorySaver = memorySaver
        self.control = control
        self.backup = backup
        self.web = web
        self.listeners = listeners
        self.group = group
        self.log = log
        metricsPort = endpoint.port
    }

    /// What the certificates in use say, for metrics, status and the start.
    var certificates: [CertificateSummary] { tls.certificates }

    /// The port of the HTTPS listener; nil where there is none.
    var webPort: Int? { web?.bound.first?.port }

    /// How many event loops have not turned for some seconds.
    var stuckLoops: Int { parts.stuckLoops.count }

    // MARK: Start

    /// Starts everything, or nothing: what was started before a failure is stopped again.
    static func start(
        _ program: ProgramOptions, _ builder: HostBuilder, log: Logger
    ) async throws -> Server {
        try program.requireDomain()
        raiseDescriptorLimit()
        shareHeaps(program.loopCount)
        let parts = Parts()
        registerOwnMetrics(program, parts)
        let endpoint = try openEndpoint(program, parts)
        let hardware = monitorHardware(program, log)
        let memorySaver = MachineMemorySaver(hardware.memory)
        hardware.start { memorySaver.turn() }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: program.loopCount)
        do {
            return try await start(
                program, builder, parts, endpoint, hardware, memorySaver, group, log)
        } catch {
            endpoint.stop()
            hardware.stop()
            try? await group.shutdownGracefully()
            throw error
        }
    }

    private static func start(
        _ program: ProgramOptions, _ builder: HostBuilder, _ parts: Parts,
        _ endpoint: MetricsServer,
        _ hardware: HardwareMonitor, _ memorySaver: MachineMemorySaver,
        _ group: MultiThreadedEventLoopGroup, _ log: Logger
    ) async throws -> Server {
        try program.components.checkSecrets()
        let certificates = Certificates(program: program)
        try certificates.prepareLocal(now: Clock.secondsSince1970())
        let tls = try TLSServerContext(try certificates.identities())
        for warning in tls.warnings { log.warning("certificate: \(warning)") }
        let password = InitialPassword(file: program.files.initialPassword)
        builder.hooks.passwordChanged.append { password.passwordChanged($0) }
        var loops: [any EventLoop] = []
        for loop in group.makeIterator() { loops.append(loop) }
        try program.preparePush(hardware)
        let host = try openHost(program, builder, eventLoops: loops, log: log)
        var listeners: StreamListeners?
        var web: WebServer?
        var network: FederationNetwork?
        do {
            try memorySaver.load(from: host.database)
            await host.restoreSessions()
            let federation = try FederationNetwork(program, host, tls)
            network = federation
            for warning in federation.warnings { log.warning("federation: \(warning)") }
            let opened = try await StreamListeners.open(
                program.listen, host: host, tls: tls, serverTLS: federation.serverTLS)
            listeners = opened
            web = try await openWeb(program, tls, endpoint, group, log)
            let webBound = web?.bound ?? []
            let started = Clock.secondsSince1970()
            let metricsPort = endpoint.port
            let registry = program.registry
            let backups = program.backupProgram(host.database)
            let backup = makeBackup(program, backups, host, hardware, log)
            let metricsAddress = program.metricsAddress.value
            let administrator = Administrator(
                host: host, isRunning: true,
                status: {
                    status(
                        host, tls, federation, opened, webBound, started: started,
                        metricsAddress: metricsAddress,
                        metricsPort: metricsPort, backup: backups.status(backup))
                },
                metrics: { String(decoding: registry.render(.text004), as: UTF8.self) },
                backup: backup, push: program.push)
            let control = try await ControlSocket.open(
                file: program.files.controlSocket, administrator: administrator, group: group)
            // Last of all, for nothing after it can fail and leave it at work.
            backup?.start()
            program.push.start()
            federation.start()
            parts.state.withLock { state in
                state.host = host
                state.tls = tls
                state.isListening = true
            }
            return Server(
                program: program, host: host, tls: tls, federation: federation, parts: parts,
                endpoint: endpoint, hardware: hardware, memorySaver: memorySaver,
                control: control, backup: backup, listeners: opened, web: web, group: group,
                log: log)
        } catch {
            await listeners?.close()
            await web?.close()
            await host.stop()
            network?.stop()
            try? host.database.close()
            throw error
        }
    }

    /// Threads that come and go for the database and for passwords would each get a heap of their
    /// own and leave in it what they freed: a heap per event loop and two for all others do.
    private static func shareHeaps(_ loops: Int) {
        mallopt(M_ARENA_MAX, Int32(clamping: loops + 2))
    }

    private static func openEndpoint(
        _ program: ProgramOptions, _ parts: Parts
    ) throws -> MetricsServer {
        try MetricsServer(
            address: program.metricsAddress.value, port: program.metricsPort.value,
            access: program.metricsAccess, registry: program.registry,
            discovery: program.discovery,
            alive: {
                let loops = parts.stuckLoops
                return loops.count == 0
                    ? Verdict(ok: true, detail: "alive")
                    : Verdict(ok: false, detail: loops.description)
            },
            ready: {
                let state = parts.state.withLock { ($0.host, $0.isListening) }
                guard let host = state.0, state.1 else {
                    return Verdict(ok: false, detail: "starting or stopping")
                }
                let loops = parts.stuckLoops
                guard loops.count == 0 else {
                    return Verdict(ok: false, detail: loops.description)
                }
                guard let failure = host.database.writer.failure else {
                    return Verdict(ok: true, detail: "ready")
                }
                return Verdict(ok: false, detail: "storage: \(failure.code.rawValue)")
            })
    }

    private static func monitorHardware(
        _ program: ProgramOptions, _ log: Logger
    ) -> HardwareMonitor {
        HardwareMonitor(
            roots: HardwareRoots(root: program.hardwareRoot.value), registry: program.registry,
            settings: HardwareSettings(
                ups: program.hardwareUPS.value, units: program.hardwareUnits.value),
            report: { reading, failure in
                if let failure {
                    log.warning(
                        "hardware reading fails",
                        metadata: [
                            "reading": "\(reading)", "problem": "\(failure)",
                        ])
                } else {
                    log.info("hardware reading works again", metadata: ["reading": "\(reading)"])
                }
            })
    }

    private static func registerOwnMetrics(_ program: ProgramOptions, _ parts: Parts) {
        ProcessMetrics.register(in: program.registry)
        program.registry.info(
            "kinglet_build_info", help: "The version of this program.",
            labels: [("version", Software.version)])
        program.registry.gauge(
            "kinglet_event_loops_stuck",
            help: "Event loops that have not turned for 5 s; /healthz says which.",
            read: { Double(parts.stuckLoops.count) })
        program.registry.collect([
            FamilyDescription(
                name: "kinglet_certificate_expiry_timestamp_seconds", kind: .gauge,
                help: "When the certificate of a domain ends, in seconds since 1970.")
        ]) { sink in
            for certificate in parts.state.withLock({ $0.tls })?.certificates ?? [] {
                for domain in certificate.domains {
                    sink.add(
                        "kinglet_certificate_expiry_timestamp_seconds",
                        labels: [("domain", domain)], value: Double(certificate.notAfter))
                }
            }
        }
    }

    /// Every connection takes a descriptor.
    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    private static func status(
        _ host: Host, _ tls: TLSServerContext, _ federation: FederationNetwork,
        _ listeners: StreamListeners, _ web: [(address: String, port: Int)], started: Int64,
        metricsAddress: String, metricsPort: Int,
        backup: BackupStatus
    ) -> ServerStatus {
        ServerStatus(
            running: true, version: Software.version, processID: getpid(),
            started: Clock.timestamp(started), domains: host.domains,
            listeners: listeners.bound.map {
                ServerStatus.Listener(name: $0.name, address: $0.address, port: $0.port)
            }
                + web.map {
                    ServerStatus.Listener(name: "web", address: $0.address, port: $0.port)
                } + [
                    ServerStatus.Listener(
                        name: "metrics", address: metricsAddress, port: metricsPort)
                ],
            certificates: tls.certificates.map {
                ServerStatus.Certificate(
                    domains: $0.domains, notAfter: Clock.timestamp($0.notAfter),
                    localAuthority: $0.issuedByLocalAuthority)
            },
            problems: (host.database.writer.failure.map { ["\($0)"] } ?? []) + tls.warnings
                + federation.warnings,
            backup: backup)
    }

    // MARK: Reload

    /// Reads the configuration again (SIGHUP): what can change does, and the log says what cannot.
    /// A broken configuration changes nothing.
    func reload() {
        do {
            var document = ConfigurationDocument.empty
            if let file = program.file { document = try ConfigurationDocument.load(file: file) }
            for assignment in program.overrides { try document.override(assignment) }
            let report = try program.options.reload(document)
            if !report.applied.isEmpty {
                log.notice(
                    "configuration: now in force",
                    metadata: [
                        "keys": "\(report.applied.joined(separator: " "))"
                    ])
            }
            if !report.needRestart.isEmpty {
                log.warning(
                    "configuration: needs a restart",
                    metadata: [
                        "keys": "\(report.needRestart.joined(separator: " "))"
                    ])
            }
            backup?.reload()
            try program.push.reload()
            host.federation.enforce(host)
            if federation.lacksPort(listeners) {
                log.warning("federation: the port for other servers opens with the next start")
            }
            try reloadCertificates()
        } catch {
            log.error("reload: nothing changed: \(error)")
        }
    }

    private func reloadCertificates() throws {
        let certificates = Certificates(program: program)
        try certificates.prepareLocal(now: Clock.secondsSince1970())
        try tls.reload(try certificates.identities())
        for warning in tls.warnings { log.warning("certificate: \(warning)") }
        try federation.reload()
        for warning in federation.warnings { log.warning("federation: \(warning)") }
        log.notice("certificates: read again")
    }

    /// Renews the local certificate when it is due; called once a day.
    func renewLocalCertificate() {
        do {
            let certificates = Certificates(program: program)
            guard try certificates.prepareLocal(now: Clock.secondsSince1970()) else { return }
            try tls.reload(try certificates.identities())
            log.notice("certificate: the local one was renewed")
        } catch {
            log.error("certificate: cannot be renewed: \(error)")
        }
    }

    // MARK: Stop

    /// Takes no more connections, tells the clients, commits what is queued, and ends.
    func stop() async {
        parts.state.withLock { $0.isListening = false }
        async let webHasClosed: Void? = web?.close()
        await listeners.close()
        await webHasClosed
        // It uses the database, and what it has begun is of no use once the process is gone.
        if let backup { await Self.stop(backup, log) }
        await program.push.stop(within: .seconds(2))
        await control.close()
        await host.stop()
        do {
            try memorySaver.finish()
        } catch {
            log.error("what the readings remember is not saved: \(error)")
        }
        do {
            try host.database.close()
        } catch {
            log.error("\(error)")
        }
        try? await group.shutdownGracefully()
        hardware.stop()
        endpoint.stop()
        log.notice("stopped")
    }
}
