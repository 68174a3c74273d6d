import Testing

@testable import DNS

@Suite("A name server's reply is read or refused (RFC 1035, section 4)")
struct DNSMessageTests {
    private static let question = "_xmpp-server._tcp.example.test"
    private static let golden: [UInt8] = Message.reply(
        question,
        [
            Message.alias(lifetime: 60, Message.name("Other.test")),
            // The owner is the name that the record before holds.
            Message.service(of: [0xC0, 60], Message.name("xmpp.other.test")),
            Message.record(DNSMessage.RecordType.address, [192, 0, 2, 1]),
            Message.record(DNSMessage.RecordType.address6, Array(repeating: 7, count: 16)),
            Message.record(16, lifetime: 1, [3] + "txt".utf8),
        ], authority: [Message.authority(lifetime: 900, minimum: 120)])

    @Test("Every record of interest comes out as it went in")
    func reading() throws {
        #expect(Self.golden[60] == 5)
        let message = try DNSMessage(Self.golden)
        let name = try #require(DNSName(Self.question))
        let other = try #require(DNSName("other.test"))
        let target = try #require(DNSName("xmpp.other.test"))
        #expect(message.code == 0)
        #expect(!message.isTruncated)
        #expect(message.question == name)
        let expected: [DNSMessage.Record] = [
            .init(owner: name, type: 5, lifetime: 60, content: .alias(other)),
            .init(
                owner: other, type: 33, lifetime: 300,
                content: .service(priority: 10, weight: 20, port: 5269, target: target)),
            .init(owner: name, type: 1, lifetime: 300, content: .address([192, 0, 2, 1])),
            .init(
                owner: name, type: 28, lifetime: 300,
                content: .address(Array(repeating: 7, count: 16))),
        ]
        #expect(message.answers == expected)
        #expect(message.authority.map(\.content) == [.authority(minimum: 120)])
        #expect(message.authority.map(\.lifetime) == [900])
    }

    @Test("A reply that ends early is refused wherever that is")
    func truncations() {
        for length in 0..<Self.golden.count {
            #expect(throws: DNSMessage.Damage.self, "\(length)") {
                try DNSMessage(Array(Self.golden[..<length]))
            }
        }
    }

    @Test("Any byte may be any other: what is read has its bounds")
    func flips() {
        let name = Self.question
        for index in Self.golden.indices {
            let flipped = (0..<8).map { Self.golden[index] ^ 1 << $0 }
            for value in flipped + [0, 63, 64, 0xC0, 0xFF] {
                var bytes = Self.golden
                bytes[index] = value
                let answer = Answer(.services(name), [.message(bytes)])
                #expect(answer.lifetime >= .seconds(5) && answer.lifetime <= .seconds(86_400))
                _ = Answer(.addresses(name), [.message(bytes), .message(bytes)])
            }
        }
    }

    @Test("A pointer leads back, so names do not go in circles (section 4.1.4)")
    func pointers() {
        let start = Message.reply("a.test").count
        for target in [start, start + 1, start + 2, start + 12, 0x3FFF] {
            let pointer = [0xC0 | UInt8(target >> 8), UInt8(target & 0xFF)]
            let reply = Message.reply(
                "a.test", [Message.service(of: pointer, Message.name("b.test"))])
            #expect(throws: DNSMessage.Damage.self, "\(target)") { try DNSMessage(reply) }
        }
        // Two that lead to each other.
        let circle = Message.reply(
            "a.test", [Message.alias(of: [0xC0, UInt8(start + 12)], [0xC0, UInt8(start)])])
        #expect(throws: DNSMessage.Damage.self) { try DNSMessage(circle) }
    }

    @Test("A name of more than 255 bytes, which pointers could make, is refused (section 2.3.4)")
    func longNames() {
        let label = [63] + [UInt8](repeating: 0x61, count: 63)
        let three = label + label + label
        let names = [three + [62] + label[..<62] + [0], three + [0xC0, 12]]
        for (name, question) in zip(names, ["a", String(repeating: "b", count: 62)]) {
            let reply = Message.reply(question, [Message.service(of: name, [0])])
            #expect(throws: DNSMessage.Damage.self, "\(question)") { try DNSMessage(reply) }
        }
        let whole = Message.reply(
            "a", [Message.service(of: three + [61] + label[..<61] + [0], [0])])
        #expect(throws: Never.self) { try DNSMessage(whole) }
    }

    @Test("The length of a record's data is what its data takes")
    func lengths() throws {
        for (type, size) in [(1, 3), (1, 5), (28, 4), (28, 15), (5, 0), (6, 19), (33, 6)] {
            let data = [UInt8](repeating: 0, count: size)
            let reply = Message.reply("a.test", [Message.record(UInt16(type), data)])
            #expect(throws: DNSMessage.Damage.self, "\(type)") { try DNSMessage(reply) }
        }
        let long = Message.record(33, Message.number(1) + Message.number(1) + [0, 1, 0, 0])
        #expect(throws: DNSMessage.Damage.self) { try DNSMessage(Message.reply("a", [long])) }
    }

    @Test("A query is no reply, and records of another class are no answers")
    func others() throws {
        #expect(throws: DNSMessage.Damage.self) {
            try DNSMessage(Message.reply("a.test", flags: 0x0100))
        }
        var reply = Message.reply("a.test", [Message.service(Message.name("b.test"))])
        reply[Message.reply("a.test").count + 5] = 3
        #expect(try DNSMessage(reply).answers.isEmpty)
    }

    @Test("As many records as fit into a message are read over in no time, and few are kept")
    func manyRecords() throws {
        let records = (0..<4_000).map {
            Message.record(DNSMessage.RecordType.address, of: [0], [10, 0, UInt8($0 >> 8), 1])
        }
        let message = try DNSMessage(Message.reply("a.test", records))
        #expect(message.answers.count == DNSMessage.mostRecords)
        // It promises more than there is.
        var short = Message.reply("a.test", Array(records.prefix(3)))
        short[6] = 0xFF
        short[7] = 0xFF
        #expect(throws: DNSMessage.Damage.self) { try DNSMessage(short) }
        #expect(throws: DNSMessage.Damage.self) {
            try DNSMessage(Message.reply("a.test") + [UInt8](repeating: 0, count: 65_536))
        }
    }
}
