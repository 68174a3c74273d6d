// Reads a name server's reply (RFC 1035, section 4). c-ares has seen that it belongs to the question;
// its own readers tell no lifetimes in version 1.18.

/// A reply, as far as it is of interest.
struct DNSMessage: Equatable {
    /// Types of records.
    enum RecordType {
        static let address: UInt16 = 1
        static let alias: UInt16 = 5
        static let authority: UInt16 = 6
        static let address6: UInt16 = 28
        static let service: UInt16 = 33
    }

    /// What a record says.
    enum Content: Equatable {
        /// A or AAAA: 4 or 16 bytes.
        case address([UInt8])
        /// CNAME.
        case alias(DNSName)
        /// SOA, of which only the lifetime of negative answers counts (RFC 2308).
        case authority(minimum: UInt32)
        /// SRV.
        case service(priority: UInt16, weight: UInt16, port: UInt16, target: DNSName)
    }

    struct Record: Equatable {
        var owner: DNSName
        var type: UInt16
        /// Seconds.
        var lifetime: UInt32
        var content: Content
    }

    /// The bytes are no reply.
    struct Damage: Error {}

    /// Records that are kept of each section; further ones are read over.
    static let mostRecords = 500

    /// RCODE: 0 no error, 2 failure, 3 no such domain, 5 refused.
    let code: UInt8
    let isTruncated: Bool
    /// The name that was asked for; nil when the reply does not repeat it.
    let question: DNSName?
    let answers: [Record]
    let authority: [Record]

    /// Reads a reply; what is in its additional section does not matter.
    init(_ bytes: [UInt8]) throws(Damage) {
        var reader = Reader(bytes)
        guard bytes.count <= 65_535 else { throw Damage() }
        _ = try reader.number()
        let flags = try reader.number()
        // A question.
        guard flags & 0x8000 != 0 else { throw Damage() }
        code = UInt8(flags & 0x0F)
        isTruncated = flags & 0x0200 != 0
        let questions = try reader.number()
        let counts = [try reader.number(), try reader.number()]
        _ = try reader.number()
        var question: DNSName?
        for _ in 0..<questions {
            question = try reader.name()
            _ = try reader.number()
            _ = try reader.number()
        }
        self.question = question
        // What was cut off is not missed: the reply does not count.
        answers = isTruncated ? [] : try reader.records(counts[0])
        authority = isTruncated ? [] : try reader.records(counts[1])
    }
}

/// Takes a message apart from its beginning to its end.
private struct Reader {
    let bytes: [UInt8]
    var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func records(_ count: UInt16) throws(DNSMessage.Damage) -> [DNSMessage.Record] {
        var records: [DNSMessage.Record] = []
        for _ in 0..<count {
            guard let record = try record(), records.count < DNSMessage.mostRecords else {
                continue
            }
            records.append(record)
        }
        return records
    }

    /// A record; nil when it is of no interest.
    private mutating func record() throws(DNSMessage.Damage) -> DNSMessage.Record? {
        let owner = try name()
        let type = try number()
        let `class` = try number()
        let lifetime = try longNumber()
        let end = try Int(number()) + position
        guard end <= bytes.count else { throw DNSMessage.Damage() }
        let content: DNSMessage.Content
        switch type {
        case _ where `class` != 1:
            position = end
            return nil
        case DNSMessage.RecordType.address, DNSMessage.RecordType.address6:
            guard end - position == (type == DNSMessage.RecordType.address ? 4 : 16) else {
                throw DNSMessage.Damage()
            }
            content = .address(Array(bytes[position..<end]))
            position = end
        case DNSMessage.RecordType.alias:
            content = .alias(try name())
        case DNSMessage.RecordType.authority:
            _ = try name()
            _ = try name()
            for _ in 0..<4 { _ = try longNumber() }
            content = .authority(minimum: try longNumber())
        case DNSMessage.RecordType.service:
            content = .service(
                priority: try number(), weight: try number(), port: try number(),
                target: try name())
        default:
            position = end
            return nil
        }
        guard position == end else { throw DNSMessage.Damage() }
        // A lifetime with the highest bit set is none (RFC 2181, section 8).
        return DNSMessage.Record(
            owner: owner, type: type, lifetime: lifetime > UInt32(Int32.max) ? 0 : lifetime,
            content: content)
    }

    mutating func number() throws(DNSMessage.Damage) -> UInt16 {
        guard bytes.count - position >= 2 else { throw DNSMessage.Damage() }
        defer { position += 2 }
        return UInt16(bytes[position]) << 8 | UInt16(bytes[position + 1])
    }

    private mutating func longNumber() throws(DNSMessage.Damage) -> UInt32 {
        let high = UInt32(try number())
        return high << 16 | UInt32(try number())
    }

    /// A name, which may end with a pointer to the rest of an earlier one (section 4.1.4). Every
    /// pointer has to lead further back than the one before it, so there are no loops.
    mutating func name() throws(DNSMessage.Damage) -> DNSName {
        var name = DNSName()
        var place = position
        var start = position
        var end: Int?
        while true {
            guard place < bytes.count else { throw DNSMessage.Damage() }
            let length = Int(bytes[place])
            switch length {
            case 0:
                position = end ?? place + 1
                return name
            case 1...63:
                guard bytes.count - place > length,
                    name.append(bytes[place + 1..<place + 1 + length])
                else { throw DNSMessage.Damage() }
                place += 1 + length
            case 0xC0...:
                guard bytes.count - place > 1 else { throw DNSMessage.Damage() }
                let target = (length & 0x3F) << 8 | Int(bytes[place + 1])
                guard target < start else { throw DNSMessage.Damage() }
                if end == nil { end = place + 2 }
                start = target
                place = target
            default:
                throw DNSMessage.Damage()
            }
        }
    }
}
