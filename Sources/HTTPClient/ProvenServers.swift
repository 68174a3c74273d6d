// Which servers have answered over HTTP/2 lately. Some take one request at first, and many only after
// they have answered that one (Apple's do, until they have seen a valid token). libcurl learns of such a
// limit when it has sent too many, and gives up those that were refused several times.
//
// THREADS: of a pool's thread alone.

/// Lets one request lead where nothing has been answered for a while; others wait for its end.
struct ProvenServers {
    private struct Server {
        var provenUntil: ContinuousClock.Instant?
        var leader: PoolTransfer?
        var waiting: [PoolTransfer] = []
    }

    /// A connection may have been replaced after this time.
    private static let lifetime = Duration.seconds(10)
    /// Servers without requests that are remembered at most.
    private static let mostKept = 64

    private var servers: [String: Server] = [:]

    /// Whether a request begins now; otherwise `end` of another one gives it.
    mutating func mayBegin(_ transfer: PoolTransfer, _ now: ContinuousClock.Instant) -> Bool {
        guard let name = transfer.server else { return true }
        if let until = servers[name]?.provenUntil, until > now { return true }
        guard servers[name]?.leader == nil else {
            servers[name]?.waiting.append(transfer)
            return false
        }
        if servers.count >= Self.mostKept {
            servers = servers.filter { $0.value.leader != nil || !$0.value.waiting.isEmpty }
        }
        servers[name, default: Server()].leader = transfer
        return true
    }

    /// A request has ended; gives those that begin now.
    mutating func end(
        _ transfer: PoolTransfer, isAnswered: Bool, _ now: ContinuousClock.Instant
    ) -> [PoolTransfer] {
        guard let name = transfer.server, var server = servers.removeValue(forKey: name) else {
            return []
        }
        defer { servers[name] = server }
        if !transfer.isBegun { server.waiting.removeAll { $0 === transfer } }
        if isAnswered {
            server.provenUntil = now + Self.lifetime
        } else if transfer.isBegun {
            server.provenUntil = nil
        }
        if server.leader === transfer { server.leader = nil }
        if isAnswered {
            defer { server.waiting = [] }
            return server.waiting
        }
        guard server.leader == nil, !server.waiting.isEmpty else { return [] }
        let next = server.waiting.removeFirst()
        server.leader = next
        return [next]
    }
}
