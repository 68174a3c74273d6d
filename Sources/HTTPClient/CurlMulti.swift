// Many transfers at once, by libcurl's multi interface: libcurl says which sockets and which time it
// wants to be called for, so that work is done only for transfers on which something happens.

internal import CCurl

/// A multi handle with its connections; of one thread.
final class CurlMulti {
    private let handle: UnsafeMutableRawPointer
    private let number: Int
    private let sockets: PollSet
    /// When libcurl wants to be called.
    private(set) var timer: ContinuousClock.Instant?

    /// - Parameters:
    ///   - number: whose the descriptors in `sockets` are.
    ///   - perHost: connections to one host at most.
    ///   - total: connections at most.
    init?(_ number: Int, _ sockets: PollSet, perHost: Int, total: Int) {
        guard let handle = curl_multi_init() else { return nil }
        self.handle = handle
        self.number = number
        self.sockets = sockets
        let argument = Unmanaged.passUnretained(self).toOpaque()
        let results = [
            kinglet_curl_multi_set_long(handle, CURLMOPT_PIPELINING, Int(CURLPIPE_MULTIPLEX)),
            kinglet_curl_multi_set_long(handle, CURLMOPT_MAX_HOST_CONNECTIONS, perHost),
            kinglet_curl_multi_set_long(handle, CURLMOPT_MAX_TOTAL_CONNECTIONS, total),
            kinglet_curl_multi_set_long(handle, CURLMOPT_MAXCONNECTS, total),
            // If the server takes as many; otherwise there would be another connection.
            kinglet_curl_multi_set_long(handle, CURLMOPT_MAX_CONCURRENT_STREAMS, 1000),
            kinglet_curl_multi_set_socket(handle, CurlCallbacks.watch, argument),
            kinglet_curl_multi_set_timer(handle, CurlCallbacks.timer, argument),
        ]
        guard results.allSatisfy({ $0 == CURLM_OK }) else { return nil }
    }

    /// Closes the connections, which calls back for their sockets.
    deinit { curl_multi_cleanup(handle) }

    /// Whether it could be begun.
    func add(_ transfer: UnsafeMutableRawPointer) -> Bool {
        curl_multi_add_handle(handle, transfer) == CURLM_OK
    }

    func remove(_ transfer: UnsafeMutableRawPointer) {
        curl_multi_remove_handle(handle, transfer)
    }

    /// Something happened on a socket.
    func act(on socket: curl_socket_t, _ events: Int32) {
        var running: Int32 = 0
        curl_multi_socket_action(handle, socket, events, &running)
    }

    /// What is due at a time.
    func act(at now: ContinuousClock.Instant) {
        guard let timer, timer <= now else { return }
        self.timer = nil
        // -1 is CURL_SOCKET_TIMEOUT.
        act(on: -1, 0)
    }

    /// A transfer that has ended, with what it ended with; nil when there is none.
    func nextEnded() -> (transfer: UnsafeMutableRawPointer, result: CURLcode)? {
        var left: Int32 = 0
        while let message = curl_multi_info_read(handle, &left) {
            if message.pointee.msg == CURLMSG_DONE, let transfer = message.pointee.easy_handle {
                return (transfer, message.pointee.data.result)
            }
        }
        return nil
    }

    // MARK: What libcurl asks for

    func watch(_ socket: curl_socket_t, _ what: Int32) {
        sockets.watch(socket, what, owner: number)
    }

    func setTimer(_ milliseconds: Int) {
        timer = milliseconds < 0 ? nil : .now + .milliseconds(milliseconds)
    }
}
