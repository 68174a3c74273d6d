// kinglet config

internal import ArgumentParser
internal import Engine
internal import Options

struct ConfigCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Check the configuration, or print its reference.")
    @OptionGroup var common: CommonArguments
    @Flag(help: "Check the configuration file (the default).") var check = false
    @Flag(help: "Print every option with its help and default.") var reference = false

    @Flag(help: ArgumentHelp("Print the tables of the README.", visibility: .hidden))
    var tables = false

    func validate() throws {
        if [check, reference, tables].count(where: { $0 }) > 1 {
            throw ValidationError("choose --check or --reference")
        }
    }

    func run() async throws {
        try await reportingFailure {
            if reference || tables {
                let program = try DeclaredProgram(ConfigurationDocument.empty, file: nil)
                Terminal.say(reference ? program.options.options.reference() : program.tables)
                return
            }
            let program = try DeclaredProgram(common).options
            try program.requireDomain()
            _ = try Certificates(program: program).identities()
            try program.components.checkSecrets()
            try program.checkMetrics()
            Terminal.say("\(program.file ?? "no configuration file"): no mistakes found")
        }
    }
}

extension DeclaredProgram {
    /// The README's tables of specifications and options, each between its marks.
    fileprivate var tables: String {
        let specifications = builder.specifications.sorted { $0.number < $1.number }.map {
            "| \($0.number) | \($0.version) | \($0.title) |\n"
        }
        return """
            <!-- specifications: make readme -->
            | | version | |
            | --- | --- | --- |
            \(specifications.joined())<!-- end -->
            <!-- options: make readme -->
            \(options.options.table())<!-- end -->
            """
    }
}
