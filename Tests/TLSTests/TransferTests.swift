// Bytes of the application: how writes become records, how large input comes out.

import NIOCore
import NIOEmbedded
import Testing

@testable import TLS

@Suite struct TransferTests {
    let link: Link

    init() throws {
        let site = try Site("example.org")
        link = try Link.open(makeServer([site.identity]))
        #expect(link.handler.version == .tls13)
    }

    @Test("Many small writes leave as one record in one write, and all promises are kept")
    func joinedWrites() throws {
        let promises = (0..<50).map { _ in link.channel.eventLoop.makePromise(of: Void.self) }
        for (index, promise) in promises.enumerated() {
            link.channel.write(ByteBuffer(string: "<message id='\(index)'/>"), promise: promise)
        }
        #expect(try link.takeFromServer().isEmpty)
        link.channel.flush()
        let writes = try link.takeFromServer()
        #expect(writes.count == 1)
        #expect(recordTypes(in: writes) == [23])
        _ = try link.client.receive(writes[0])
        let expected = (0..<50).map { "<message id='\($0)'/>" }.joined()
        #expect(String(buffer: link.client.takeReceived()) == expected)
        for promise in promises { try promise.futureResult.wait() }
    }

    @Test("Records are filled to 16 KiB, and bytes keep their order")
    func fullRecords() throws {
        var expected = ByteBuffer()
        // Small, large with a remainder, small, exactly one record, small.
        for (size, letter) in [(100, "a"), (40_000, "b"), (200, "c"), (16_384, "d"), (7, "e")] {
            let bytes = ByteBuffer(string: String(repeating: letter, count: size))
            expected.writeImmutableBuffer(bytes)
            link.channel.write(bytes, promise: nil)
        }
        link.channel.flush()
        let writes = try link.takeFromServer()
        #expect(writes.count == 1)
        let needed = (expected.readableBytes + 16_383) / 16_384
        #expect(recordTypes(in: writes) == Array(repeating: 23, count: needed))
        _ = try link.client.receive(writes[0])
        #expect(link.client.takeReceived() == expected)
    }

    @Test("A message of 200 KB passes in both directions")
    func largeMessages() throws {
        let text = String(repeating: "0123456789", count: 20_000)
        #expect(try link.answer(text) == text)
        #expect(try link.send(text) == text)
        #expect(link.application.reads.allSatisfy { $0.readableBytes <= 64 * 1024 })
        #expect(link.application.reads.count == 4)
    }

    @Test("A record that comes in pieces comes out whole")
    func pieces() throws {
        let text = String(repeating: "x", count: 16_000)
        var record = try link.client.send(ByteBuffer(string: text))
        while let part = record.readSlice(length: min(512, record.readableBytes)),
            part.readableBytes > 0
        {
            #expect(link.application.reads.isEmpty)
            try link.deliver(part)
        }
        #expect(link.application.reads.map(\.readableBytes) == [16_000])
    }

    @Test("Empty writes keep their promises and send nothing")
    func emptyWrite() throws {
        let promise = link.channel.eventLoop.makePromise(of: Void.self)
        link.channel.writeAndFlush(ByteBuffer(), promise: promise)
        try promise.futureResult.wait()
        #expect(try link.takeFromServer().allSatisfy { $0.readableBytes == 0 })
    }

    @Test("Writes before the end of the handshake wait for it")
    func earlyWrites() throws {
        let site = try Site("example.org")
        let early = try Link(makeServer([site.identity]))
        early.channel.writeAndFlush(ByteBuffer(string: "<early/>"), promise: nil)
        #expect(try early.takeFromServer().isEmpty)
        try early.handshake()
        #expect(String(buffer: early.client.takeReceived()) == "<early/>")
    }

    @Test("What is written while reading follows in order")
    func answersWhileReading() throws {
        link.application.onRead = { context, bytes in
            context.writeAndFlush(NIOAny(bytes), promise: nil)
        }
        let text = String(repeating: "echo ", count: 40_000)
        _ = try link.send(text)
        try link.deliver(link.pumpToClient())
        #expect(String(buffer: link.client.takeReceived()) == text)
        link.application.onRead = nil
    }

    @Test("With autoRead off nothing is asked of the socket, and what came is delivered")
    func noAutoRead() throws {
        final class ReadCounter: ChannelOutboundHandler {
            typealias OutboundIn = ByteBuffer
            var reads = 0
            func read(context: ChannelHandlerContext) {
                reads += 1
                context.read()
            }
        }
        let counter = ReadCounter()
        try link.channel.pipeline.syncOperations.addHandler(counter, position: .first)
        try link.channel.setOption(.autoRead, value: false).wait()
        var half = try link.client.send(ByteBuffer(string: "<message/>"))
        let rest = half.readSlice(length: 10) ?? ByteBuffer()
        try link.deliver(rest)
        try link.deliver(half)
        #expect(link.application.text == "<message/>")
        #expect(counter.reads == 0)
    }

    @Test("A key update is answered before the next bytes (RFC 8446 section 4.6.3)")
    func keyUpdate() throws {
        try link.deliver(link.client.requestKeyUpdate())
        #expect(try link.send("<a/>") == "<a/>")
        link.channel.writeAndFlush(ByteBuffer(string: "<b/>"), promise: nil)
        let writes = try link.takeFromServer()
        // The update and the bytes after it: both look like application data.
        #expect(recordTypes(in: writes) == [23, 23])
        for bytes in writes { _ = try link.client.receive(bytes) }
        #expect(String(buffer: link.client.takeReceived()) == "<b/>")
        #expect(try link.send("<c/>") == "<c/>")
    }

    @Test("Renegotiation is refused, and the connection stays as it is (RFC 9325 section 3.5)")
    func renegotiation() throws {
        let site = try Site("example.org")
        let old = try Link.open(
            makeServer([site.identity]), TLSClientSettings(maximumVersion: 0x0303))
        let exporter = old.handler.channelBinding(.tlsExporter)
        try old.deliver(old.client.requestRenegotiation())
        let error = #expect(throws: TLSError.self) { _ = try old.pumpToClient() }
        #expect(error?.message.contains("no renegotiation") == true)
        #expect(old.application.errors.isEmpty)
        #expect(old.application.events.count == 1)
        #expect(old.channel.isActive)
        #expect(old.handler.channelBinding(.tlsExporter) == exporter)
    }

    @Test("A damaged record ends its connection, and no other of the thread")
    func damagedRecord() throws {
        let site = try Site("example.org")
        let other = try Link.open(makeServer([site.identity]))
        var record = try link.client.send(ByteBuffer(string: "<message/>"))
        record.setInteger(UInt8(0xAA), at: record.readerIndex + 8)
        try link.deliver(record)
        #expect(link.application.errors.map(\.code) == [.protocolViolation])
        #expect(link.application.reads.isEmpty)
        #expect(!link.channel.isActive)
        #expect(try other.send("<a/>") == "<a/>")
        #expect(try other.answer("<b/>") == "<b/>")
        #expect(other.application.errors.isEmpty)
    }
}
