// One short conversation with a NUT server: lines out and in, all within one deadline, whatever
// the other side does.

import Glibc

/// A connection to a NUT server.
final class NUTConnection {
    /// Longer lines are an error.
    static let lineLimit = 1024
    /// The most that is read in one conversation, in bytes.
    static let totalLimit = 256 * 1024

    private let descriptor: Int32
    private let subject: String
    private let deadline: ContinuousClock.Instant
    private var buffer: [UInt8] = []
    private var total = 0

    private init(_ descriptor: Int32, subject: String, deadline: ContinuousClock.Instant) {
        self.descriptor = descriptor
        self.subject = subject
        self.deadline = deadline
    }

    deinit { close(descriptor) }

    /// Connects to the first of the addresses that takes it; nil when nobody listens there.
    static func open(
        _ addresses: [SocketAddress], subject: String, deadline: ContinuousClock.Instant
    ) throws(ReadingError) -> NUTConnection? {
        var code = ECONNREFUSED
        for (index, address) in addresses.enumerated() {
            let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
            let descriptor = socket(address.family, type, 0)
            guard descriptor >= 0 else {
                code = errno
                continue
            }
            let connection = NUTConnection(descriptor, subject: subject, deadline: deadline)
            // One address that swallows everything leaves time for the others.
            let left = ContinuousClock.now.duration(to: deadline)
            code = connection.connect(
                to: address, before: .now + left / (addresses.count - index))
            if code == 0 { return connection }
        }
        if [ECONNREFUSED, ENETUNREACH, EADDRNOTAVAIL, EAFNOSUPPORT].contains(code) { return nil }
        throw ReadingError(
            code == ETIMEDOUT ? .timeout : .connection, subject: subject,
            message: String(cString: strerror(code)),
            advice: "check hardware.ups and the network")
    }

    /// The error number of the connection; 0 when it stands.
    private func connect(
        to address: SocketAddress, before limit: ContinuousClock.Instant
    ) -> Int32 {
        let status = address.bytes.withUnsafeBytes { bytes in
            bytes.withMemoryRebound(to: sockaddr.self) { address in
                Glibc.connect(descriptor, address.baseAddress, socklen_t(bytes.count))
            }
        }
        if status == 0 { return 0 }
        guard errno == EINPROGRESS || errno == EINTR else { return errno }
        guard isReady(for: POLLOUT, before: limit) else { return ETIMEDOUT }
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout.size(ofValue: code))
        guard getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length) == 0 else {
            return errno
        }
        return code
    }

    // MARK: Lines

    /// Sends one line.
    func send(_ line: String) throws(ReadingError) {
        var rest = Array("\(line)\n".utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count >= 0 {
                rest = rest.dropFirst(count)
            } else if errno == EAGAIN {
                try wait(for: POLLOUT)
            } else if errno != EINTR {
                throw failure(errno)
            }
        }
    }

    /// The words of the next line; at least one.
    func receive() throws(ReadingError) -> [String] {
        while true {
            if let end = buffer.firstIndex(of: 0x0A) {
                var line = buffer[..<end]
                if line.last == 0x0D { line.removeLast() }
                guard line.count <= Self.lineLimit, let words = NUTWords.words(line),
                    !words.isEmpty
                else { throw malformed(SystemFile.quoted(String(decoding: line, as: UTF8.self))) }
                buffer.removeFirst(end + 1)
                return words
            }
            guard buffer.count <= Self.lineLimit else { throw malformed("a line without end") }
            try fill()
        }
    }

    private func fill() throws(ReadingError) {
        var piece = [UInt8](repeating: 0, count: 4096)
        while true {
            // First, so that a server which never pauses is timed, too.
            try wait(for: POLLIN)
            let count = recv(descriptor, &piece, piece.count, 0)
            if count > 0 {
                total += count
                guard total <= Self.totalLimit else { throw malformed("an answer without end") }
                buffer += piece[..<count]
                return
            }
            if count == 0 {
                throw ReadingError(
                    .connection, subject: subject, message: "the server closed the connection",
                    advice: "look into the log of nut-server")
            }
            if errno != EAGAIN, errno != EINTR { throw failure(errno) }
        }
    }

    /// Sleeps until the socket is ready.
    private func wait(for events: Int32) throws(ReadingError) {
        guard isReady(for: events, before: deadline) else {
            throw ReadingError(
                .timeout, subject: subject, message: "the server did not answer in time",
                advice: "look whether nut-server hangs ('upsc -l')")
        }
    }

    /// Whether the socket becomes ready in time.
    private func isReady(for events: Int32, before limit: ContinuousClock.Instant) -> Bool {
        while true {
            let left = ContinuousClock.now.duration(to: limit)
            guard left > .zero else { return false }
            var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
            let milliseconds = Int32(clamping: Int64(left.inSeconds * 1000) + 1)
            if poll(&entry, 1, milliseconds) > 0 { return true }
        }
    }

    /// The error of an answer that is not of the protocol.
    func malformed(_ found: String) -> ReadingError {
        ReadingError(
            .malformed, subject: subject, message: "this is no answer of a NUT server: \(found)",
            advice: "check the address in hardware.ups")
    }

    private func failure(_ code: Int32) -> ReadingError {
        ReadingError(
            .connection, subject: subject, message: String(cString: strerror(code)),
            advice: "look into the log of nut-server")
    }
}
