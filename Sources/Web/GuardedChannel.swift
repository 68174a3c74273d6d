// A connection's handlers: our TLS and our limits around one of Hummingbird's child channels.

internal import HummingbirdCore
internal import Logging
internal import NIOCore
internal import NIOHTTP1
internal import TLS

/// Wraps `Base` as Hummingbird's own TLS channel does. `Base` has to speak HTTP/1.1 by the decoder
/// of NIO.
struct GuardedChannel<Base: ServerChildChannel>: ServerChildChannel {
    typealias Value = Base.Value

    let base: Base
    let tls: TLSServerContext
    let makeGuard: @Sendable () -> RequestGuard

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandlers([tls.makeHandler(), ByteWatch()])
        }.flatMap {
            base.setup(channel: channel, logger: logger)
        }.flatMapThrowing { value in
            let pipeline = channel.pipeline.syncOperations
            let requestGuard = makeGuard()
            try pipeline.handler(type: ByteWatch.self).requestGuard = requestGuard
            let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
            try pipeline.addHandler(requestGuard, position: .after(decoder))
            return value
        }
    }

    func handle(value: Value, logger: Logger) async {
        await base.handle(value: value, logger: logger)
    }
}
