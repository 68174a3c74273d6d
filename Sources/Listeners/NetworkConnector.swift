// Connections to other servers: where they are by DNS, and the first of their addresses that
// answers.

internal import Addresses
public import DNS
public import Engine
internal import NIOCore
internal import NIOPosix
internal import Options
internal import Synchronization
public import TLS

/// Opens connections over the network. Safe on any thread.
public final class NetworkConnector: ServerConnector {
    private struct State {
        var isStopped = false
        /// Those that are being connected.
        var channels: [ObjectIdentifier: any Channel] = [:]
    }

    /// For all addresses of a candidate together.
    private static let connectTime = TimeAmount.seconds(10)

    private let resolver: DNS.Resolver
    private let tls: TLSClientContext
    private let options: FederationOptions
    private let state = Mutex(State())

    /// Creates a connector.
    public init(_ resolver: DNS.Resolver, _ tls: TLSClientContext, _ options: FederationOptions) {
        self.resolver = resolver
        self.tls = tls
        self.options = options
    }

    /// Stops the resolver, too.
    public func stop() {
        let channels = state.withLock { state in
            defer { state.channels = [:] }
            state.isStopped = true
            return Array(state.channels.values)
        }
        resolver.stop()
        for channel in channels { channel.close(promise: nil) }
    }

    // MARK: Candidates

    /// Asks for both services at once, and falls back to the domain itself.
    public func candidates(
        for domain: String, report: @escaping @Sendable (FederationStep) -> Void
    ) async throws(FederationFailure) -> [ServerCandidate] {
        let ascii = try Self.ascii(domain)
        if let address = ResolvedAddress(ascii) {
            let candidate = ServerCandidate(
                host: address.text, port: ServerCandidates.port, isDirectTLS: false)
            report(.lookedUp("\(candidate.text), an address"))
            return [candidate]
        }
        async let direct = services("_xmpps-server._tcp.\(ascii)")
        async let starttls = services("_xmpp-server._tcp.\(ascii)")
        var generator = SystemRandomNumberGenerator()
        let found = await ServerCandidates(
            direct: direct, starttls: starttls, using: &generator)
        switch found {
        case .failure(let failure): throw failure
        case .list(let candidates):
            report(.lookedUp("SRV " + candidates.map(\.text).joined(separator: ", ")))
            return candidates
        case .domainItself:
            let candidate = ServerCandidate(
                host: ascii, port: ServerCandidates.port, isDirectTLS: false)
            // Without an address there is no such domain, or it has no server.
            do throws(DNSError) {
                _ = try await resolver.addresses(of: ascii)
            } catch {
                throw FederationFailure(error)
            }
            report(.lookedUp("no SRV records; \(candidate.text)"))
            return [candidate]
        }
    }

    private func services(_ name: String) async -> ServerCandidates.Answer {
        do throws(DNSError) {
            return .success(try await resolver.services(name))
        } catch {
            return .failure(error)
        }
    }

    private static func ascii(_ domain: String) throws(FederationFailure) -> String {
        do throws(JIDError) {
            return try Preparation.domainASCII(domain)
        } catch {
            throw FederationFailure(.noSuchDomain, "it cannot be a domain: \(error.message)")
        }
    }

    // MARK: Connections

    /// Connects to the first of the candidate's addresses that answers (RFC 8305).
    public func connect(
        _ candidate: ServerCandidate, from local: String, to remote: String, on loop: Loop,
        report: @escaping @Sendable (FederationStep) -> Void,
        stream: @escaping @Sendable (any StreamTransport) -> XMLStream
    ) async throws(FederationFailure) {
        let outgoing = OutgoingTLS(
            tls, serverName: try Self.ascii(remote), localDomain: try Self.ascii(local),
            report: report)
        let addresses = try await addresses(of: candidate, remote, report)
        let isDirectTLS = candidate.isDirectTLS
        let connected = ClientBootstrap(group: loop.eventLoop)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(
                .tcpOption(StreamSocket.userTimeout), value: StreamSocket.serverTimeout
            )
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelOption(.writeBufferWaterMark, value: StreamSocket.waterMark)
            .channelOption(.recvAllocator, value: StreamSocket.receiveBuffers)
            // Nothing is read before the stream is there.
            .channelOption(.autoRead, value: false)
            .connectTimeout(Self.connectTime)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try self.begin(channel) }
            }
            .resolver(ChosenAddresses(addresses, port: candidate.port, on: loop.eventLoop))
            .connect(host: candidate.host, port: candidate.port)
            .flatMapThrowing { channel in
                guard self.end(channel) else { throw ChannelError.ioOnClosedChannel }
                report(
                    .connected(
                        address: PeerAddress(channel.remoteAddress).text, port: candidate.port))
                let connection = StreamConnection(.client(outgoing), makeStream: stream)
                try channel.pipeline.syncOperations.addHandler(connection)
                // Whatever happens from here on, the stream hears of it.
                if isDirectTLS { connection.startTLS() }
                connection.setReading(true)
            }
        do {
            try await connected.get()
        } catch {
            guard !state.withLock({ $0.isStopped }) else {
                throw FederationFailure(.shutdown, "this server stops")
            }
            throw ConnectionFailures.failure(error, candidate)
        }
    }

    /// A channel is about to be connected, or would be if there were no stop.
    private func begin(_ channel: any Channel) throws(ChannelError) {
        let isStopped = state.withLock { state in
            if !state.isStopped { state.channels[ObjectIdentifier(channel)] = channel }
            return state.isStopped
        }
        guard !isStopped else { throw .ioOnClosedChannel }
        channel.closeFuture.whenComplete { _ in _ = self.end(channel) }
    }

    /// A channel is connected or closed; false when it is of no use any more.
    private func end(_ channel: any Channel) -> Bool {
        state.withLock { $0.channels.removeValue(forKey: ObjectIdentifier(channel)) } != nil
    }

    private func addresses(
        of candidate: ServerCandidate, _ remote: String,
        _ report: @Sendable (FederationStep) -> Void
    ) async throws(FederationFailure) -> [ResolvedAddress] {
        let addresses: [ResolvedAddress]
        do throws(DNSError) {
            addresses = try await resolver.addresses(of: candidate.host)
        } catch {
            // A record that leads nowhere is mended sooner than a domain comes to be.
            let isDomain = candidate.host == (try? Preparation.domainASCII(remote))
            throw FederationFailure(error, isPermanent: isDomain ? nil : false)
        }
        report(.resolved(host: candidate.host, addresses: addresses.map(\.text)))
        return try AllowedAddresses.of(
            addresses, host: candidate.host,
            allowsPrivate: options.allowsPrivateAddresses.value)
    }
}
