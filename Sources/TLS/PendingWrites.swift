// What was written to a TLS connection and not flushed yet, and how it becomes records.

import NIOCore

/// Writes that wait for a flush. Empty, it owns no memory.
///
/// Taking them out and completing their promises are two steps: a promise may bring its owner back
/// into the handler, which must not find the writes in the middle of a change.
struct PendingWrites {
    /// The most plaintext in one record (RFC 8446 section 5.1).
    static let recordLimit = 16 * 1024
    /// What a record adds: header, explicit nonce or content type, and tag; rounded up.
    private static let recordOverhead = 40

    private var writes: [(bytes: ByteBuffer, promise: EventLoopPromise<Void>?)] = []

    var isEmpty: Bool { writes.isEmpty }

    mutating func append(_ bytes: ByteBuffer, _ promise: EventLoopPromise<Void>?) {
        writes.append((bytes, promise))
    }

    /// The writes, which are the caller's to complete from here on.
    mutating func take() -> PendingWrites {
        defer { writes = [] }
        return self
    }

    /// Fails the promises of writes that were taken out.
    consuming func fail(_ error: any Error) {
        for write in writes { write.promise?.fail(error) }
    }

    /// Encrypts everything into the connection's output, small writes joined into full records.
    ///
    /// A record costs as much as a few hundred bytes, so joining is what makes bursts cheap; a
    /// large buffer is encrypted where it lies, without another copy.
    ///
    /// - Returns: the promise to give with the one channel write; all others follow it.
    consuming func encrypt(
        in connection: TLSConnection
    ) throws(TLSError) -> EventLoopPromise<Void>? {
        let promise = Self.joinPromises(writes)
        do throws(TLSError) {
            try Self.encrypt(writes, in: connection)
        } catch {
            promise?.fail(error)
            throw error
        }
        return promise
    }

    private static func encrypt(
        _ writes: [(bytes: ByteBuffer, promise: EventLoopPromise<Void>?)],
        in connection: TLSConnection
    ) throws(TLSError) {
        let total = writes.reduce(0) { $0 + $1.bytes.readableBytes }
        let records = total / recordLimit + 1
        connection.output.reserveCapacity(
            minimumWritableBytes: total + records * recordOverhead)

        var joined = ByteBuffer()
        if writes.count > 1 { joined.reserveCapacity(min(total, recordLimit)) }
        for (index, write) in writes.enumerated() {
            var bytes = write.bytes
            let isLast = index == writes.count - 1
            while bytes.readableBytes > 0 {
                if joined.readableBytes == 0, isLast || bytes.readableBytes >= recordLimit {
                    let length = bytes.readableBytes
                    let whole = isLast ? length : length - length % recordLimit
                    guard let part = bytes.readSlice(length: whole) else { break }
                    try connection.encrypt(part)
                    continue
                }
                let room = min(recordLimit - joined.readableBytes, bytes.readableBytes)
                guard var part = bytes.readSlice(length: room) else { break }
                joined.writeBuffer(&part)
                if joined.readableBytes == recordLimit {
                    try connection.encrypt(joined)
                    joined.clear()
                }
            }
        }
        if joined.readableBytes > 0 { try connection.encrypt(joined) }
    }

    private static func joinPromises(
        _ writes: [(bytes: ByteBuffer, promise: EventLoopPromise<Void>?)]
    ) -> EventLoopPromise<Void>? {
        var first: EventLoopPromise<Void>?
        for case let promise? in writes.lazy.map(\.promise) {
            if let first {
                first.futureResult.cascade(to: promise)
            } else {
                first = promise
            }
        }
        return first
    }
}
