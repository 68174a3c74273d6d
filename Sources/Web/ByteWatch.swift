// Shows the guard of a connection what comes in before it is parsed.

internal import NIOCore

/// Stands between TLS and the parser. Owned by the channel's event loop.
final class ByteWatch: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    /// Set before the first byte comes.
    var requestGuard: RequestGuard?

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard let requestGuard, requestGuard.bytesArrived(Self.unwrapInboundIn(data)) else {
            return
        }
        context.fireChannelRead(data)
        requestGuard.bytesParsed()
    }

    func handlerRemoved(context: ChannelHandlerContext) { requestGuard = nil }
}
