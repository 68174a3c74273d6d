// Where a command's request goes: to the running server, or to the data itself when none runs.
// The lock decides.

internal import Administration
internal import Backup
internal import Engine
internal import Features
internal import Listeners
internal import Logging
internal import NIOPosix
internal import Storage

/// Performs administration requests for the length of one command.
struct Backend: ~Copyable {
    private enum Way {
        case server(ControlClient)
        case data(Administrator, Host)
    }

    private let way: Way
    /// Held while the data is open here.
    private let lock: DataLock?
    /// Whether a server runs.
    let isRunning: Bool

    init(_ common: CommonArguments) throws {
        let declared = try DeclaredProgram(common)
        let program = declared.options
        try program.requireDomain()
        guard program.files.exist else {
            throw Failure("there is no data in \(program.dataDirectory); run kinglet init first")
        }
        try program.files.becomeOwner()
        guard let lock = try DataLock(program.files) else {
            way = .server(
                ControlClient(
                    file: program.files.controlSocket,
                    group: MultiThreadedEventLoopGroup.singleton))
            lock = nil
            isRunning = true
            return
        }
        let password = InitialPassword(file: program.files.initialPassword)
        declared.builder.hooks.passwordChanged.append { password.passwordChanged($0) }
        try program.preparePush(nil)
        let host = try openHost(
            program, declared.builder, eventLoops: [],
            log: Logger(label: "kinglet") { _ in SwiftLogNoOpLogHandler() })
        let domains = program.domains
        let backup = program.backupProgram(nil)
        way = .data(
            Administrator(
                host: host, isRunning: false,
                status: {
                    ServerStatus(
                        running: false, version: Software.version, domains: domains,
                        backup: backup.status(nil))
                },
                metrics: { "" }, push: program.push), host)
        self.lock = consume lock
        isRunning = false
    }

    /// Performs one request. An answer with an error is thrown as a failure.
    @discardableResult
    func perform(_ request: AdministrationRequest) async throws -> AdministrationAnswer {
        let answer =
            switch way {
            case .server(let client): try await client.send(request)
            case .data(let administrator, _): administrator.perform(request)
            }
        if let error = answer.error { throw Failure(error) }
        return answer
    }

    /// Performs many requests, a few at a time; gives each one's error, nil for success.
    func performAll(
        _ requests: [AdministrationRequest], progress: @escaping @Sendable (Int) -> Void
    ) async -> [String?] {
        let way = way
        return await withTaskGroup(of: (Int, String?).self) { group in
            var errors = [String?](repeating: nil, count: requests.count)
            var next = 0
            var done = 0
            func start() {
                guard next < requests.count else { return }
                let index = next
                let request = requests[index]
                next += 1
                group.addTask {
                    do {
                        let answer =
                            switch way {
                            case .server(let client): try await client.send(request)
                            case .data(let administrator, _): administrator.perform(request)
                            }
                        return (index, answer.error)
                    } catch {
                        return (index, "\(error)")
                    }
                }
            }
            for _ in 0..<8 { start() }
            for await (index, error) in group {
                errors[index] = error
                done += 1
                progress(done)
                start()
            }
            return errors
        }
    }

    deinit {
        if case .data(_, let host) = way { try? host.database.close() }
    }
}
