// Name servers' replies, made by hand (RFC 1035, section 4).

@testable import DNS

/// The parts of a message.
enum Message {
    /// Where the name of a question stands, as a pointer (section 4.1.4).
    static let questionName: [UInt8] = [0xC0, 12]

    static func number(_ value: Int) -> [UInt8] { [UInt8(value >> 8 & 0xFF), UInt8(value & 0xFF)] }

    static func longNumber(_ value: Int) -> [UInt8] { number(value >> 16) + number(value) }

    /// Labels between dots, without compression; `.` is the root.
    static func name(_ text: String) -> [UInt8] {
        text.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + $0.utf8 } + [0]
    }

    static func record(
        _ type: UInt16, of owner: [UInt8] = questionName, lifetime: Int = 300, _ data: [UInt8]
    ) -> [UInt8] {
        owner + number(Int(type)) + [0, 1] + longNumber(lifetime) + number(data.count) + data
    }

    static func service(
        of owner: [UInt8] = questionName, lifetime: Int = 300, priority: Int = 10, weight: Int = 20,
        port: Int = 5269, _ target: [UInt8]
    ) -> [UInt8] {
        let data = number(priority) + number(weight) + number(port) + target
        return record(DNSMessage.RecordType.service, of: owner, lifetime: lifetime, data)
    }

    static func alias(
        of owner: [UInt8] = questionName, lifetime: Int = 300, _ target: [UInt8]
    ) -> [UInt8] {
        record(DNSMessage.RecordType.alias, of: owner, lifetime: lifetime, target)
    }

    static func authority(lifetime: Int, minimum: Int) -> [UInt8] {
        record(
            DNSMessage.RecordType.authority, of: name("test"), lifetime: lifetime,
            name("ns.test") + name("root.test") + [1, 2, 3, 4].flatMap(longNumber)
                + longNumber(minimum))
    }

    /// A whole reply.
    static func reply(
        _ question: String, type: UInt16 = DNSMessage.RecordType.service, code: Int = 0,
        flags: Int = 0x8180, id: [UInt8] = [0x12, 0x34], _ answers: [[UInt8]] = [],
        authority: [[UInt8]] = []
    ) -> [UInt8] {
        let counts = [flags | code, 1, answers.count, authority.count, 0].flatMap(number)
        let asked: [UInt8] = name(question) + number(Int(type)) + [0, 1]
        return id + counts + asked + Array((answers + authority).joined())
    }

    /// What a query asks; nil when it is none.
    static func question(of query: [UInt8]) -> (id: [UInt8], name: String, type: UInt16)? {
        var labels: [String] = []
        var place = 12
        while place < query.count, query[place] > 0 {
            let end = place + 1 + Int(query[place])
            guard end < query.count else { return nil }
            labels.append(String(decoding: query[place + 1..<end], as: UTF8.self))
            place = end
        }
        guard query.count > place + 4 else { return nil }
        let type = UInt16(query[place + 1]) << 8 | UInt16(query[place + 2])
        return (Array(query[..<2]), labels.joined(separator: "."), type)
    }
}
