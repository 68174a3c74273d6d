// kinglet metrics

internal import Administration
internal import ArgumentParser

struct MetricsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metrics", abstract: "Print the running server's metrics.")
    @OptionGroup var common: CommonArguments

    func run() async throws {
        try await reportingFailure {
            let backend = try Backend(common)
            guard backend.isRunning else {
                throw Failure("the server does not run; start it with kinglet serve")
            }
            let answer = try await backend.perform(AdministrationRequest(.metrics))
            print(answer.metrics ?? "", terminator: "")
        }
    }
}
