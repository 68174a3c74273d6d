// Certificate and key files: bounded reading, with errors that say what to do.

import Glibc

/// The content of a certificate or key file, and who may read it.
struct PEMFile {
    /// A chain of sixteen RSA-4096 certificates is about 40 KB.
    static let sizeLimit = 256 * 1024

    let bytes: [UInt8]
    /// Whether any user of the machine may read the file.
    let isReadableByOthers: Bool

    /// Reads `path`; `option` is the configuration key that names it.
    init(
        path: String, operation: String, option: String, limit: Int = Self.sizeLimit
    ) throws(TLSError) {
        // O_NONBLOCK: a named pipe at this place must not stop the server.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw Self.error(errno, path: path, operation: operation, option: option)
        }
        defer { close(descriptor) }

        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw Self.error(errno, path: path, operation: operation, option: option)
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw TLSError(
                code: .fileUnreadable, operation: operation, subject: path,
                message: "it is not a file", advice: "check \(option) in the configuration")
        }
        isReadableByOthers = status.st_mode & S_IROTH != 0

        var content: [UInt8] = []
        while content.count <= limit {
            var chunk = [UInt8](repeating: 0, count: 16 * 1024)
            let count = read(descriptor, &chunk, chunk.count)
            if count < 0 {
                if errno == EINTR { continue }
                throw Self.error(errno, path: path, operation: operation, option: option)
            }
            if count == 0 { break }
            content.append(contentsOf: chunk[..<count])
        }
        guard content.count <= limit else {
            throw TLSError(
                code: .malformed, operation: operation, subject: path,
                message: "it is larger than \(limit / 1024) KiB",
                advice: "check \(option) in the configuration")
        }
        bytes = content
    }

    private static func error(
        _ number: Int32, path: String, operation: String, option: String
    ) -> TLSError {
        let missing = number == ENOENT || number == ENOTDIR
        return TLSError(
            code: missing ? .fileMissing : .fileUnreadable, operation: operation, subject: path,
            message: String(cString: strerror(number)),
            advice: missing
                ? "check \(option) in the configuration"
                : "let the user that runs the server read the file")
    }
}
