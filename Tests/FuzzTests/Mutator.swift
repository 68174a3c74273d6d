// Inputs made of the corpus by small damage, the same ones each time.

struct Mutator {
    let corpus: [[UInt8]]
    private var generator: Generator

    init(corpus: [[UInt8]], seed: UInt64) {
        self.corpus = corpus
        generator = Generator(state: seed)
    }

    /// The next damaged input.
    mutating func next() -> [UInt8] {
        var bytes = choice()
        for _ in 0...Int.random(in: 0...3, using: &generator) { damage(&bytes) }
        return bytes
    }

    private mutating func choice() -> [UInt8] {
        corpus.randomElement(using: &generator) ?? []
    }

    private mutating func damage(_ bytes: inout [UInt8]) {
        let range = part(of: bytes)
        switch Int.random(in: 0...5, using: &generator) {
        case 0: bytes.removeSubrange(range)
        case 1: bytes.insert(contentsOf: bytes[range], at: range.lowerBound)
        case 2:
            let other = choice()
            bytes.replaceSubrange(range, with: other[part(of: other)])
        case 3:
            let other = choice()
            bytes.insert(contentsOf: other[part(of: other)], at: range.lowerBound)
        case 4: bytes.insert(.random(in: 0...255, using: &generator), at: range.lowerBound)
        default:
            guard range.lowerBound < bytes.count else { return }
            bytes[range.lowerBound] ^= 1 << UInt8.random(in: 0...7, using: &generator)
        }
    }

    private mutating func part(of bytes: [UInt8]) -> Range<Int> {
        let start = Int.random(in: 0...bytes.count, using: &generator)
        let length = Int.random(in: 0...min(40, bytes.count - start), using: &generator)
        return start..<start + length
    }
}

/// SplitMix64.
private struct Generator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
