import Foundation
import Synchronization
import Testing

@testable import DNS

@Suite("Look-ups with name servers that answer late, badly or not at all")
struct BadNameServerTests {
    private func resolver(_ server: TestNameServer, timeout: Duration = .ample) throws
        -> Resolver
    {
        try Resolver(servers: ["127.0.0.1:\(server.port)"], timeout: timeout)
    }

    private func code<T>(_ body: () async throws(DNSError) -> T) async -> DNSError.Code? {
        do throws(DNSError) {
            _ = try await body()
            return nil
        } catch {
            return error.code
        }
    }

    /// A server whose replies are a function of the question.
    private func server(
        _ reply: @escaping @Sendable (_ id: [UInt8], _ name: String, _ type: UInt16) -> [[UInt8]]
    ) throws -> TestNameServer {
        try TestNameServer { query in
            Message.question(of: query).map { reply($0.id, $0.name, $0.type) } ?? []
        }
    }

    @Test("One that never answers costs the time limit and no more")
    func silence() async throws {
        let server = try TestNameServer { _ in [] }
        defer { server.stop() }
        // Its own clock stands, however long this takes on a busy machine.
        let clock = SetClock()
        var settings = ChannelSettings(timeout: .milliseconds(400))
        settings.servers = "127.0.0.1:\(server.port)"
        let resolver = Resolver(settings, now: clock.now)
        let began = ContinuousClock.now
        #expect(
            await code { () async throws(DNSError) in try await resolver.services("a.test") }
                == .timeout)
        let time = ContinuousClock.now - began
        #expect(time >= .milliseconds(400))
        await server.catchUp()
        // It is not asked again at once.
        let count = server.queries.count
        #expect(count > 0)
        #expect(
            await code { () async throws(DNSError) in try await resolver.services("a.test") }
                == .timeout)
        await server.catchUp()
        #expect(server.queries.count == count)
    }

    @Test("SERVFAIL and REFUSED are what they are, and are forgotten soon", arguments: [2, 5])
    func refusal(_ number: Int) async throws {
        let server = try server { [Message.reply($1, type: $2, code: number, id: $0)] }
        defer { server.stop() }
        let clock = SetClock()
        var settings = ChannelSettings(timeout: .ample)
        settings.servers = "127.0.0.1:\(server.port)"
        let resolver = Resolver(settings, now: clock.now)
        let expected: DNSError.Code = number == 2 ? .serverFailure : .refused
        for round in 1...2 {
            for _ in 0..<2 {
                #expect(
                    await code { () async throws(DNSError) in
                        try await resolver.services("a.test")
                    } == expected)
            }
            #expect(server.queries.count == round)
            clock.advance(.seconds(5))
        }
    }

    @Test("Where one server fails, the next one is asked")
    func secondServer() async throws {
        let bad = try server { [Message.reply($1, type: $2, code: 2, id: $0)] }
        let good = try server {
            [Message.reply($1, type: $2, id: $0, [Message.service(Message.name("b.test"))])]
        }
        defer {
            bad.stop()
            good.stop()
        }
        let resolver = try Resolver(
            servers: ["127.0.0.1:\(bad.port)", "127.0.0.1:\(good.port)"], timeout: .ample)
        let record = ServiceRecord(priority: 10, weight: 20, port: 5269, target: "b.test")
        #expect(try await resolver.services("a.test") == .records([record]))
        #expect(!bad.queries.isEmpty && good.queries.count == 1)
    }

    @Test("Garbage, cut-off replies and aliases in a circle end in an error")
    func garbage() async throws {
        let server = try server { id, name, type in
            let reply = Message.reply(
                name, type: type, id: id, [Message.service(Message.name("b.test"))])
            return switch name {
            case "noise.test": [[], [1], id, Array(repeating: 0xFF, count: 600)]
            // The question is whole, what follows is not.
            case "cut.test": [Array(reply.dropLast(3))]
            case "truncated.test": [Message.reply(name, type: type, flags: 0x8380, id: id)]
            case "circle.test":
                [Message.reply(name, type: type, id: id, [Message.alias([0xC0, 12])])]
            case "id.test": [[id[0] ^ 1, id[1]] + reply.dropFirst(2)]
            default: [Message.reply("other.test", type: type, id: id)]
            }
        }
        defer { server.stop() }
        let names = ["noise", "cut", "truncated", "circle", "id", "name"].map { "\($0).test" }
        let codes = try await withThrowingTaskGroup(
            of: (String, [DNSError.Code?]).self, returning: [String: [DNSError.Code?]].self
        ) { group in
            for name in names {
                // One's own for each: c-ares may give up more than the one query.
                let resolver = try resolver(
                    server, timeout: name == "circle.test" ? .ample : .seconds(1))
                group.addTask {
                    let services = await code { () async throws(DNSError) in
                        try await resolver.services(name)
                    }
                    let addresses = await code { () async throws(DNSError) in
                        try await resolver.addresses(of: name)
                    }
                    return (name, [services, addresses])
                }
            }
            return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
        for name in names {
            // Which one depends on what c-ares makes of it; it is never taken for an answer.
            let possible: [DNSError.Code] = [.timeout, .malformed, .serverFailure]
            #expect(codes[name]?.count == 2)
            #expect(
                codes[name]?.allSatisfy { $0.map(possible.contains) ?? false } == true, "\(name)")
        }
        #expect(codes["circle.test"] == [.malformed, .malformed])
        #expect(codes["id.test"] == [.timeout, .timeout])
        #expect(codes["name.test"] == [.timeout, .timeout])
    }

    @Test("Where nobody answers for one family, the other one does not wait for it long")
    func oneFamily() async throws {
        let server = try server { id, name, type in
            guard type == DNSMessage.RecordType.address else { return [] }
            return [
                Message.reply(name, type: type, id: id, [Message.record(type, [192, 0, 2, 1])])
            ]
        }
        defer { server.stop() }
        let resolver = try resolver(server)
        let began = ContinuousClock.now
        #expect(try await resolver.addresses(of: "a.test").map(\.text) == ["192.0.2.1"])
        #expect(ContinuousClock.now - began < Duration.ample / 4)
        #expect(Set(server.queries.map(\.type)) == [1, 28])
    }

    @Test("An answer is asked for again once its lifetime is over, and not before")
    func lifetime() async throws {
        let server = try server {
            [
                Message.reply(
                    $1, type: $2, id: $0, [Message.service(lifetime: 90, Message.name("b.test"))])
            ]
        }
        defer { server.stop() }
        let clock = SetClock()
        var settings = ChannelSettings(timeout: .ample)
        settings.servers = "127.0.0.1:\(server.port)"
        let resolver = Resolver(settings, now: clock.now)
        for (seconds, count) in [(0, 1), (89, 1), (1, 2), (89, 2)] {
            clock.advance(.seconds(seconds))
            #expect(try await resolver.services("a.test") != .none)
            #expect(server.queries.count == count)
        }
    }

    @Test("Those who ask for the same share a query, and who is cancelled leaves the others")
    func sharing() async throws {
        let (asked, isFree) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        let server = try server {
            asked.signal()
            isFree.wait()
            isFree.signal()
            return [Message.reply($1, type: $2, id: $0, [Message.service(Message.name("b.test"))])]
        }
        defer { server.stop() }
        let resolver = try resolver(server)
        let tasks = (0..<20).map { _ in
            Task {
                await code { () async throws(DNSError) in try await resolver.services("a.test") }
            }
        }
        await asked.signals()
        for task in tasks[..<5] { task.cancel() }
        for task in tasks[..<5] { #expect(await task.value == .cancelled) }
        isFree.signal()
        for task in tasks[5...] { #expect(await task.value == nil) }
        #expect(server.queries.count == 1)
        let late = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return await code { () async throws(DNSError) in
                try await resolver.services("other.test")
            }
        }
        #expect(await late.value == .cancelled)
    }

    @Test("No more look-ups than allowed are under way; the others get their turn")
    func limit() async throws {
        let asked = DispatchSemaphore(value: 0)
        let joined = DispatchSemaphore(value: 0)
        let isFree = DispatchSemaphore(value: 0)
        let server = try server { id, name, type in
            asked.signal()
            if name == "first.test" {
                isFree.wait()
                isFree.signal()
            }
            return [
                Message.reply(name, type: type, id: id, [Message.service(Message.name("b.test"))])
            ]
        }
        defer { server.stop() }
        var settings = ChannelSettings(timeout: .ample)
        settings.servers = "127.0.0.1:\(server.port)"
        let table = AnswerTable(limit: 100) { .now }
        let thread = LookupThread(settings, limit: 1, table: table)
        defer { thread.stop() }
        let find: @Sendable (String, UInt64) async -> DNSError.Code? = { name, number in
            let outcome = await withCheckedContinuation { (waiter: AnswerTable.Waiter) in
                let step = table.wait(waiter, number, for: .services(name)) { false }
                #expect(step == .ask)
                thread.ask(.services(name))
                joined.signal()
            }
            if case .failure(let error) = outcome { return error.code }
            return nil
        }
        let first = Task { await find("first.test", 1000) }
        await asked.signals()
        let others = (0..<50).map { number in
            Task { await find("\(number).test", UInt64(number)) }
        }
        await joined.signals(51)
        // Whoever gives up before the turn comes is never asked for.
        for number in [7, 8, 49] as [UInt64] {
            table.cancel(number, for: .services("\(number).test"))
        }
        #expect(server.queries.map(\.name) == ["first.test"])
        isFree.signal()
        #expect(await first.value == nil)
        for (number, task) in others.enumerated() {
            let expected: DNSError.Code? = [7, 8, 49].contains(number) ? .cancelled : nil
            #expect(await task.value == expected, "\(number)")
        }
        let names = Set(server.queries.map(\.name))
        #expect(names.count == 48 && names.isDisjoint(with: ["7.test", "8.test", "49.test"]))
    }

    @Test("The stop ends what is under way")
    func stop() async throws {
        let asked = DispatchSemaphore(value: 0)
        let server = try TestNameServer { _ in
            asked.signal()
            return []
        }
        defer { server.stop() }
        let resolver = try resolver(server)
        let task = Task {
            await code { () async throws(DNSError) in try await resolver.services("a.test") }
        }
        await asked.signals()
        resolver.stop()
        #expect(await task.value == .cancelled)
        #expect(
            await code { () async throws(DNSError) in try await resolver.services("b.test") }
                == .cancelled)
        resolver.stop()
    }

    @Test("The thread of a resolver that nobody holds any more ends")
    func end() async throws {
        /// Held by the clock, and so by the resolver and by its thread.
        final class Holder: Sendable {
            let ended: DispatchSemaphore
            init(_ ended: DispatchSemaphore) { self.ended = ended }
            deinit { ended.signal() }
        }
        let server = try server {
            [Message.reply($1, type: $2, id: $0, [Message.service(Message.name("b.test"))])]
        }
        defer { server.stop() }
        let ended = DispatchSemaphore(value: 0)
        func lookUp() async throws {
            let holder = Holder(ended)
            var settings = ChannelSettings(timeout: .ample)
            settings.servers = "127.0.0.1:\(server.port)"
            let resolver = Resolver(settings) { withExtendedLifetime(holder) { .now } }
            _ = try await resolver.services("a.test")
        }
        try await lookUp()
        await ended.signals()
    }
}
