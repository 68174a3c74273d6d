import Foundation
import FuzzTargets
import Testing

@Suite("Bytes from strangers", .serialized)
struct FuzzTests {
    /// How many damaged inputs each target gets: a few seconds in all.
    static let runs: [FuzzTarget: Int] = [
        .xml: 400, .addresses: 4000, .sasl: 3000, .stanzas: 150, .backup: 4000,
        .dns: 4000,
    ]

    @Test("Every file of the corpus keeps the properties", arguments: FuzzTarget.allCases)
    func corpus(_ target: FuzzTarget) throws {
        let corpus = try Self.corpus(of: target)
        #expect(corpus.count > 40)
        for (name, input) in corpus {
            #expect(throws: Never.self, "\(target)/\(name)") { try target.run(input) }
        }
    }

    @Test("So does what is made of it by damage", arguments: FuzzTarget.allCases)
    func damaged(_ target: FuzzTarget) throws {
        var mutator = Mutator(corpus: try Self.corpus(of: target).map(\.1), seed: 2026)
        for number in 0..<(Self.runs[target] ?? 0) {
            let input = mutator.next()
            #expect(
                throws: Never.self, "\(target), \(number): \(Data(input).base64EncodedString())"
            ) { try target.run(input) }
        }
    }

    /// The files by name, in the order of their names.
    static func corpus(of target: FuzzTarget) throws -> [(String, [UInt8])] {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Fixtures/fuzz/\(target.rawValue)")
        return try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted().map {
            ($0, Array(try Data(contentsOf: folder.appendingPathComponent($0))))
        }
    }
}
