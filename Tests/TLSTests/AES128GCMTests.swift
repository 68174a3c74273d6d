// AES-128-GCM against the vectors of its authors (NIST SP 800-38D refers to them).

import TLS
import Testing

@Suite("AES-128-GCM")
struct AES128GCMTests {
    private let key = hexadecimal("feffe9928665731c6d6a8f9467308308")
    private let nonce = hexadecimal("cafebabefacedbaddecaf888")
    private let additional = hexadecimal("feedfacedeadbeeffeedfacedeadbeefabaddad2")

    @Test("It is the one of McGrew and Viega, test cases 1, 2 and 4")
    func vectors() throws {
        let zeros = [UInt8](repeating: 0, count: 16)
        let first = try AES128GCM(key: zeros)
        let empty = try first.seal([], nonce: Array(zeros.prefix(12)))
        #expect(empty == hexadecimal("58e2fccefa7e3061367f1d57a4e7455a"))
        let second = try first.seal(zeros, nonce: Array(zeros.prefix(12)))
        #expect(
            second
                == hexadecimal(
                    "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"))
        let text = hexadecimal(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                + "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39")
        let fourth = try AES128GCM(key: key)
        let sealed = try fourth.seal(text, nonce: nonce, additional: additional)
        #expect(
            sealed
                == hexadecimal(
                    "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
                        + "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
                        + "5bc94fbc3221a5db94fae95ae7121a47"))
        #expect(try fourth.open(sealed, nonce: nonce, additional: additional) == text)
        #expect(try fourth.open(empty, nonce: nonce) == nil)
        #expect(try first.open(empty, nonce: Array(zeros.prefix(12))) == [])
    }

    @Test("What is forged, cut, or of another key, nonce or addition does not open")
    func forgery() throws {
        let cipher = try AES128GCM(key: key)
        let sealed = try cipher.seal([1, 2, 3], nonce: nonce, additional: [7])
        for bit in 0..<sealed.count * 8 {
            var forged = sealed
            forged[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(try cipher.open(forged, nonce: nonce, additional: [7]) == nil)
        }
        for count in 0..<sealed.count {
            #expect(
                try cipher.open(Array(sealed.prefix(count)), nonce: nonce, additional: [7]) == nil)
        }
        #expect(try cipher.open(sealed, nonce: nonce) == nil)
        let other = [UInt8](repeating: 2, count: 12)
        #expect(try cipher.open(sealed, nonce: other, additional: [7]) == nil)
        let stranger = try AES128GCM(key: Array(0...15))
        #expect(try stranger.open(sealed, nonce: nonce, additional: [7]) == nil)
        #expect(try cipher.open(sealed, nonce: nonce, additional: [7]) == [1, 2, 3])
    }

    @Test("Keys and nonces of another length are refused", arguments: [0, 15, 17, 32])
    func lengths(count: Int) throws {
        #expect(throws: TLSError.self) { try AES128GCM(key: [UInt8](repeating: 1, count: count)) }
        let cipher = try AES128GCM(key: key)
        #expect(throws: TLSError.self) {
            try cipher.seal([1], nonce: [UInt8](repeating: 1, count: count))
        }
    }
}
