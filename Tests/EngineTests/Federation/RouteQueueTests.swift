import NIOCore
import Testing
import XMPP

@testable import Engine

@Suite("What waits for another domain")
struct RouteQueueTests {
    private func entry(_ text: String, id: Int64? = nil) -> QueuedStanza {
        QueuedStanza(
            stanza: OutboundStanza(.message, Array(text.utf8)), id: id, arrivedAt: 0,
            expiresAt: .now())
    }

    private func texts(_ entries: [QueuedStanza]) -> [String] {
        entries.map { String(decoding: $0.stanza.bytes, as: UTF8.self) }
    }

    private func acknowledged(_ queue: inout RouteQueue, _ h: UInt32) -> [String]? {
        guard case .accepted(let entries) = queue.acknowledge(h) else { return nil }
        return texts(entries)
    }

    @Test("What is written stays until it is acknowledged (XEP-0198 section 4)")
    func acknowledgement() {
        var queue = RouteQueue()
        for text in ["one", "two", "three"] { queue.append(entry(text)) }
        _ = queue.takeUnwritten()
        _ = queue.takeUnwritten()
        #expect(queue.count == 3)
        let first = acknowledged(&queue, 1)
        #expect(first == ["one"])
        let again = acknowledged(&queue, 1)
        #expect(again == [])
        #expect(queue.bytes == 8)
        let tooHigh = acknowledged(&queue, 3)
        #expect(tooHigh == nil, "the third was not written")
        let second = acknowledged(&queue, 2)
        #expect(second == ["two"])
    }

    @Test("A new stream gets what the last one did not acknowledge, from number 0 on")
    func rewind() {
        var queue = RouteQueue()
        for text in ["one", "two", "three"] { queue.append(entry(text)) }
        for _ in 0..<3 { _ = queue.takeUnwritten() }
        let first = acknowledged(&queue, 1)
        #expect(first == ["one"])
        queue.rewind()
        var written: [QueuedStanza] = []
        while let next = queue.takeUnwritten() { written.append(next) }
        #expect(texts(written) == ["two", "three"])
        let both = acknowledged(&queue, 2)
        #expect(both == ["two", "three"])
    }

    @Test("What was written is not taken out again: the other side counts it")
    func removal() {
        var queue = RouteQueue()
        for text in ["one", "two", "three"] { queue.append(entry(text)) }
        _ = queue.takeUnwritten()
        let removed = queue.remove { _ in true }
        #expect(texts(removed) == ["two", "three"])
        #expect(queue.count == 1)
        #expect(queue.bytes == 3)
        let first = acknowledged(&queue, 1)
        #expect(first == ["one"])
        #expect(queue.bytes == 0)
    }
}
