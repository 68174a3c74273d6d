// Reads the bytes of the configuration file, bounded, and makes sure that they are text.

import Glibc

/// Reading a file whole, with an operator's answer to everything that can fail.
enum ConfigurationFile {
    /// The text of a file of at most `ConfigurationDocument.maximumBytes`.
    static func read(_ file: String) throws(ConfigurationErrors) -> String {
        let bytes = try bytes(of: file)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw failure(
                file, line: lineOfInvalidText(in: bytes), "the file is not valid UTF-8",
                advice: "save it as UTF-8 text")
        }
        return text
    }

    private static func bytes(of file: String) throws(ConfigurationErrors) -> [UInt8] {
        guard !file.utf8.contains(0) else { throw failure(file, "no such file") }
        let descriptor = open(file, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(file, errorNumber: errno) }
        defer { close(descriptor) }

        // One byte more than is allowed tells a file that is too long from one that just fits.
        let limit = ConfigurationDocument.maximumBytes + 1
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while bytes.count < limit {
            let count = chunk.withUnsafeMutableBytes { buffer in
                Glibc.read(descriptor, buffer.baseAddress, min(buffer.count, limit - bytes.count))
            }
            if count == 0 { return bytes }
            if count > 0 {
                bytes.append(contentsOf: chunk[..<count])
            } else if errno != EINTR {
                throw failure(file, errorNumber: errno)
            }
        }
        throw tooLong(file)
    }

    /// The error for a file longer than is read.
    static func tooLong(_ file: String) -> ConfigurationErrors {
        failure(
            file, "the file is longer than 1 MiB",
            advice: "a configuration is a few kilobytes; check that this is the right file")
    }

    private static func failure(_ file: String, errorNumber: Int32) -> ConfigurationErrors {
        switch errorNumber {
        case ENOENT, ENOTDIR:
            failure(
                file, "no such file", advice: "kinglet init writes one, --config names another")
        case EACCES, EPERM:
            failure(
                file, "permission denied",
                advice: "run this as root, or let the user that runs Kinglet read the file")
        case EISDIR:
            failure(file, "this is a directory", advice: "name the file in it")
        default:
            failure(file, "cannot be read: \(String(cString: strerror(errorNumber)))")
        }
    }

    private static func failure(
        _ file: String, line: Int? = nil, _ problem: String, advice: String = ""
    ) -> ConfigurationErrors {
        ConfigurationErrors(
            ConfigurationError(file: file, line: line, key: "", problem: problem, advice: advice))
    }

    /// The first line that is not UTF-8. A line break is one byte in UTF-8 and never part of
    /// another character, so lines can be judged one by one.
    private static func lineOfInvalidText(in bytes: [UInt8]) -> Int? {
        bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            .firstIndex { String(validating: $0, as: UTF8.self) == nil }
            .map { $0 + 1 }
    }
}
