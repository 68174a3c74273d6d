// The addresses that a connection may go to, given to NIO as if a name had just been looked up: it
// tries them one after the other without long waits (RFC 8305), and no others.

internal import DNS
internal import Engine
internal import Glibc
internal import NIOCore
internal import NIOPosix

struct ChosenAddresses: NIOPosix.Resolver, Sendable {
    private let addresses: [SocketAddress]
    private let eventLoop: any EventLoop

    init(_ addresses: [ResolvedAddress], port: Int, on eventLoop: any EventLoop) {
        self.addresses = addresses.compactMap {
            try? SocketAddress(ipAddress: $0.text, port: port)
        }
        self.eventLoop = eventLoop
    }

    func initiateAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
        eventLoop.makeSucceededFuture(addresses.filter { $0.protocol == .inet })
    }

    func initiateAAAAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
        eventLoop.makeSucceededFuture(addresses.filter { $0.protocol == .inet6 })
    }

    func cancelQueries() {}
}

/// What NIO's errors mean.
enum ConnectionFailures {
    static func failure(_ error: any Error, _ candidate: ServerCandidate) -> FederationFailure {
        let failures = (error as? NIOConnectionError)?.connectionErrors.map(\.error) ?? [error]
        let reasons = failures.map(reason)
        let place = candidate.text
        // Where one address says more than the others, that counts.
        if reasons.contains(.connectionRefused) {
            return FederationFailure(.connectionRefused, "\(place) refused the connection")
        }
        if reasons.contains(.connectionTimeout) {
            return FederationFailure(.connectionTimeout, "\(place) did not answer")
        }
        if reasons.contains(.unreachable) {
            return FederationFailure(.unreachable, "there is no way to \(place)")
        }
        return FederationFailure(.connectionLost, "the connection to \(place) failed: \(error)")
    }

    private static func reason(_ error: any Error) -> FederationFailureReason {
        if case .connectTimeout? = error as? ChannelError { return .connectionTimeout }
        return switch (error as? IOError)?.errnoCode {
        case ECONNREFUSED: .connectionRefused
        case ETIMEDOUT: .connectionTimeout
        case ENETUNREACH, EHOSTUNREACH, ENETDOWN, EHOSTDOWN, EADDRNOTAVAIL, EAFNOSUPPORT, EACCES,
            EPERM:
            .unreachable
        default: .connectionLost
        }
    }
}
