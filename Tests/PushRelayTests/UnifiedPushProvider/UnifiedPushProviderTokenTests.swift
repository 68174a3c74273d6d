// Tokens of endpoints and the keys that they are sealed with.

import Addresses
import Testing

@testable import PushRelay

/// A moment in 2026, seconds since 1970.
private let start: Int64 = 1_780_000_000
private let day: Int64 = 86_400

extension EndpointKeyRing {
    /// The same as an expression that changes nothing; nil where nothing is to change.
    fileprivate func rotated(
        _ now: Int64, life: Int64 = 30 * day, isClockRight: Bool = true
    ) -> EndpointKeyRing? {
        var ring = self
        return ring.rotate(now: now, life: life, isClockRight: isClockRight) ? ring : nil
    }
}

private func ring(_ moments: Int64...) -> EndpointKeyRing {
    var ring = EndpointKeyRing()
    for moment in moments { _ = ring.rotate(now: moment, life: 1, isClockRight: true) }
    return ring
}

private func grant(_ client: String = "romeo@example.org/phone") throws -> EndpointGrant {
    EndpointGrant(
        client: try JID(client), application: Array(0..<32), instance: Array(100..<132),
        expires: start + day, service: "push.example.org")
}

@Suite struct UnifiedPushProviderTokenTests {
    @Test("A token opens to what was sealed, and shows nothing of it")
    func roundTrip() throws {
        let ring = ring(start)
        let grants = [
            try grant(), try grant("rōmeo@münchen.example/Ωμέγα 📱"),
            try grant("a@\(String(repeating: "b", count: 60)).example/c"),
        ]
        for grant in grants {
            let token = try EndpointToken.seal(grant, with: try #require(ring.newest))
            #expect(EndpointToken.open(token, with: ring) == grant)
            #expect(!token.contains("romeo"))
            let plain = try #require(Base64URL.decode(token))
            #expect(!String(decoding: plain, as: UTF8.self).contains("example"))
            #expect(token.utf8.allSatisfy { $0 != UInt8(ascii: "=") && $0 != UInt8(ascii: "/") })
        }
    }

    @Test("No two tokens for the same are the same")
    func fresh() throws {
        let key = try #require(ring(start).newest)
        let tokens = try (0..<50).map { _ in try EndpointToken.seal(grant(), with: key) }
        #expect(Set(tokens).count == 50)
    }

    @Test("A token that was changed anywhere, cut or extended opens to nothing")
    func tampering() throws {
        let ring = ring(start)
        let token = try EndpointToken.seal(grant(), with: try #require(ring.newest))
        let bytes = try #require(Base64URL.decode(token))
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 1 << UInt8(index % 8)
            #expect(EndpointToken.open(Base64URL.encode(changed), with: ring) == nil)
        }
        for count in [0, 1, 4, 15, 16, 17, 31, 32, bytes.count - 1] {
            #expect(EndpointToken.open(Base64URL.encode(bytes.prefix(count)), with: ring) == nil)
        }
        #expect(EndpointToken.open(Base64URL.encode(bytes + [0]), with: ring) == nil)
        for text in ["", "x", "..", "äöü", token + "=", String(repeating: "A", count: 5000)] {
            #expect(EndpointToken.open(text, with: ring) == nil)
        }
    }

    @Test("Another server's token opens to nothing, even under a name of ours")
    func otherKey() throws {
        let (ours, theirs) = (ring(start), ring(start))
        let token = try EndpointToken.seal(grant(), with: try #require(theirs.newest))
        #expect(EndpointToken.open(token, with: ours) == nil)
        let name = try #require(ours.newest?.name)
        let renamed = name + (try #require(Base64URL.decode(token))).dropFirst(name.count)
        #expect(EndpointToken.open(Base64URL.encode(renamed), with: ours) == nil)
        #expect(EndpointToken.open(token, with: EndpointKeyRing()) == nil)
    }

    @Test("Tokens outlive the file and the keys that come after theirs")
    func rotation() throws {
        var ring = ring(start)
        let token = try EndpointToken.seal(grant(), with: try #require(ring.newest))
        for later in 1..<3 {
            ring = try #require(ring.rotated(start + Int64(later) * 30 * day))
            ring = EndpointKeyRing(file: ring.file)
            #expect(ring.keys.count == later + 1)
            #expect(EndpointToken.open(token, with: ring) == (try grant()))
        }
        let other = try EndpointToken.seal(grant(), with: try #require(ring.newest))
        #expect(other.prefix(5) != token.prefix(5))
    }

    @Test("The identity is that of the client and the instance, not of the token")
    func identity() throws {
        var other = try grant()
        other.expires += 100
        #expect(other.identity == (try grant()).identity)
        other.instance[0] ^= 1
        #expect(other.identity != (try grant()).identity)
        #expect(try grant("romeo@example.org/tablet").identity != grant().identity)
    }
}

@Suite struct UnifiedPushProviderKeyTests {
    @Test("A key is made when there is none, and the next when its time has come")
    func rotate() throws {
        let one = try #require(EndpointKeyRing().rotated(start, isClockRight: false))
        let first = try #require(one.newest)
        #expect(one.rotated(start + 30 * day - 1) == nil)
        let two = try #require(one.rotated(start + 30 * day))
        #expect(two.keys.count == 2 && two.newest != first)
        #expect(two.key(named: first.name) == first)
    }

    @Test("An old key is kept while an endpoint that it sealed can live, no longer")
    func kept() throws {
        let one = ring(start)
        let first = try #require(one.newest)
        // It seals until here.
        let followed = start + 30 * day
        let two = try #require(one.rotated(followed))
        // The server was off, or its keys live long.
        #expect(two.rotated(followed + 90 * day - 1, life: 365 * day) == nil)
        let later = try #require(two.rotated(followed + 90 * day, life: 365 * day))
        #expect(later.key(named: first.name) == nil)
        #expect(later.keys == [try #require(two.newest)])
    }

    @Test("There are never more than a hundred, and few enough are needed")
    func bounded() {
        var ring = EndpointKeyRing()
        for number in 0..<400 {
            _ = ring.rotate(now: start + Int64(number) * day, life: day, isClockRight: true)
            #expect(ring.keys.count <= 91)
        }
        for number in 0..<400 {
            _ = ring.rotate(now: start + 400 * day + Int64(number), life: 1, isClockRight: true)
        }
        #expect(ring.keys.count == EndpointKeyRing.most)
    }

    @Test("A clock that is wrong costs no key; one that was, no more than another key")
    func clock() throws {
        let ring = ring(start)
        #expect(ring.rotated(start + 1000 * day, life: day, isClockRight: false) == nil)
        #expect(ring.rotated(0, life: day, isClockRight: false) == nil)
        // Made in the future.
        let earlier = try #require(ring.rotated(start - 10 * day))
        #expect(earlier.keys.count == 2)
        #expect(earlier.newest?.created == start - 10 * day)
    }

    @Test("A damaged file gives the keys that are whole")
    func damage() throws {
        let ring = ring(start, start + day)
        #expect(EndpointKeyRing(file: ring.file) == ring)
        let newest = try #require(ring.newest)
        var lines = String(decoding: ring.file, as: UTF8.self).split(separator: "\n").map {
            String($0)
        }
        lines[2] = String(lines[2].dropLast(3))
        lines += ["", "1 2 3", "x \(Base64URL.encode(newest.bytes))", "1780000000"]
        let damaged = Array(lines.joined(separator: "\n").utf8) + [0xFF, 0xFE]
        #expect(EndpointKeyRing(file: damaged).keys == [newest])
        #expect(EndpointKeyRing(file: []).keys.isEmpty)
        #expect(EndpointKeyRing(file: [UInt8](repeating: 0xFF, count: 1000)).keys.isEmpty)
    }
}

@Suite struct UnifiedPushProviderBase64Tests {
    @Test("base64 of 32 bytes is read in its one form (RFC 4648 section 4)")
    func digests() {
        let bytes = [UInt8](repeating: 0xFB, count: 32)
        let text = PaddedBase64.encode(bytes)
        #expect(text.count == 44 && text.hasPrefix("+/v7") && text.hasSuffix("="))
        #expect(PaddedBase64.decode(text, count: 32) == bytes)
        let others = [
            "", String(text.dropLast()), text + "=", text.replacing("/", with: "_"),
            text.replacing("+", with: "-"), " " + text.dropFirst(), text.dropLast(2) + "/=",
            PaddedBase64.encode([UInt8](bytes.dropLast())), PaddedBase64.encode(bytes + [1]),
            String(repeating: "=", count: 44), String(repeating: "é", count: 22),
        ]
        for other in others { #expect(PaddedBase64.decode(other, count: 32) == nil) }
    }

    @Test(
        "What RFC 4648 section 10 lists",
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
        ])
    func vectors(plain: String, encoded: String) {
        #expect(PaddedBase64.encode(Array(plain.utf8)) == encoded)
        #expect(PaddedBase64.decode(encoded, count: plain.utf8.count) == Array(plain.utf8))
    }
}

@Suite struct UnifiedPushProviderRateTests {
    @Test("So many at once, then as many as a minute earns; one does not count for the other")
    func bucket() {
        let rates = EndpointRates()
        func allow(_ name: UInt8, _ now: Int64) -> Bool {
            rates.allow([name], perMinute: 60, burst: 3, now: now)
        }
        #expect((0..<5).map { _ in allow(1, 0) } == [true, true, true, false, false])
        #expect(allow(2, 0))
        #expect(!allow(1, 999))
        #expect(allow(1, 1000))
        #expect(!allow(1, 1001))
        // Time that goes back earns nothing.
        #expect(!allow(1, 0))
    }

    @Test("Many names are no way to use up memory, and those that rest make room")
    func bounded() {
        let rates = EndpointRates()
        func allow(_ name: Int, _ now: Int64) -> Bool {
            rates.allow(
                [UInt8(name >> 8), UInt8(name & 255)], perMinute: 60, burst: 2, now: now)
        }
        #expect((0..<4096).allSatisfy { allow($0, 0) })
        #expect(!allow(5000, 0))
        #expect(allow(5000, 1000))
    }
}
