// Ends of connections: ours, the peer's, and cut ones.

import NIOCore
import NIOEmbedded
import Testing

@testable import TLS

@Suite struct CloseTests {
    let site: Site
    let server: TLSServerContext

    init() throws {
        site = try Site("example.org")
        server = try makeServer([site.identity])
    }

    @Test("Closing sends what was written and one close_notify (RFC 8446 section 6.1)")
    func close() throws {
        let link = try Link.open(server)
        let promise = link.channel.eventLoop.makePromise(of: Void.self)
        link.channel.write(ByteBuffer(string: "</stream:stream>"), promise: promise)
        link.channel.close(promise: nil)
        try promise.futureResult.wait()
        let writes = try link.takeFromServer()
        // TLS 1.3 wraps the alert in a record of application data.
        #expect(recordTypes(in: writes) == [23, 23])
        for bytes in writes { _ = try link.client.receive(bytes) }
        #expect(String(buffer: link.client.takeReceived()) == "</stream:stream>")
        #expect(link.client.isClosedByPeer)
        link.channel.embeddedEventLoop.run()
        #expect(link.application.isInactive)
        // We closed: the missing close_notify of the peer is no news.
        #expect(link.application.events.count == 1)
    }

    @Test("The peer's close_notify is reported, and what follows it is dropped")
    func closedByPeer() throws {
        let link = try Link.open(server)
        var bytes = try link.client.send(ByteBuffer(string: "<last/>"))
        var alert = link.client.close()
        bytes.writeBuffer(&alert)
        bytes.writeString("not even a record")
        try link.deliver(bytes)
        #expect(link.application.text == "<last/>")
        #expect(link.application.events.last == .closedByPeer)
        #expect(link.application.errors.isEmpty)
        // Our half is still open.
        #expect(try link.answer("</stream:stream>") == "</stream:stream>")
        link.channel.close(promise: nil)
        link.channel.embeddedEventLoop.run()
        #expect(link.application.events.count == 2)
    }

    @Test("Bytes that end without close_notify are reported once, before the channel's end")
    func truncated() throws {
        let link = try Link.open(server)
        var eventWhileActive = false
        link.application.onEvent = { _, event in
            if event == .truncated { eventWhileActive = !link.application.isInactive }
        }
        link.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        link.channel.pipeline.fireChannelInactive()
        #expect(link.application.events.filter { $0 == .truncated }.count == 1)
        #expect(eventWhileActive)
        #expect(link.application.isInactive)
        #expect(!link.handshakeIsComplete)
        link.application.onEvent = nil
    }

    @Test("Half-closing sends close_notify and goes on reading")
    func outputClosed() throws {
        /// Stands for a socket: the embedded channel cannot close one half.
        final class HalfCloser: ChannelOutboundHandler {
            typealias OutboundIn = ByteBuffer
            var modes: [CloseMode] = []
            func close(
                context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?
            ) {
                guard mode == .output else { return context.close(mode: mode, promise: promise) }
                modes.append(mode)
                promise?.succeed()
            }
        }
        let link = try Link.open(server)
        let socket = HalfCloser()
        try link.channel.pipeline.syncOperations.addHandler(socket, position: .first)
        link.channel.write(ByteBuffer(string: "<end/>"), promise: nil)
        link.channel.close(mode: .output, promise: nil)
        for bytes in try link.takeFromServer() { _ = try link.client.receive(bytes) }
        #expect(String(buffer: link.client.takeReceived()) == "<end/>")
        #expect(link.client.isClosedByPeer)
        let late = link.channel.eventLoop.makePromise(of: Void.self)
        link.channel.writeAndFlush(ByteBuffer(string: "<late/>"), promise: late)
        #expect(throws: ChannelError.outputClosed) { try late.futureResult.wait() }
        #expect(try link.send("<more/>") == "<more/>")
        #expect(socket.modes == [.output])
    }

    @Test("Closing during the handshake fails waiting writes and reports no error")
    func closeInHandshake() throws {
        let link = try Link(server)
        try link.deliver(link.client.receive())
        let promise = link.channel.eventLoop.makePromise(of: Void.self)
        link.channel.writeAndFlush(ByteBuffer(string: "<early/>"), promise: promise)
        link.channel.close(promise: nil)
        #expect(throws: ChannelError.ioOnClosedChannel) { try promise.futureResult.wait() }
        link.channel.embeddedEventLoop.run()
        #expect(link.application.errors.isEmpty)
        #expect(link.application.isInactive)
    }

    @Test("A peer that goes away during the handshake is reported; a mere probe is not")
    func abandonedHandshake() throws {
        let link = try Link(server)
        var hello = try link.client.receive()
        try link.deliver(hello.readSlice(length: 100) ?? ByteBuffer())
        link.channel.pipeline.fireChannelInactive()
        #expect(link.application.errors.map(\.code) == [.handshakeAbandoned])

        let probe = try Link(server)
        probe.channel.pipeline.fireChannelInactive()
        #expect(probe.application.errors.isEmpty)
        #expect(probe.application.isInactive)
    }

    @Test("A session that closes while it reads gets nothing more")
    func closeWhileReading() throws {
        let link = try Link.open(server)
        link.application.onRead = { context, _ in context.close(promise: nil) }
        let text = String(repeating: "x", count: 200_000)
        try link.deliver(link.client.send(ByteBuffer(string: text)))
        #expect(link.application.reads.count == 1)
        #expect(link.application.errors.isEmpty)
        link.application.onRead = nil
    }

    @Test("A session that closes when the handshake is done gets nothing at all")
    func closeAtHandshake() throws {
        let link = try Link(server)
        link.application.onEvent = { context, _ in context.close(promise: nil) }
        try link.deliver(link.client.receive())
        var last = try link.pumpToClient()
        var stanza = try link.client.send(ByteBuffer(string: "<stream>"))
        last.writeBuffer(&stanza)
        try link.deliver(last)
        #expect(link.application.reads.isEmpty)
        #expect(link.application.errors.isEmpty)
        link.application.onEvent = nil
    }

    @Test("Writing after the end fails the promise")
    func writeAfterClose() throws {
        let link = try Link.open(server)
        link.channel.close(promise: nil)
        let promise = link.channel.eventLoop.makePromise(of: Void.self)
        link.channel.writeAndFlush(ByteBuffer(string: "<late/>"), promise: promise)
        #expect(throws: ChannelError.ioOnClosedChannel) { try promise.futureResult.wait() }
    }

    @Test("The connection's memory goes with the channel")
    func released() throws {
        weak var released: TLSHandler?
        do {
            let link = try Link.open(server)
            released = link.handler
            link.channel.close(promise: nil)
            link.channel.embeddedEventLoop.run()
            #expect(link.handler.version == nil)
        }
        #expect(released == nil)
    }
}
