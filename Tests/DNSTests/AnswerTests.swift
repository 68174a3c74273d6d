import Testing

@testable import DNS

@Suite("What replies say, and for how long it holds")
struct AnswerTests {
    private static let service = "_xmpp-server._tcp.example.test"

    private func services(_ reply: [UInt8]) -> Answer {
        Answer(.services(Self.service), [.message(reply)])
    }

    private func reply(
        code: Int = 0, _ answers: [[UInt8]], authority: [[UInt8]] = []
    ) -> [UInt8] {
        Message.reply(Self.service, code: code, answers, authority: authority)
    }

    private func found(_ answer: ServiceAnswer) -> Result<Answer.Found, DNSError> {
        .success(.services(answer))
    }

    private func failed(
        _ code: DNSError.Code, _ name: String = service
    ) -> Result<Answer.Found, DNSError> {
        .failure(DNSError(code, name))
    }

    // MARK: Services

    @Test("SRV records come with the lifetime of the shortest (RFC 2181, section 5.2)")
    func records() {
        let answer = services(
            reply([
                Message.service(lifetime: 600, Message.name("A.Example.test")),
                Message.service(lifetime: 120, weight: 0, port: 5270, Message.name("b.test")),
            ]))
        #expect(
            answer.result
                == found(
                    .records([
                        ServiceRecord(
                            priority: 10, weight: 20, port: 5269, target: "a.example.test"),
                        ServiceRecord(priority: 10, weight: 0, port: 5270, target: "b.test"),
                    ])))
        #expect(answer.lifetime == .seconds(120))
    }

    @Test("A single record whose target is the root says that there is no service (RFC 2782)")
    func unavailable() {
        #expect(services(reply([Message.service([0])])).result == found(.unavailable))
        let both = services(reply([Message.service([0]), Message.service(Message.name("b.test"))]))
        let record = ServiceRecord(priority: 10, weight: 20, port: 5269, target: "b.test")
        #expect(both.result == found(.records([record])))
    }

    @Test("No records, or no such domain: fall back, for as long as the SOA says (RFC 2308)")
    func negative() {
        for code in [0, 3] {
            let none = services(
                reply(code: code, [], authority: [Message.authority(lifetime: 60, minimum: 120)]))
            #expect(none.result == found(.none))
            #expect(none.lifetime == .seconds(60))
        }
        let lifetimes = [(900, 100, 100), (90_000, 86_400, 300), (3, 900, 5), (0, 0, 5)]
        for (lifetime, minimum, expected) in lifetimes {
            let authority = Message.authority(lifetime: lifetime, minimum: minimum)
            let none = services(reply([], authority: [authority]))
            #expect(none.lifetime == .seconds(expected), "\(lifetime), \(minimum)")
        }
        #expect(services(reply([])).lifetime == .seconds(5))
    }

    @Test("Lifetimes are 5 seconds at least and a day at most; with the highest bit set, none")
    func lifetimes() {
        for (lifetime, expected) in [(0, 5), (4, 5), (6, 6), (90_000, 86_400), (1 << 31, 5)] {
            let answer = services(
                reply([Message.service(lifetime: lifetime, Message.name("b.test"))]))
            #expect(answer.lifetime == .seconds(expected), "\(lifetime)")
        }
    }

    @Test("Records that nobody can connect to are dropped; when none is left, that is an error")
    func dropped() {
        let bad = [
            Message.service(port: 0, Message.name("b.test")),
            Message.service(Message.name("b b.test")), Message.service(Message.name("b\u{1}.test")),
            Message.service(Message.name("bücher.test")),
            Message.service(Message.name("127.0.0.1")),
        ]
        #expect(services(reply(bad)).result == failed(.malformed))
        #expect(services(reply(bad)).lifetime == .seconds(5))
        let good = Message.service(Message.name("b.test"))
        let record = ServiceRecord(priority: 10, weight: 20, port: 5269, target: "b.test")
        #expect(services(reply(bad + [good, good])).result == found(.records([record])))
    }

    @Test("A message full of records gives so many and no more")
    func many() throws {
        let records = (0..<1_500).map { Message.service(port: $0 + 1, Message.name("b.test")) }
        guard case .success(.services(.records(let found))) = services(reply(records)).result else {
            Issue.record("no records")
            return
        }
        #expect(found.count == Answer.mostRecords)
    }

    @Test("Aliases are followed, and the shortest lifetime on the way counts")
    func aliases() {
        let answer = services(
            reply([
                Message.service(of: Message.name("c.test"), lifetime: 300, Message.name("d.test")),
                Message.alias(of: Message.name("b.test"), lifetime: 30, Message.name("C.test")),
                Message.alias(lifetime: 200, Message.name("b.test")),
                Message.service(of: Message.name("unasked.test"), Message.name("evil.test")),
            ]))
        let record = ServiceRecord(priority: 10, weight: 20, port: 5269, target: "d.test")
        #expect(answer.result == found(.records([record])))
        #expect(answer.lifetime == .seconds(30))
    }

    @Test("Aliases in a circle, or too many, are an error")
    func circles() {
        let name = Message.name
        let circle = [
            Message.alias(name("b.test")), Message.alias(of: name("b.test"), [0xC0, 12]),
        ]
        #expect(services(reply(circle)).result == failed(.malformed))
        #expect(services(reply([Message.alias([0xC0, 12])])).result == failed(.malformed))
        for (count, isFine) in [(16, true), (17, false)] {
            let chain = (1...count).map {
                Message.alias(
                    of: $0 == 1 ? [0xC0, 12] : name("a\($0 - 1).test"), name("a\($0).test"))
            }
            let last = Message.service(of: name("a\(count).test"), name("b.test"))
            let result = services(reply(chain + [last])).result
            #expect((result == failed(.malformed)) == !isFine, "\(count)")
        }
    }

    @Test("What a server refuses, fails at, cuts off or answers to another question is an error")
    func errors() {
        let good = Message.service(Message.name("b.test"))
        for (code, expected) in [(1, "server_failure"), (2, "server_failure"), (5, "refused")] {
            let result = services(reply(code: code, [good])).result
            #expect(result == DNSError.Code(rawValue: expected).map { failed($0) })
        }
        let cut = Message.reply(Self.service, flags: 0x8380, [good])
        #expect(services(cut).result == failed(.malformed))
        let other = Message.reply("_xmpp-server._tcp.other.test", [good])
        #expect(services(other).result == failed(.malformed))
        #expect(services([]).result == failed(.malformed))
        for code in DNSError.Code.allCases where code != .noSuchDomain && code != .noAddress {
            let answer = Answer(.services(Self.service), [.failure(code)])
            #expect(answer.result == failed(code))
            #expect(answer.lifetime == .seconds(5))
        }
    }

    // MARK: Addresses

    private func addresses(_ six: Reply, _ four: Reply) -> Answer {
        Answer(.addresses("a.test"), [six, four])
    }

    private func host(
        _ type: UInt16, code: Int = 0, _ answers: [[UInt8]] = [], authority: [[UInt8]] = []
    ) -> Reply {
        .message(Message.reply("a.test", type: type, code: code, answers, authority: authority))
    }

    private func host(_ address: String, lifetime: Int = 300) throws -> Reply {
        let address = try #require(ResolvedAddress(address))
        let type = address.isIPv6 ? DNSMessage.RecordType.address6 : DNSMessage.RecordType.address
        return host(type, [Message.record(type, lifetime: lifetime, address.bytes)])
    }

    @Test("Addresses of both families come together, with the shorter lifetime")
    func bothFamilies() throws {
        let answer = addresses(
            try host("2001:db8::1", lifetime: 40), try host("192.0.2.1", lifetime: 30))
        let expected = ["2001:db8::1", "192.0.2.1"].compactMap { ResolvedAddress($0) }
        #expect(answer.result == .success(.addresses(expected)))
        #expect(answer.lifetime == .seconds(30))
    }

    @Test("One family is enough, and when the other failed it is soon asked for again")
    func oneFamily() throws {
        let four = try #require(ResolvedAddress("192.0.2.1"))
        let none = addresses(host(28), try host("192.0.2.1"))
        #expect(none.result == .success(.addresses([four])))
        let failed = addresses(.failure(.timeout), try host("192.0.2.1", lifetime: 3_000))
        #expect(failed.result == .success(.addresses([four])))
        #expect(failed.lifetime == .seconds(5))
    }

    @Test("Without an address the error says why")
    func noAddress() {
        let soa = [Message.authority(lifetime: 50, minimum: 70)]
        let none = addresses(host(28, authority: soa), host(1, authority: soa))
        #expect(none.result == failed(.noAddress, "a.test"))
        #expect(none.lifetime == .seconds(50))
        let unknown = addresses(host(28, code: 3, authority: soa), host(1, code: 3, authority: soa))
        #expect(unknown.result == failed(.noSuchDomain, "a.test"))
        #expect(unknown.lifetime == .seconds(50))
        #expect(
            addresses(.failure(.timeout), host(1)).result == failed(.timeout, "a.test"))
        #expect(
            addresses(host(28), host(1, code: 2)).result == failed(.serverFailure, "a.test"))
    }
}
