// Every function that c-ares calls back.
//
// THREADS: c-ares calls these from inside the calls that open, ask, process, cancel and destroy a
// channel, on the thread that owns the channel (LookupThread). What they touch, no other thread
// knows.

internal import CAres
internal import Glibc

/// The sockets of a channel and what c-ares waits for on each, in the words of poll.
final class SocketInterest {
    fileprivate(set) var events: [Int32: Int16] = [:]
}

/// One query, and what becomes of its reply.
final class PendingReply {
    fileprivate let take: (Reply) -> Void

    init(_ take: @escaping (Reply) -> Void) { self.take = take }
}

enum CaresCallbacks {
    /// A socket is opened, closed, or waited for in another way; the first argument is the
    /// `SocketInterest`.
    static let socket: @convention(c) (UnsafeMutableRawPointer?, Int32, Int32, Int32) -> Void = {
        argument, socket, readable, writable in
        guard let argument else { return }
        let interest = Unmanaged<SocketInterest>.fromOpaque(argument).takeUnretainedValue()
        let events = (readable != 0 ? Int16(POLLIN) : 0) | (writable != 0 ? Int16(POLLOUT) : 0)
        interest.events[socket] = events == 0 ? nil : events
    }

    /// A query is over; called once for each, also when its channel is destroyed. The first argument
    /// is the `PendingReply`.
    static let reply:
        @convention(c) (
            UnsafeMutableRawPointer?, Int32, Int32, UnsafeMutablePointer<UInt8>?, Int32
        ) -> Void = { argument, status, _, bytes, count in
            guard let argument else { return }
            let pending = Unmanaged<PendingReply>.fromOpaque(argument).takeRetainedValue()
            if let bytes, count > 0 {
                pending.take(
                    .message(Array(UnsafeBufferPointer(start: bytes, count: Int(count)))))
            } else {
                pending.take(.failure(code(of: status)))
            }
        }

    /// What c-ares means when it has no message. Version 1.18 does not tell why the last of several
    /// name servers failed.
    private static func code(of status: Int32) -> DNSError.Code {
        switch status {
        case kinglet_ares_not_found: .noSuchDomain
        case kinglet_ares_no_data: .noAddress
        case kinglet_ares_refused: .refused
        case kinglet_ares_bad_name: .invalidName
        case kinglet_ares_bad_response: .malformed
        case kinglet_ares_timeout: .timeout
        case kinglet_ares_cancelled, kinglet_ares_destroyed: .cancelled
        default: .serverFailure
        }
    }
}
