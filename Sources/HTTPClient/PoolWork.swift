// What the thread of an HTTPPool does: it begins transfers, waits, and tells how they ended.
//
// THREADS: of the pool's thread alone.

internal import CCurl

/// A request under way.
final class PoolTransfer {
    let order: PoolThread.Order
    let host: String
    let handle: UnsafeMutableRawPointer
    let deadline: ContinuousClock.Instant
    /// One that forbids private addresses never uses a connection that was opened by one that does not.
    let multi: CurlMulti
    /// Where it goes, if it shares a connection of HTTP/2 with others.
    let server: String?
    /// Whether libcurl has it.
    private(set) var isBegun = false
    private let receiver: Receiver
    private var fields: CurlFields

    init(
        _ order: PoolThread.Order, host: String, _ handle: UnsafeMutableRawPointer,
        _ multi: CurlMulti
    ) throws(HTTPError) {
        let rules = order.rules
        self.order = order
        self.host = host
        self.handle = handle
        self.multi = multi
        // Bounded as libcurl's is, so that it can be added.
        deadline = order.handedOver + min(max(.zero, rules.timeLimit), .seconds(2_000_000))
        receiver = Receiver(
            bodyLimit: rules.bodyLimit, forbidsPrivateAddresses: rules.forbidsPrivateAddresses)
        let sharesConnection =
            rules.needsHTTP2 && (order.request.isSecure || Curl.sharesPlainHTTP2)
        server = sharesConnection ? order.request.origin : nil
        fields = try CurlFields(order.request, host: host)
    }

    /// The handle forgets it before.
    deinit { fields.free() }

    /// Seconds for which an idle connection that speaks HTTP/2 may be used again: such servers expect
    /// to keep their clients, and TCP's own probes keep the way to them open.
    private static let longestIdle = 3600
    /// Seconds between those probes.
    private static let probes = 60

    /// Whether it could be begun.
    func begin() -> Bool {
        isBegun = multi.add(handle)
        return isBegun
    }

    /// Before its handle is used for another one.
    func remove() {
        if isBegun { multi.remove(handle) }
    }

    func prepare(authorities: String?) throws(HTTPError) {
        let (request, rules) = (order.request, order.rules)
        let options = CurlOptions(handle: handle, host: host)
        try options.set(request, fields, receiver)
        try options.setRules(timeLimit: rules.timeLimit)
        // A name server that does not answer must not keep the thread when the time is over.
        try options.set(CURLOPT_QUICK_EXIT, 1)
        // A directory, where one file is read for each server; a file with all authorities would be
        // read for each connection.
        try options.set(CURLOPT_CAPATH, "/etc/ssl/certs")
        if let authorities {
            try options.set(CURLOPT_CAINFO, authorities)
        } else {
            try options.set(CURLOPT_CAINFO, UnsafeMutableRawPointer?.none)
        }
        let argument = Unmanaged.passUnretained(receiver).toOpaque()
        try options.set(CURLOPT_OPENSOCKETDATA, argument)
        try options.setOpenSocket(CurlCallbacks.openSocket)
        try options.set(CURLOPT_PREREQDATA, argument)
        try options.setBeforeRequest(CurlCallbacks.beforeRequest)
        guard rules.needsHTTP2 else { return }
        try options.set(
            CURLOPT_HTTP_VERSION,
            request.isSecure ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE)
        guard server != nil else {
            try options.set(CURLOPT_FRESH_CONNECT, 1)
            return try options.set(CURLOPT_FORBID_REUSE, 1)
        }
        // It waits for a connection that others open, rather than open one more.
        try options.set(CURLOPT_PIPEWAIT, 1)
        try options.set(CURLOPT_MAXAGE_CONN, Self.longestIdle)
        try options.set(CURLOPT_TCP_KEEPALIVE, 1)
        try options.set(CURLOPT_TCP_KEEPIDLE, Self.probes)
        try options.set(CURLOPT_TCP_KEEPINTVL, Self.probes)
    }

    var tooLate: HTTPError { HTTPError(code: .timeout, host: host, message: "it took too long") }

    /// How it ended.
    func outcome(_ result: CURLcode) -> Result<HTTPResponse, HTTPError> {
        let options = CurlOptions(handle: handle, host: host)
        if order.rules.needsHTTP2, result == CURLE_OK,
            options.number(CURLINFO_HTTP_VERSION) < CURL_HTTP_VERSION_2_0
        {
            return .failure(
                HTTPError(
                    code: .garbage, host: host, message: "the server does not speak HTTP/2"))
        }
        return options.outcome(
            result, receiver, requestSent: receiver.sent.map { $0 - order.handedOver })
    }
}

/// The transfers of a pool.
final class PoolWork {
    /// Handles that are kept for the next requests: making one costs as much as sending a request.
    private static let idleHandles = 32

