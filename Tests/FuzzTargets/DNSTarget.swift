// What name servers answer: whatever it is, it becomes an answer that can be used, or an error.

@testable import DNS

enum DNSTarget {
    /// - Parameter input: one byte that says what was asked, and the reply without its question.
    static func run(_ input: [UInt8]) throws {
        guard let kind = input.first, let name = DNSName(Self.name) else { return }
        let bytes = Array(input.dropFirst())
        // Both as it is, and behind a head that belongs to the question.
        let head: [UInt8] = [0, 0, 0x81, 0x80, 0, 1] + bytes.prefix(6)
        let asked = head + name.wire + [0, 0, 33, 0, 1] + bytes.dropFirst(6)
        for reply in [bytes, asked] {
            if let message = try? DNSMessage(reply) {
                let again = try? DNSMessage(reply)
                try expect(again == message, "read twice, it differs: \(shown(reply))")
                try expect(
                    message.answers.count <= DNSMessage.mostRecords, "records of \(shown(reply))")
            }
            let question: Question =
                kind & 1 == 0 ? .services(Self.name) : .addresses(Self.name)
            try check(Answer(question, question.types.map { _ in .message(reply) }), reply)
        }
    }

    private static let name = "_xmpp-server._tcp.example.test"

    private static func check(_ answer: Answer, _ reply: [UInt8]) throws {
        try expect(
            answer.lifetime >= .seconds(5) && answer.lifetime <= .seconds(86_400),
            "a lifetime of \(answer.lifetime): \(shown(reply))")
        switch answer.result {
        case .success(.services(.records(let records))):
            try expect(
                (1...Answer.mostRecords).contains(records.count), "records of \(shown(reply))")
            for record in records {
                try expect(
                    (1...65_535).contains(record.port) && (0...65_535).contains(record.weight)
                        && (0...65_535).contains(record.priority)
                        && DNSName(record.target)?.text == record.target,
                    "\(record): \(shown(reply))")
            }
        case .success(.addresses(let addresses)):
            try expect(
                (1...Answer.mostRecords).contains(addresses.count)
                    && Set(addresses).count == addresses.count,
                "addresses of \(shown(reply))")
            for address in addresses {
                let again = ResolvedAddress(address.text)
                try expect(again == address, "\(address.text): \(shown(reply))")
            }
        case .success, .failure: break
        }
    }
}
