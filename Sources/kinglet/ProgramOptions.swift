// All options of the program in one place: the configuration file, what the parts declare, and
// where things are in the data directory.

internal import Addresses
internal import ArgumentParser
internal import Backup
internal import Engine
internal import Features
internal import Glibc
internal import Hardware
internal import Listeners
internal import Logging
internal import MetricsEndpoint
internal import Options
internal import Prometheus
internal import PushRelay
internal import Web

/// Options that every command takes.
struct CommonArguments: ParsableArguments {
    @Option(help: "The configuration file (default: ./kinglet.yaml, /etc/kinglet/kinglet.yaml).")
    var config: String?

    @Option(
        name: .customLong("set"),
        help: "Override a configuration key, such as limits.stanza=512KiB.")
    var assignments: [String] = []
}

enum LogFormat: String, CaseIterable, Sendable {
    case logfmt, json
}

enum LogLevel: String, CaseIterable, Sendable {
    case debug, info, notice, warning, error

    var level: Logger.Level {
        switch self {
        case .debug: .debug
        case .info: .info
        case .notice: .notice
        case .warning: .warning
        case .error: .error
        }
    }
}

/// What a start needs: the options, and the parts that were declared with them.
struct DeclaredProgram {
    let options: ProgramOptions
    /// Used up by opening a host.
    let builder: HostBuilder

    /// Reads the configuration that the arguments name, or the first one found, or none.
    init(_ arguments: CommonArguments, isolated: Bool = false) throws {
        let file = try ProgramOptions.find(arguments.config)
        var document = ConfigurationDocument.empty
        if let file { document = try ConfigurationDocument.load(file: file) }
        let overrides = arguments.assignments + (isolated ? Self.isolation : [])
        for assignment in overrides { try document.override(assignment) }
        try self.init(document, file: file, overrides: overrides, isolated: isolated)
    }

    /// `--isolated`: nothing but loopback, ports that are free, and nothing goes out.
    private static let isolation = [
        "listen.addresses=127.0.0.1", "listen.client_port=0", "listen.client_tls_port=0",
        "listen.component_addresses=127.0.0.1", "listen.component_port=0",
        "listen.web_port=0",
        "metrics.address=127.0.0.1", "metrics.port=0", "hardware.ups=\"\"",
        "federation.policy=off",
    ]

    /// Declares everything and checks the document against it.
    init(
        _ document: ConfigurationDocument, file: String?, overrides: [String] = [],
        isolated: Bool = false
    ) throws {
        var builder: HostBuilder?
        options = try ProgramOptions(
            document, file: file, overrides: overrides, isolated: isolated, &builder)
        guard let builder else { throw Failure("nothing was declared") }
        self.builder = builder
    }
}

/// Where the Debian package and its service have things.
enum Installed {
    static let configuration = "/etc/kinglet/kinglet.yaml"
    static let data = "/var/lib/kinglet"
}

/// The declared and checked options.
struct ProgramOptions: Sendable {
    static let searchOrder = ["./kinglet.yaml", Installed.configuration]

    /// The file that was read; nil when there is none.
    let file: String?
    let overrides: [String]
    /// Nothing goes out of this server, backups neither.
    let isIsolated: Bool
    let options: OptionSet
    let registry: Registry
    let listen: ListenOptions
    let loopCount: Int
    /// Prepared, the default first.
    let domains: [String]
    let components: ComponentOptions
    /// What this program itself answers for, beside its domains.
    let serviceDomains: [String]
    let dataDirectory: String

    let logFormat: Setting<LogFormat>
    let logLevel: Setting<LogLevel>
    let certificate: Setting<String?>
    let certificateKey: Setting<String?>
    let certificates: Setting<[ConfigurationRecord]>
    let metricsAddress: Setting<String>
    let metricsPort: Setting<Int>
    let metricsToken: Setting<String?>
    let metricsUser: Setting<String?>
    let metricsPassword: Setting<String?>
    let metricsAllow: Setting<[String]>
    let metricsAdvertise: Setting<String?>
    let hardwareRoot: Setting<String>
    let hardwareUPS: Setting<String>
    let hardwareUnits: Setting<[String]>
    let backup: BackupOptions
    let push: PushService
    let web: WebOptions

