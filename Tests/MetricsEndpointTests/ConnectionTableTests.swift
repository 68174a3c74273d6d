// Whose connection is closed for whom, without sockets.

import Testing

@testable import MetricsEndpoint

@Suite("Connections")
struct ConnectionTableTests {
    private static let start = ContinuousClock.now
    private static let limits = ConnectionTable.Limits(
        total: 6, perAddress: 3, strangers: 2, requestTime: .seconds(5), headers: 1000)

    private var table = ConnectionTable(Self.limits)

    private mutating func open(
        _ descriptor: Int32, _ address: String = "192.0.2.1", isAllowed: Bool = true
    ) -> [Int32] {
        table.open(
            descriptor, from: IPAddress(address), isAllowed: isAllowed, at: Self.start
        ).map(\.descriptor)
    }

    @Test("An address with too many connections loses its oldest that never asked")
    mutating func oldest() {
        for descriptor in Int32(1)...3 { #expect(open(descriptor) == []) }
        #expect(open(4) == [1])
        #expect(open(5, "192.0.2.2") == [])
        #expect(open(6) == [2])
    }

    @Test("Whoever was answered before stays longer, and whoever is being answered stays")
    mutating func ranks() {
        for descriptor in Int32(1)...3 { #expect(open(descriptor) == []) }
        table.beginAnswer(1, received: 10)
        table.endAnswer(1)
        table.beginAnswer(2, received: 10)
        #expect(open(4) == [3])
        table.beginAnswer(4, received: 10)
        #expect(open(5) == [1])
        table.beginAnswer(5, received: 10)
        // All others are being answered: the new one has to go.
        #expect(open(6) == [6])
    }

    @Test("When all places are taken, the address that has most gives one up")
    mutating func total() {
        for descriptor in Int32(1)...3 { #expect(open(descriptor) == []) }
        #expect(open(4, "192.0.2.2") == [])
        #expect(open(5, "192.0.2.3") == [])
        #expect(open(6, "192.0.2.4") == [])
        #expect(open(7, "192.0.2.5") == [1])
    }

    @Test("An IPv6 client has one network of 64 bits, however many addresses it uses there")
    mutating func networks() {
        for number in Int32(1)...3 { #expect(open(number, "2001:db8::\(number)") == []) }
        #expect(open(4, "2001:db8::ffff") == [1])
        #expect(open(5, "2001:db8:0:1::1") == [])
    }

    @Test("Strangers share few places, and take none of the others'")
    mutating func strangers() {
        #expect(open(1, "198.51.100.1", isAllowed: false) == [])
        #expect(open(2, "198.51.100.2", isAllowed: false) == [])
        let refused = table.open(3, from: nil, isAllowed: false, at: Self.start)
        #expect(refused.map(\.descriptor) == [1])
        #expect(refused.map(\.refusal) == [.address])
        #expect(open(4) == [])
    }

    @Test("A closed connection gives its place back, one that is being closed has given it")
    mutating func places() {
        for descriptor in Int32(1)...3 { #expect(open(descriptor) == []) }
        #expect(table.close(2, received: 0) == nil)
        #expect(open(4) == [])
        #expect(open(5) == [1])
        #expect(table.close(1, received: 0) == nil)
        #expect(table.close(1, received: 0) == nil)
        #expect(!table.isEmpty)
        for descriptor in Int32(3)...5 { _ = table.close(descriptor, received: 0) }
        #expect(table.isEmpty)
    }

    @Test("A request that is not whole in time is overdue, also when it comes byte by byte")
    mutating func overdue() {
        _ = open(1)
        _ = open(2)
        table.receivedHeaders(2)
        #expect(table.takeOverdue(at: Self.start + .seconds(4)) { _ in 4 } == [])
        #expect(table.takeOverdue(at: Self.start + .seconds(5)) { _ in 5 }.sorted() == [1, 2])
        #expect(table.takeOverdue(at: Self.start + .seconds(6)) { _ in 6 } == [])
        #expect(table.close(1, received: 5000) == nil)
    }

    @Test("After an answer silence is allowed; half a request is not")
    mutating func silence() {
        for descriptor in Int32(1)...3 {
            _ = open(descriptor)
            table.beginAnswer(descriptor, received: 100)
        }
        table.endAnswer(1)
        table.endAnswer(2)
        let received: (Int32) -> UInt64? = { $0 == 1 ? 101 : 100 }
        #expect(table.takeOverdue(at: Self.start + .seconds(9), received: received) == [])
        #expect(table.takeOverdue(at: Self.start + .seconds(13), received: received) == [])
        #expect(table.takeOverdue(at: Self.start + .seconds(14), received: received) == [1])
    }

    @Test("Closed after more bytes than headers may have, and no request: too large")
    mutating func tooLarge() {
        for descriptor in Int32(1)...3 { _ = open(descriptor) }
        table.beginAnswer(3, received: 5000)
        table.endAnswer(3)
        #expect(table.close(1, received: 1000) == nil)
        #expect(table.close(2, received: 1001) == .tooLarge)
        #expect(table.close(3, received: 5500) == nil)
        _ = open(4)
        table.receivedHeaders(4)
        #expect(table.close(4, received: 50_000) == nil)
        _ = open(5)
        #expect(table.close(5, received: nil) == nil)
    }
}
