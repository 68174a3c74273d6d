// Properties over a random but repeatable corpus: stability, no trap, one truth on both ways.

import Testing

@testable import Addresses

@Suite struct PreparationPropertyTests {
    @Test("A prepared part prepares to itself (RFC 8264 section 7)")
    func idempotence() throws {
        var corpus = Corpus(seed: 1)
        var accepted = 0
        for _ in 0..<6000 {
            let text = corpus.text()
            for part in JIDError.Part.allCases {
                guard let prepared = try? prepare(text, as: part) else { continue }
                accepted += 1
                #expect(
                    try prepare(prepared, as: part) == prepared,
                    "\(text.unicodeScalars.map(\.value))")
            }
        }
        #expect(accepted > 5000)
    }

    private func prepare(_ text: String, as part: JIDError.Part) throws -> String {
        switch part {
        case .local: try Preparation.local(text)
        case .domain: try Preparation.domain(text)
        case .resource: try Preparation.resource(text)
        case .password: try Preparation.password(text)
        case .address: try JID(text).description
        }
    }

    @Test("Both forms of a domain lead to the same two forms")
    func domainForms() throws {
        var corpus = Corpus(seed: 2)
        var accepted = 0
        for _ in 0..<6000 {
            let text = corpus.text()
            guard let unicode = try? Preparation.domain(text) else { continue }
            accepted += 1
            let ascii = try Preparation.domainASCII(text)
            #expect(try Preparation.domain(ascii) == unicode)
            #expect(try Preparation.domainASCII(unicode) == ascii)
            #expect(ascii.utf8.allSatisfy { $0 < 0x80 })
        }
        #expect(accepted > 1000)
    }

    @Test("An accepted address reads back from what it prints")
    func roundTrip() throws {
        var corpus = Corpus(seed: 3)
        var accepted = 0
        for _ in 0..<6000 {
            let text = "\(corpus.text())@\(corpus.text())/\(corpus.text())"
            guard let jid = try? JID(text) else { continue }
            accepted += 1
            #expect(try JID(jid.description) == jid)
        }
        #expect(accepted > 100)
    }

    @Test("The short way for ASCII gives what the full rules give")
    func shortWay() {
        var corpus = Corpus(seed: 4)
        var accepted = 0
        for _ in 0..<20_000 {
            let bytes = corpus.ascii()
            bytes.withUnsafeBufferPointer { bytes in
                let text = String(decoding: bytes, as: UTF8.self)
                let local = try? Preparation.local(text)
                #expect(local == (try? Preparation.localByFullRules(bytes)), "\(text)")
                let resource = try? Preparation.resource(text)
                let opaque = try? PRECISProfile.opaqueString.enforce(
                    bytes, limit: Preparation.limit)
                #expect(resource == opaque, "\(text)")
                let domain = try? DomainName(bytes)
                if bytes.first != UInt8(ascii: "[") {
                    let idna = try? DomainName(byIDNA: bytes)
                    #expect(domain?.unicode == idna?.unicode, "\(text)")
                    #expect(domain?.ascii == idna?.ascii, "\(text)")
                }
                accepted += (local == nil ? 0 : 1) + (domain == nil ? 0 : 1)
            }
        }
        #expect(accepted > 5000)
    }

    @Test("Garbage is an answer or an error, never a trap")
    func garbage() throws {
        var corpus = Corpus(seed: 5)
        var notUTF8 = 0
        for _ in 0..<20_000 {
            let outcome = corpus.garbage().withUnsafeBufferPointer { bytes in
                Result { () throws(JIDError) in try JID(utf8: bytes) }
            }
            switch outcome {
            case .success(let jid):
                #expect(try JID(jid.description) == jid)
            case .failure(let error):
                notUTF8 += error.reason == .notUTF8 ? 1 : 0
                #expect(error.subject.unicodeScalars.count <= 10 * JIDError.subjectLimit)
                #expect(!error.description.contains("\n"))
            }
        }
        #expect(notUTF8 > 1000)
    }

    @Test(
        "Malformed UTF-8 is refused in every part",
        arguments: [
            [0x80], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82],
            [0xFF],
        ] as [[UInt8]])
    func malformed(_ sequence: [UInt8]) {
        let around: [(String, String, JIDError.Part)] = [
            ("a", "@host", .local), ("user@a", "", .domain), ("user@host/a", "b", .resource),
        ]
        for (before, after, part) in around {
            let text = Array(before.utf8) + sequence + Array(after.utf8)
            let outcome = text.withUnsafeBufferPointer { bytes in
                Result { () throws(JIDError) in try JID(utf8: bytes) }
            }
            let error = #expect(throws: JIDError.self) { try outcome.get() }
            #expect(error?.reason == .notUTF8)
            #expect(error?.part == part)
        }
    }
}
