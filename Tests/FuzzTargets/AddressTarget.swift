// Addresses: what is accepted is in its one form already, prints as itself, and fits into a stanza.

import Addresses
import XML

enum AddressTarget {
    static func run(_ input: [UInt8]) throws {
        let whole = try address(input)
        try parts(input)
        // Two lines are two addresses to compare.
        let lines = input.split(separator: 0x0A, maxSplits: 1).map { Array($0) }
        guard lines.count == 2 else { return }
        let others = try lines.compactMap { try address($0) } + [whole].compactMap { $0 }
        for one in others { for other in others { try compare(one, other) } }
    }

    /// An address that is accepted is the one that it prints as.
    private static func address(_ input: [UInt8]) throws -> JID? {
        let fromBytes = try? input.withUnsafeBufferPointer { bytes in try JID(utf8: bytes) }
        if let text = String(validating: input, as: UTF8.self) {
            try expect((try? JID(text)) == fromBytes, "as text and as bytes: \(shown(input))")
        } else {
            try expect(fromBytes == nil, "no UTF-8, but an address: \(shown(input))")
        }
        guard let jid = fromBytes else { return nil }
        let printed = jid.description
        guard let again = try? JID(printed) else {
            throw Violation("printed, it is no address: \(printed.debugDescription)")
        }
        try expect(
            again == jid && isSame(again.local, jid.local) && isSame(again.domain, jid.domain)
                && isSame(again.resource, jid.resource),
            "\(shown(input)) is \(jid), which is \(again)")
        try expect(
            (try? BareJID(jid.bare.description)) == jid.bare, "the bare address of \(jid)")
        try expect(jid.isBare == !printed.utf8.contains(0x2F), "a resource of nothing: \(jid)")
        let carrier = Element("a", "", [("to", printed)], text: printed)
        let read = try? Element(
            parsing: XMLWriter.bytes(carrier, contentNamespace: ""), contentNamespace: "")
        try expect(
            read.map { isSame($0["to"] ?? "", printed) && isSame($0.text, printed) } == true,
            "XML cannot hold \(printed.debugDescription)")
        return jid
    }

    /// Preparing what is prepared changes nothing.
    private static func parts(_ input: [UInt8]) throws {
        guard let text = String(validating: input, as: UTF8.self) else { return }
        if let local = try? Preparation.local(text) {
            try fixed(local, by: (try? Preparation.local(local)))
            try expect(
                !local.utf8.contains { "\"&'/:<>@ ".utf8.contains($0) },
                "a localpart may not be \(local.debugDescription)")
        }
        if let resource = try? Preparation.resource(text) {
            try fixed(resource, by: (try? Preparation.resource(resource)))
        }
        if let password = try? Preparation.password(text) {
            try fixed(password, by: (try? Preparation.password(password)), limit: 1024)
        }
        guard let domain = try? Preparation.domain(text) else { return }
        try fixed(domain, by: (try? Preparation.domain(domain)))
        guard let ascii = try? Preparation.domainASCII(text) else {
            throw Violation("a domain without an ASCII form: \(domain)")
        }
        try expect(ascii.utf8.allSatisfy { $0 < 0x80 }, "not ASCII: \(ascii)")
        try fixed(ascii, by: try? Preparation.domainASCII(ascii), limit: 253)
        try fixed(ascii, by: try? Preparation.domainASCII(domain), limit: 253)
        try fixed(domain, by: try? Preparation.domain(ascii))
    }

    private static func fixed(_ prepared: String, by again: String?, limit: Int = 1023) throws {
        try expect(
            again.map { isSame($0, prepared) } == true,
            "\(prepared.debugDescription) is prepared to \(again.debugDescription)")
        try expect(
            !prepared.isEmpty && prepared.utf8.count <= limit,
            "\(prepared.utf8.count) bytes: \(prepared.debugDescription)")
    }

    /// Equal is what prints the same, and of two bare addresses one comes first.
    private static func compare(_ one: JID, _ other: JID) throws {
        let text = "\(one) and \(other)"
        try expect((one == other) == isSame(one.description, other.description), text)
        try expect(one != other || one.hashValue == other.hashValue, "hashes of \(text)")
        let orders = [one.bare < other.bare, one.bare == other.bare, other.bare < one.bare]
        try expect(orders.filter { $0 }.count == 1, "the order of \(text)")
    }
}
