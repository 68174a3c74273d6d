// Bounded reads of the kernel's small files, with one rule for what "absent" and "broken" mean.

import Glibc

/// Reads of files in `/sys` and `/proc`.
///
/// Absent (nil) is what differs between machines: no such file, no such device, `ENODATA`, by which
/// a driver says that it does not know, and `EINVAL`, by which a thermal zone says that it has no
/// value. Everything else is an error.
enum SystemFile {
    /// The most that is read of one file, in bytes; the kernel's attribute files end at one page.
    static let sizeLimit = 4096
    /// The most that is read of one of the kernel's long tables (`/proc/stat`, `/proc/mounts`).
    static let tableLimit = 256 * 1024
    /// The most entries that are looked at in one directory.
    static let entryLimit = 256

    /// Whether something is at `path`.
    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// The first `limit` bytes of the file; nil when it is absent.
    static func bytes(_ path: String, limit: Int = sizeLimit) throws(ReadingError) -> [UInt8]? {
        // O_NONBLOCK: opening a FIFO that stands where a file is expected must not wait.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return try absentOrThrow(errno, path) }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: min(limit, sizeLimit))
        var filled = 0
        while filled < limit {
            if filled == buffer.count {
                buffer += [UInt8](repeating: 0, count: min(buffer.count, limit - filled))
            }
            let count = buffer.withUnsafeMutableBytes { storage in
                Glibc.read(
                    descriptor, storage.baseAddress?.advanced(by: filled), storage.count - filled)
            }
            if count < 0 {
                let code = errno
                if code == EINTR { continue }
                return try absentOrThrow(code, path)
            }
            if count == 0 { break }
            filled += count
        }
        buffer.removeLast(buffer.count - filled)
        return buffer
    }

    /// The last `limit` bytes of a file that grows; nil when it is absent.
    static func tail(_ path: String, limit: Int = sizeLimit) throws(ReadingError) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return try absentOrThrow(errno, path) }
        defer { close(descriptor) }
        let size = lseek(descriptor, 0, SEEK_END)
        guard size >= 0 else { return try absentOrThrow(errno, path) }
        var buffer = [UInt8](repeating: 0, count: limit)
        let count = pread(descriptor, &buffer, limit, max(0, size - limit))
        guard count >= 0 else { return try absentOrThrow(errno, path) }
        buffer.removeLast(limit - count)
        return buffer
    }

    /// The file as text up to its first NUL, without white space around it; nil when the file is
    /// absent. Device-tree strings end with NUL, attribute files with a line feed.
    static func text(_ path: String) throws(ReadingError) -> String? {
        guard let bytes = try bytes(path) else { return nil }
        let text = bytes.prefix { $0 != 0 }
        return String(decoding: text.trimmingASCIISpace, as: UTF8.self)
    }

    /// A long table as text, with its line ends; nil when it is absent.
    static func table(_ path: String) throws(ReadingError) -> String? {
        try bytes(path, limit: tableLimit).map { String(decoding: $0, as: UTF8.self) }
    }

    /// The lines of a long table, but for one that the limit has cut off; nil when it is absent.
    static func lines(_ path: String) throws(ReadingError) -> [ArraySlice<UInt8>]? {
        guard let table = try bytes(path, limit: tableLimit) else { return nil }
        var lines = table.split(separator: 0x0A)
        if table.count == tableLimit { _ = lines.popLast() }
        return lines
    }

    /// The file as one decimal integer within `bounds`; nil when it is absent.
    ///
    /// A number outside of what the source can mean is garbage like any other.
    static func integer(
        _ path: String, in bounds: ClosedRange<Int64> = .min ... .max
    ) throws(ReadingError) -> Int64? {
        guard let text = try text(path) else { return nil }
        guard let value = Int64(text) else {
            throw .unknownForm(path, "expected an integer, found \(quoted(text))")
        }
        guard bounds.contains(value) else {
            throw ReadingError(
                .malformed, subject: path,
                message: "\(value) is not within \(bounds.lowerBound) to \(bounds.upperBound)",
                advice: "the sensor is broken, or report this with the output of 'uname -r'")
        }
        return value
    }

    /// Names in the directory that start with `prefix`, sorted; empty when it is absent.
    static func entries(_ directory: String, prefix: String) throws(ReadingError) -> [String] {
        guard let stream = opendir(directory) else {
            let _: Never? = try absentOrThrow(errno, directory)
            return []
        }
        defer { closedir(stream) }
        var names: [String] = []
        for _ in 0..<entryLimit {
            guard let entry = readdir(stream) else { break }
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasPrefix(prefix) { names.append(name) }
        }
        return names.sorted()
    }

    /// A short excerpt for an error message.
    static func quoted(_ text: String) -> String { "'\(text.prefix(40))'" }

    private static func absentOrThrow<Value>(
        _ code: Int32, _ path: String
    ) throws(ReadingError) -> Value? {
        switch code {
        case ENOENT, ENOTDIR, ENODEV, ENXIO, EINVAL, EOPNOTSUPP, ENODATA:
            return nil
        default:
            throw ReadingError(systemError: code, subject: path)
        }
    }
}

extension ReadingError {
    /// A file of the kernel's that has another form than its documentation says.
    static func unknownForm(_ path: String, _ message: String) -> ReadingError {
        ReadingError(
            .malformed, subject: path, message: message,
            advice: "report this with the output of 'uname -r'")
    }

    /// The error of a system call on `subject`.
    init(systemError code: Int32, subject: String) {
        let message = String(cString: strerror(code))
        switch code {
        case EACCES, EPERM:
            self.init(
                .permission, subject: subject, message: message,
                advice: "let the user of this program read it (for /dev/vcio: group 'video')")
        case ETIMEDOUT:
            self.init(
                .timeout, subject: subject, message: message,
                advice: "look for the device in the kernel log ('journalctl -k')")
        default:
            self.init(
                .inputOutput, subject: subject, message: message,
                advice: "look for the device in the kernel log ('journalctl -k')")
        }
    }
}

extension Sequence where Element == UInt8, Self: BidirectionalCollection {
    /// Without spaces, tabs and line ends on both sides.
    var trimmingASCIISpace: SubSequence {
        func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
        guard let first = firstIndex(where: { !isSpace($0) }),
            let last = lastIndex(where: { !isSpace($0) })
        else { return self[endIndex...] }
        return self[first...last]
    }
}
