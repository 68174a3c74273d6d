// The open kernel log: what was not read yet of it, in bounded portions.

import Glibc
import Synchronization

/// What one look into the kernel's log brought.
struct KernelLogHarvest: Sendable {
    /// How often each kind of event was found.
    var counts: [KernelEvent: UInt64] = [:]
    /// The number after the last record that was counted; nil when none was.
    var end: UInt64?
    /// Why it ended early; what was found before counts nevertheless.
    var failure: ReadingError?
    /// Complete records, those before the wanted position included.
    var records = 0
    /// Lines that belong to no record.
    var strayLines = 0

    fileprivate mutating func take(_ line: ArraySlice<UInt8>, from position: UInt64) {
        guard let first = line.first, first != UInt8(ascii: " ") else { return }
        guard let record = KernelLogRecord(line: line) else {
            strayLines += 1
            return
        }
        records += 1
        guard record.facility == 0, record.sequence >= position else { return }
        let events = KernelEvent.events(in: record.text)
        guard !events.isEmpty else { return }
        for event in events { counts[event, default: 0] &+= 1 }
        end = max(end ?? 0, record.sequence &+ 1)
    }
}

/// `/dev/kmsg`, kept open between two looks: its descriptor is the place where the next one goes
/// on. A recorded tree has a regular file in its place, which is read from its beginning each time.
final class KernelLogSource: Sendable {
    /// The most records of one look; the rest is for the next.
    static let recordLimit = 2000
    /// The kernel gives one record to a read and refuses smaller buffers than its longest.
    private static let bufferSize = 16 * 1024
    /// More than the records of one look take; a source without line ends would give bytes for ever.
    static let byteLimit = 4 * 1024 * 1024

    private struct State: Sendable {
        var path = ""
        var descriptor: Int32 = -1
        var lines = KernelLogLines()

        mutating func close() {
            if descriptor >= 0 { Glibc.close(descriptor) }
            descriptor = -1
            lines = KernelLogLines()
        }
    }

    private let state = Mutex(State())

    deinit { state.withLock { $0.close() } }

    /// Counts the events of the kernel's records from number `position` on that were not read yet;
    /// nil where the machine has no such log.
    func harvest(_ path: String, from position: UInt64) throws(ReadingError) -> KernelLogHarvest? {
        try state.withLock { (state) throws(ReadingError) -> KernelLogHarvest? in
            guard try Self.open(path, &state) else { return nil }
            return Self.drain(&state, from: position)
        }
    }

    private static func open(_ path: String, _ state: inout State) throws(ReadingError) -> Bool {
        if state.path != path { state.close() }
        guard state.descriptor < 0 else { return true }
        state.path = path
        state.descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard state.descriptor < 0 else { return true }
        let code = errno
        if [ENOENT, ENOTDIR, ENXIO, ENODEV].contains(code) { return false }
        throw failure(code, path)
    }

    static func failure(_ code: Int32, _ path: String) -> ReadingError {
        var failure = ReadingError(systemError: code, subject: path)
        if failure.code == .permission {
            failure.advice = "give this program CAP_SYSLOG, or set kernel.dmesg_restrict=0"
        }
        return failure
    }

    private static func drain(_ state: inout State, from position: UInt64) -> KernelLogHarvest {
        var harvest = KernelLogHarvest()
        var buffer = [UInt8](repeating: 0, count: bufferSize)
        var lost = 0
        var bytes = 0
        while harvest.records + harvest.strayLines < recordLimit, lost < recordLimit,
            bytes < byteLimit
        {
            let count = Glibc.read(state.descriptor, &buffer, buffer.count)
            if count > 0 {
                bytes += count
                state.lines.receive(buffer[..<count]) { harvest.take($0, from: position) }
                continue
            }
            if count == 0 {
                // A regular file ends. What it holds at the next look may be something else.
                state.close()
                break
            }
            let code = errno
            if code == EAGAIN { break }
            if code == EINTR { continue }
            // Records were overwritten before they were read; the next read goes on after them.
            if code == EPIPE {
                lost += 1
                continue
            }
            harvest.failure = failure(code, state.path)
            state.close()
            break
        }
        if harvest.records == 0, harvest.strayLines > 0 || bytes >= byteLimit,
            harvest.failure == nil
        {
            harvest.failure = .unknownForm(state.path, "this is no log of the kernel")
        }
        return harvest
    }
}