    /// Declares everything, the builder's parts among it, and checks the document.
    fileprivate init(
        _ document: ConfigurationDocument, file: String?, overrides: [String], isolated: Bool,
        _ declared: inout HostBuilder?
    ) throws {
        isIsolated = isolated
        self.file = file
        self.overrides = overrides
        options = OptionSet(document)
        let domain = options.optionalText(
            "domain", check: Self.domainProblem,
            help: "The domain of all addresses (alice@domain). Addresses carry it for ever.")
        let more = options.list(
            "domains", default: [], check: Self.domainProblem,
            help: "Instead of domain, several domains on this server; the first is the default.")
        let data = options.text(
            "data_dir", default: "./data",
            help: "Where everything is kept; relative to this file.")
        options.section("log", help: "The log goes to stderr; journald rotates it.")
        logFormat = options.choice(
            "log.format", default: .logfmt, help: "One event per line, as logfmt or JSON.")
        logLevel = options.choice(
            "log.level", default: .info, reloadable: true, help: "The least that is logged.")
        options.section(
            "tls",
            help: "Certificates. With none given, the one that kinglet init made is used.")
        certificate = options.optionalText(
            "tls.certificate", reloadable: true,
            help: "PEM file with the certificate and its chain, for all domains.")
        certificateKey = options.optionalText(
            "tls.key", reloadable: true, help: "PEM file with the certificate's private key.")
        certificates = options.records(
            "tls.certificates",
            fields: [
                RecordField(
                    name: "domains", required: true, list: true,
                    help: "The domains it is shown for."),
                RecordField(name: "certificate", required: true, help: "PEM file, with chain."),
                RecordField(name: "key", required: true, help: "PEM file."),
            ], reloadable: true, help: "Further certificates for some of the domains.")
        listen = ListenOptions(options)
        loopCount =
            listen.loops.value > 0
            ? listen.loops.value : max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        registry = Registry(cells: loopCount + 1)
        let builder = HostBuilder(options: options, registry: registry)
        for feature in AllFeatures.list { builder.add(feature) }
        push = PushService(in: builder)
        web = WebOptions(options, addresses: listen.addresses)
        for step in MachineMemoryStore.schema { builder.schema(step) }
        declared = builder
        options.section("metrics", help: "The page that Prometheus scrapes, and health checks.")
        metricsAddress = options.text(
            "metrics.address", default: "127.0.0.1",
            help: "IP address to serve metrics on. Beyond loopback, a token, a password or an "
                + "allow-list is required.")
        metricsPort = options.integer(
            "metrics.port", default: 9622, in: 0...65_535, help: "0 takes any free port.")
        metricsToken = options.optionalText(
            "metrics.token", secret: true, help: "Bearer token that a scraper must send.")
        metricsUser = options.optionalText(
            "metrics.user", help: "User name for basic authentication.")
        metricsPassword = options.optionalText(
            "metrics.password", secret: true, help: "Password for basic authentication.")
        metricsAllow = options.list(
            "metrics.allow", default: [],
            check: {
                CIDR($0) == nil ? "this is no network; write 192.168.1.0/24 or fd00::/8" : nil
            },
            help: "Networks that may scrape, such as 192.168.1.0/24. None given: all.")
        metricsAdvertise = options.optionalText(
            "metrics.advertise", check: ServiceDiscovery.problem(advertised:),
            help: "Host, or host:port, that service discovery gives to Prometheus. None given: "
                + "the address that it used itself.")
        options.section("hardware", help: "Readings of the machine.")
        hardwareRoot = options.text(
            "hardware.root", default: "/", check: Self.rootProblem,
            help: "Where /sys, /proc and /dev are found; another directory for recorded trees.")
        hardwareUPS = options.text(
            "hardware.ups", default: HardwareSettings.defaultUPS,
            check: HardwareSettings.problem(ofUPS:),
            help: "NUT server that knows the UPS, as HOST:PORT; empty for none. Another than the "
                + "default one has to answer.")
        hardwareUnits = options.list(
            "hardware.units", default: HardwareSettings.defaultUnits,
            maximumCount: HardwareSettings.unitLimit, check: HardwareSettings.problem(ofUnit:),
            help: "systemd units whose state is shown, where they are installed.")
        backup = BackupOptions(options)
        domains = Self.domains(options, domain.value, more.value)
        components = builder.components
        components.check(against: domains, options)
        push.serve(domains, hasWeb: web.isEnabled.value, in: builder)
        builder.checkServices(against: domains)
        serviceDomains = builder.serviceDomains
        let directory = file.map { String($0[..<($0.lastIndex(of: "/") ?? $0.startIndex)]) } ?? ""
        dataDirectory = Self.resolve(data.value, against: directory)
        try options.finish()
    }

