// What a provider's credential is made of: a record of the configuration and the files that it
// names.

internal import Glibc
internal import Options

/// A provider that has a credential: its file says which fields its records have.
protocol ConfiguredProvider: PushProvider {
    /// The word of its records (`provider:`).
    static var kind: ProviderKind { get }
    /// What its records have besides `name`, `provider`, `url` and `default`.
    static var fields: [RecordField] { get }
    /// What is wrong with a record beyond its fields.
    static func problems(of record: ConfigurationRecord) -> [(text: String, advice: String)]
    /// Makes one from a record without problems.
    ///
    /// - Parameters:
    ///   - memory: what it keeps; what was saved is there at the next `load`.
    ///   - read: the bytes of a file with a secret.
    init(
        _ record: ConfigurationRecord, memory: any PushMemory, read: (String) throws -> [UInt8]
    ) throws(PushCredentialError)
    /// The same with what holds for all targets: who answers for this server, where the record does
    /// not say it, and whether users' hosts may be reached without TLS.
    func with(contact: String?, allowsHTTP: Bool) throws(PushCredentialError) -> Self
}

extension ConfiguredProvider {
    /// Nothing.
    static func problems(
        of record: ConfigurationRecord
    ) -> [(text: String, advice: String)] { [] }
    /// It uses neither.
    func with(contact: String?, allowsHTTP: Bool) throws(PushCredentialError) -> Self {
        self
    }
}

/// A credential that cannot be used.
public struct PushCredentialError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The app's name; empty for a file that is not known to belong to one.
    public var app: String
    /// The field or the file.
    public var subject: String
    /// What is wrong with it; never what is in it.
    public var problem: String

    /// An error from its parts.
    public init(app: String = "", subject: String, _ problem: String) {
        self.app = app
        self.subject = subject
        self.problem = problem
    }

    /// One line for a log or a terminal.
    public var description: String {
        "push.apps: " + [app, subject, problem].filter { !$0.isEmpty }.joined(separator: ": ")
    }
}

extension ConfigurationRecord {
    /// The app's name.
    var app: String { string("name") ?? "" }

    /// A field that the provider cannot do without.
    func needed(_ name: String) throws(PushCredentialError) -> String {
        guard let text = string(name), !text.isEmpty else {
            throw PushCredentialError(app: app, subject: name, "this is missing")
        }
        return text
    }

    /// The bytes of the file that a field names.
    func file(
        _ name: String, _ read: (String) throws -> [UInt8]
    ) throws(PushCredentialError) -> [UInt8] {
        let path = try needed(name)
        do {
            return try read(path)
        } catch let error as PushCredentialError {
            throw PushCredentialError(app: app, subject: "\(name): \(path)", error.problem)
        } catch {
            // What somebody else's error says may be more than should be shown.
            throw PushCredentialError(app: app, subject: "\(name): \(path)", "it cannot be read")
        }
    }

    /// The URL of a server without a slash at its end; nil if the field is not set.
    func server(_ name: String) throws(PushCredentialError) -> String? {
        guard let text = string(name) else { return nil }
        guard let base = EndpointURL.server(text) else {
            throw PushCredentialError(
                app: app, subject: name, "expected a URL that begins with https://")
        }
        return base
    }
}

/// Files with secrets.
public enum SecretFile {
    private static let longest = 64 << 10

    /// The bytes of a file that only its owner and those of its group can read: the service may run
    /// as another user than the file's owner.
    public static func read(_ file: String) throws(PushCredentialError) -> [UInt8] {
        func failure(_ problem: String) -> PushCredentialError {
            PushCredentialError(subject: file, problem)
        }
        let descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw failure(String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw failure("this is no file")
        }
        guard status.st_mode & 0o027 == 0 else {
            throw failure("everybody can read this secret; chmod 600 it")
        }
        guard status.st_size > 0 else { throw failure("it is empty") }
        guard status.st_size <= longest else { throw failure("it is too large for a secret") }
        var bytes = [UInt8](repeating: 0, count: longest + 1)
        var count = 0
        while count < bytes.count {
            let more = bytes.withUnsafeMutableBytes { buffer in
                Glibc.read(
                    descriptor, buffer.baseAddress.map { $0 + count }, buffer.count - count)
            }
            if more < 0 { throw failure(String(cString: strerror(errno))) }
            if more == 0 { break }
            count += more
        }
        guard count <= longest else { throw failure("it is too large for a secret") }
        return Array(bytes.prefix(count))
    }
}
