// What the tests share: read a whole text in given cuts and describe what came out.

import XML

/// The events of a stream as text, one per entry, `error: condition` last if it was refused.
func events(
    _ text: String, cuts: [Int] = [], limits: ReaderLimits = ReaderLimits()
) -> [String] {
    events(Array(text.utf8), cuts: cuts, limits: limits)
}

func events(_ bytes: [UInt8], cuts: [Int] = [], limits: ReaderLimits = ReaderLimits()) -> [String] {
    var reader = StreamReader(limits: limits)
    var output: [String] = []
    var start = 0
    for end in cuts.filter({ $0 > 0 && $0 < bytes.count }).sorted() + [bytes.count] {
        let chunk = Array(bytes[start..<end])
        start = end
        var offset = 0
        do {
            while let event = try reader.next(in: chunk.span, at: &offset) {
                output.append(describe(event))
            }
        } catch {
            output.append("error: \(error.condition.rawValue)")
            return output
        }
    }
    return output
}

func describe(_ event: StreamEvent) -> String {
    switch event {
    case .header(let header):
        "header \(header.name) \(header.namespace) \(header.contentNamespace) to=\(header.to ?? "-")"
    case .element(let fragment): String(decoding: fragment.bytes, as: UTF8.self)
    case .end: "end"
    }
}

let header = """
    <stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
    to='example.org' version='1.0'>
    """

/// The first fragment of a stream with this content.
func firstFragment(_ text: String, header opening: String = header) -> Fragment? {
    var reader = StreamReader(limits: ReaderLimits())
    let bytes = Array((opening + text).utf8)
    var offset = 0
    while let event = try? reader.next(in: bytes.span, at: &offset) {
        if case .element(let fragment) = event { return fragment }
    }
    return nil
}

/// A small generator with a fixed seed, so that a failure can be repeated.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