    /// Who may read the metrics.
    var metricsAccess: MetricsServer.Access {
        MetricsServer.Access(
            bearerToken: metricsToken.value, basicUser: metricsUser.value,
            basicPassword: metricsPassword.value,
            allowedNetworks: metricsAllow.value.compactMap { CIDR($0) })
    }

    /// What one option alone cannot tell: whether the page would be open to everybody.
    func checkMetrics() throws {
        try MetricsServer.check(
            address: metricsAddress.value, port: metricsPort.value, access: metricsAccess)
    }

    /// A misspelt folder would be a machine without any hardware.
    private static let rootProblem: @Sendable (String) -> String? = { path in
        var folder = stat()
        return path.isEmpty || stat(path, &folder) == 0 && folder.st_mode & S_IFMT == S_IFDIR
            ? nil : "expected a folder that exists"
    }

    private static func domains(
        _ options: OptionSet, _ domain: String?, _ more: [String]
    ) -> [String] {
        if domain != nil, !more.isEmpty {
            options.problem(
                key: "domains", "domain is given too", advice: "keep one of the two")
        }
        var prepared: [String] = []
        for text in domain.map({ [$0] }) ?? more {
            guard let domain = try? Preparation.domain(text) else { continue }
            if prepared.contains(domain) {
                options.problem(
                    key: "domains", "\(domain) is given twice", advice: "remove one of them")
            } else {
                prepared.append(domain)
            }
        }
        return prepared
    }

    private static let domainProblem: @Sendable (String) -> String? = { text in
        do throws(JIDError) {
            _ = try Preparation.domain(text)
            return nil
        } catch {
            return "this cannot be a domain: \(error.message)"
        }
    }

    fileprivate static func find(_ given: String?) throws -> String? {
        if let given {
            guard access(given, F_OK) == 0 else {
                throw Failure("\(given): there is no such file; kinglet init writes one")
            }
            return given
        }
        // One that must not be read is named by the error of reading it.
        return searchOrder.first { access($0, F_OK) == 0 || errno == EACCES }
    }

    static func resolve(_ path: String, against directory: String) -> String {
        if path.hasPrefix("/") || directory.isEmpty { return path }
        return directory + "/" + (path.hasPrefix("./") ? String(path.dropFirst(2)) : path)
    }

    // MARK: Files

    /// A path from the configuration, which is relative to the configuration file.
    func path(_ text: String) -> String {
        let directory = file.map { String($0[..<($0.lastIndex(of: "/") ?? $0.startIndex)]) } ?? ""
        return Self.resolve(text, against: directory)
    }

    /// This server as a target of Prometheus.
    var discovery: ServiceDiscovery {
        ServiceDiscovery(
            version: Software.version, domain: domains.first ?? "",
            advertised: metricsAdvertise.value)
    }

    var files: DataFiles { DataFiles(directory: dataDirectory) }

    /// Fails unless there is a configuration with a domain.
    func requireDomain() throws {
        guard !domains.isEmpty else {
            guard let file else {
                throw Failure("there is no configuration; run kinglet init, which writes one")
            }
            throw Failure(
                "\(file): domain: no domain is given; add a line such as domain: example.org")
        }
    }
}
