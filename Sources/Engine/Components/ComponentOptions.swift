// The components of the configuration: each a domain and a secret.

internal import Addresses
internal import Glibc
public import Options

/// The options of components (XEP-0114).
public struct ComponentOptions: Sendable {
    /// The key of the list.
    public static let key = "components"
    /// The fewest bytes of a secret: who knows the stream's id and the handshake may try secrets
    /// without asking the server.
    private static let shortest = 16
    private static let longest = 1024

    /// The components as they are written.
    public let records: Setting<[ConfigurationRecord]>

    init(_ options: OptionSet) {
        records = options.records(
            Self.key,
            fields: [
                RecordField(
                    name: "domain", required: true,
                    help: "Its domain, such as bridge.example.org; none of the server's own."),
                RecordField(
                    name: "secret", secret: true,
                    help: "What it proves itself with: 16 bytes at least (openssl rand -hex 20)."),
                RecordField(
                    name: "secret_file",
                    help: "Instead of secret: an absolute path of a file with the secret in its "
                        + "first line, mode 0600 (or 0640, for the service's group)."),
            ], maximumCount: 64,
            help: "Programs that may attach with a domain of their own (XEP-0114): bridges, app "
                + "servers. They connect to listen.component_port. A change needs a restart.")
        options.judgeRecords([Self.key]) { Self.problems($0[Self.key] ?? []) }
    }

    /// The prepared domains, in their order.
    public var domains: [String] {
        records.value.compactMap { record in
            record.string("domain").flatMap { try? Preparation.domain($0) }
        }
    }

    /// Reports components whose domain is one of the server's own.
    public func check(against domains: [String], _ options: OptionSet) {
        for record in records.value {
            guard let domain = record.string("domain").flatMap({ try? Preparation.domain($0) }),
                domains.contains(domain)
            else { continue }
            options.problem(
                key: Self.key, "domain: \(domain) is a domain of this server",
                advice: "give the component one of its own, such as bridge.\(domain)",
                line: record.line)
        }
    }

    /// Reads all secrets.
    public func checkSecrets() throws(ComponentSecretError) {
        for record in records.value { _ = try Self.secret(of: record) }
    }

    /// The secret of a record.
    static func secret(of record: ConfigurationRecord) throws(ComponentSecretError) -> [UInt8] {
        if let secret = record.string("secret") { return Array(secret.utf8) }
        guard let file = record.string("secret_file") else { return [] }
        return try read(file)
    }

    /// The first line of a file that only its owner and those of its group can read: the service
    /// may run as another user than the file's owner.
    private static func read(_ file: String) throws(ComponentSecretError) -> [UInt8] {
        let descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw ComponentSecretError(file, String(cString: strerror(errno)))
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw ComponentSecretError(file, "this is no file")
        }
        guard status.st_mode & 0o027 == 0 else {
            throw ComponentSecretError(file, "everybody can read this secret; chmod 600 it")
        }
        var bytes = [UInt8](repeating: 0, count: longest + 2)
        let count = Glibc.read(descriptor, &bytes, bytes.count)
        guard count >= 0 else { throw ComponentSecretError(file, String(cString: strerror(errno))) }
        let line = Array(bytes.prefix(count).prefix { $0 != 10 && $0 != 13 && $0 != 0 })
        if let problem = problem(ofSecret: line) { throw ComponentSecretError(file, problem) }
        return line
    }

    // MARK: What is wrong

    private static func problem(ofSecret secret: [UInt8]) -> String? {
        guard secret.count >= shortest else {
            return "a secret has \(shortest) bytes at least; openssl rand -hex 20 makes one"
        }
        return secret.count <= longest ? nil : "a secret has \(longest) bytes at most"
    }

    private static func problems(_ records: [ConfigurationRecord]) -> [RecordProblem] {
        var domains: Set<String> = []
        return records.flatMap { record in
            var problems: [RecordProblem] = []
            func report(_ text: String, _ advice: String = "") {
                problems.append(RecordProblem(key: key, line: record.line, text, advice: advice))
            }
            do throws(JIDError) {
                let domain = try Preparation.domain(record.string("domain") ?? "")
                if !domains.insert(domain).inserted {
                    report("domain: \(domain) is given twice", "remove one of them")
                }
            } catch {
                report("domain: this cannot be a domain: \(error.message)")
            }
            switch (record.string("secret"), record.string("secret_file")) {
            case (nil, nil): report("expected secret or secret_file", "add one of them")
            case (_?, _?): report("secret and secret_file are given", "keep one of them")
            case (let secret?, nil):
                if let problem = problem(ofSecret: Array(secret.utf8)) {
                    report("secret: \(problem)")
                }
            case (nil, let file?):
                if !file.hasPrefix("/") { report("secret_file: expected an absolute path") }
            }
            return problems
        }
    }
}

/// A secret that cannot be had.
public struct ComponentSecretError: Error, CustomStringConvertible {
    private let file: String
    private let problem: String

    init(_ file: String, _ problem: String) {
        self.file = file
        self.problem = problem
    }

    /// The file and what is wrong with it; never what is in it.
    public var description: String { "components: \(file): \(problem)" }
}
