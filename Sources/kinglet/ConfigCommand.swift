// kinglet config

internal import ArgumentParser
internal import Options

struct ConfigCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Check the configuration, or print its reference.")
    @OptionGroup var common: CommonArguments
    @Flag(help: "Check the configuration file (the default).") var check = false
    @Flag(help: "Print every option with its help and default.") var reference = false

    func validate() throws {
        if check, reference { throw ValidationError("choose --check or --reference") }
    }

    func run() async throws {
        try await reportingFailure {
            if reference {
                let program = try DeclaredProgram(ConfigurationDocument.empty, file: nil)
                Terminal.say(program.options.options.reference())
                return
            }
            let program = try DeclaredProgram(common).options
            try program.requireDomain()
            _ = try Certificates(program: program).identities()
            Terminal.say("\(program.file ?? "no configuration file"): no mistakes found")
        }
    }
}
