// kinglet metrics

internal import Administration
internal import ArgumentParser
internal import Listeners
internal import MetricsEndpoint
internal import NIOPosix
internal import Options

struct MetricsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metrics", abstract: "Print the running server's metrics.")
    @OptionGroup var common: CommonArguments
    @Option(
        name: .customLong("file-sd"),
        help: ArgumentHelp(
            "Write a target list for Prometheus (file_sd_configs) instead; - prints it.",
            valueName: "file"))
    var targetFile: String?

    func run() async throws {
        try await reportingFailure {
            if let targetFile { return try await writeTargets(targetFile) }
            let backend = try Backend(common)
            guard backend.isRunning else {
                throw Failure("the server does not run; start it with kinglet serve")
            }
            let answer = try await backend.perform(AdministrationRequest(.metrics))
            print(answer.metrics ?? "", terminator: "")
        }
    }

    /// Writes what `/sd` answers. The file belongs to whoever calls, so nothing here becomes the
    /// owner of the data, and it needs no server.
    private func writeTargets(_ path: String) async throws {
        let program = try DeclaredProgram(common).options
        try program.requireDomain()
        let (address, port) = await listener(program)
        guard port != 0 else {
            throw Failure(
                "metrics.port is 0, and no server runs that could say which port it took; start "
                    + "it, or set metrics.port")
        }
        guard let document = program.discovery.document(address: address, port: port) else {
            throw Failure(
                "metrics.address \(address) is every address of this machine; set "
                    + "metrics.advertise to the one that Prometheus is to use")
        }
        if path == "-" { return print(document, terminator: "") }
        // Prometheus takes files of these names alone.
        guard [".json", ".yml", ".yaml"].contains(where: path.hasSuffix) else {
            throw Failure("\(path): Prometheus reads target lists whose names end in .json")
        }
        try writeFile(path, Array(document.utf8), mode: 0o644)
    }

    /// Where the metrics are: the running server knows best, for its port may be any free one.
    private func listener(_ program: ProgramOptions) async -> (address: String, port: Int) {
        let configured = (program.metricsAddress.value, program.metricsPort.value)
        let client = ControlClient(
            file: program.files.controlSocket, group: MultiThreadedEventLoopGroup.singleton)
        guard let answer = try? await client.send(AdministrationRequest(.status)),
            let listener = answer.status?.listeners.first(where: { $0.name == "metrics" })
        else { return configured }
        return (listener.address, listener.port)
    }
}
