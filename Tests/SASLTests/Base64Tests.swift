// Base64: the vectors of RFC 4648, and everything that must not be accepted.

import SASL
import Testing

@Suite struct Base64Tests {
    static let vectors = [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
    ]

    @Test("Text and bytes are those of RFC 4648 section 10", arguments: vectors)
    func publishedVector(_ plain: String, _ encoded: String) {
        #expect(Base64.encode(Array(plain.utf8)) == encoded)
        #expect(Base64.decode(encoded) == Array(plain.utf8))
        #expect(Base64.decode(Array(encoded.utf8)) == Array(plain.utf8))
    }

    @Test("Every letter of the alphabet stands for its value (RFC 4648 section 4)")
    func alphabet() {
        let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        for (value, letter) in letters.enumerated() {
            #expect(Base64.decode("\(letter)A==") == [UInt8(value << 2)])
            #expect(Base64.encode([UInt8(value << 2)]).first == letter)
        }
    }

    @Test("Whatever is encoded is decoded, at every length")
    func roundTrip() {
        for length in 0..<100 {
            let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 167 &+ length) }
            #expect(Base64.decode(Base64.encode(bytes)) == bytes)
        }
    }

    @Test(
        "Foreign characters, wrong padding and unused bits are refused (RFC 6120 section 13.9)",
        arguments: [
            "=", "==", "===", "====", "Z", "Zg", "Zg=", "Zm8", "Zm9vYg", "Zg===", "Z===",
            "Zg==Zg==", "Zm8=Zm9v", "=Zm9", "Z=m8", "Zm=8", "Zm9v====",
            "Zm9v\n", "Zm 9", " Zm9", "Zm9v\r\nYmFy", "Zm9\0", "Zm9-", "Zm9_", "Zm9é", "Zm*v",
            // The same bytes as Zg== and Zm8= with unused bits set.
            "Zh==", "Zv==", "Zm9=", "Zm+=",
        ])
    func refused(_ text: String) {
        #expect(Base64.decode(text) == nil)
    }

    @Test("Of all texts of four characters, as many are accepted as there are byte strings")
    func bijection() {
        // Two letters and two pads: exactly one text for each of the 256 bytes.
        let all = (UInt8.min...UInt8.max)
        var accepted: Set<[UInt8]> = []
        for first in all {
            for second in all {
                let pads = [UInt8(ascii: "="), UInt8(ascii: "=")]
                guard let bytes = Base64.decode([first, second] + pads) else { continue }
                #expect(bytes.count == 1 && accepted.insert(bytes).inserted)
            }
        }
        #expect(accepted.count == 256)
    }
}