    private let thread: PoolThread
    private let sockets: PollSet
    /// Connections to any address.
    private let free: CurlMulti
    /// Connections to addresses on the internet only.
    private let guarded: CurlMulti
    private var running: [UnsafeMutableRawPointer: PoolTransfer] = [:]
    private var idle: [UnsafeMutableRawPointer] = []
    private var proven = ProvenServers()
    /// No transfer has to end before.
    private var deadline: ContinuousClock.Instant?

    init?(_ thread: PoolThread) {
        let settings = thread.settings
        let sockets = PollSet(wake: thread.wake)
        let multis = [0, 1].compactMap {
            CurlMulti(
                $0, sockets, perHost: settings.connectionsPerHost, total: settings.connections)
        }
        guard multis.count == 2 else { return nil }
        self.thread = thread
        self.sockets = sockets
        (free, guarded) = (multis[0], multis[1])
    }

    deinit { for handle in idle { curl_easy_cleanup(handle) } }

    /// Until the pool is stopped.
    func run() {
        while true {
            let (orders, isStopped) = thread.receive()
            guard !isStopped else { return cancel(orders) }
            for order in orders { begin(order) }
            // libcurl sends what has begun when its timer goes off, which is at once.
            if !orders.isEmpty { settle() }
            let times = [free.timer, guarded.timer, deadline].compactMap { $0 }
            for ready in sockets.wait(until: times.min()) {
                (ready.owner == 0 ? free : guarded).act(on: ready.descriptor, ready.events)
            }
            settle()
        }
    }

    /// Does what is due, and tells what has ended.
    private func settle() {
        let now = ContinuousClock.now
        for multi in [free, guarded] {
            multi.act(at: now)
            while let (handle, result) = multi.nextEnded() {
                guard let transfer = running.removeValue(forKey: handle) else { continue }
                end(transfer, transfer.outcome(result))
            }
        }
        expire(now)
    }

    private func begin(_ order: PoolThread.Order) {
        do {
            let host = try order.request.checkedHost()
            guard let handle = idle.popLast() ?? curl_easy_init() else {
                throw Curl.notStarted(host)
            }
            do {
                let multi = order.rules.forbidsPrivateAddresses ? guarded : free
                let transfer = try PoolTransfer(order, host: host, handle, multi)
                guard transfer.deadline > .now else { throw transfer.tooLate }
                try transfer.prepare(authorities: thread.settings.authorities)
                if proven.mayBegin(transfer, .now), !transfer.begin() {
                    _ = proven.end(transfer, isAnswered: false, .now)
                    throw Curl.notStarted(host)
                }
                running[handle] = transfer
                deadline = min(deadline ?? transfer.deadline, transfer.deadline)
            } catch {
                keep(handle)
                throw error
            }
        } catch {
            let error = error as? HTTPError ?? Curl.notStarted("")
            thread.end(order, .failure(error))
        }
    }

    /// Ends a transfer, which is not among `running` any more.
    private func end(_ transfer: PoolTransfer, _ result: Result<HTTPResponse, HTTPError>) {
        transfer.remove()
        keep(transfer.handle)
        if transfer.server != nil {
            let isAnswered = if case .success = result { true } else { false }
            for next in proven.end(transfer, isAnswered: isAnswered, .now)
            where running[next.handle] === next && !next.begin() {
                running[next.handle] = nil
                end(next, .failure(Curl.notStarted(next.host)))
            }
        }
        thread.end(transfer.order, result)
    }

    private func keep(_ handle: UnsafeMutableRawPointer) {
        guard idle.count < Self.idleHandles else { return curl_easy_cleanup(handle) }
        // It has to forget the request now: what it points to goes with the transfer.
        curl_easy_reset(handle)
        idle.append(handle)
    }

    /// Ends what has taken too long, also what still waits for a connection, which libcurl does not
    /// do. All are looked through, but only when the one that began first, or one that has ended
    /// meanwhile, would be late.
    private func expire(_ now: ContinuousClock.Instant) {
        guard let deadline, deadline <= now else { return }
        for transfer in running.values
        where transfer.deadline <= now && running[transfer.handle] === transfer {
            running[transfer.handle] = nil
            end(transfer, .failure(transfer.tooLate))
        }
        self.deadline = running.values.lazy.map(\.deadline).min()
    }

    private func cancel(_ orders: [PoolThread.Order]) {
        let transfers = running.values
        running = [:]
        for transfer in transfers { end(transfer, .failure(.cancelled(transfer.host))) }
        for order in orders {
            let host = HTTPTransfer.host(of: order.request.url) ?? ""
            thread.end(order, .failure(.cancelled(host)))
        }
    }
}
