import Foundation
import Testing

@Suite("Sources follow the house's rules")
struct StyleTests {
    static let longestFile = 500

    @Test("A file opens with its purpose and is short enough to be read")
    func files() {
        for file in SourceTree.sources {
            #expect(file.text.hasPrefix("//"), "\(file) does not say what it is for")
            #expect(file.lines.count <= Self.longestFile, "\(file) has \(file.lines.count) lines")
        }
    }

    @Test("Nothing traps on purpose", arguments: ["try!", "as!", "fatalError("])
    func traps(word: String) {
        // Without digests or random bytes nothing can go on, and no input is to blame.
        let exceptions = ["Digest.swift", "SecureRandom.swift"]
        for file in SourceTree.sources where !exceptions.contains(file.name) {
            #expect(!file.code.contains(word), "\(file) has \(word)")
        }
    }

    @Test("An unchecked promise to the compiler has its proof beside it")
    func uncheckedPromises() {
        for file in SourceTree.sources {
            for (index, line) in file.lines.enumerated()
            where line.contains("@unchecked Sendable") || line.contains("nonisolated(unsafe)") {
                let before = file.lines[max(0, index - 6)..<index]
                #expect(before.contains { $0.contains("//") }, "\(file):\(index + 1)")
            }
        }
    }

    @Test("No target has a type of its own name")
    func shadowing() {
        for file in SourceTree.sources {
            for kind in ["struct", "class", "enum", "actor", "protocol"] {
                #expect(
                    !file.code.contains("public \(kind) \(file.target) "),
                    "\(file) hides its module")
            }
        }
    }

    @Test("A type is named by what it is, not Manager, Helper or Utils")
    func names() {
        for file in SourceTree.sources {
            for word in ["Manager", "Helper", "Utils", "Common", "Impl"] {
                #expect(!file.name.hasSuffix("\(word).swift"), "\(file)")
            }
        }
    }
}

@Suite("Features keep to themselves")
struct FeatureTests {
    static let features = SourceTree.sources.filter { $0.target == "Features" }

    /// The names in the list of all features.
    static func listed() throws -> [String] {
        let text = try SourceTree.text("Sources/Features/AllFeatures.swift")
        return text.split(separator: "\n").compactMap { line in
            let word = line.drop(while: \.isWhitespace)
            guard word.hasSuffix(".self,") else { return nil }
            return String(word.dropLast(6))
        }
    }

    @Test("Every feature of the list has its file or folder")
    func places() throws {
        let names = try Self.listed()
        #expect(names.count >= 8)
        for name in names {
            let isThere = Self.features.contains {
                $0.path == "Sources/Features/\(name).swift"
                    || $0.path == "Sources/Features/\(name)/\(name).swift"
            }
            #expect(isThere, "\(name)")
        }
    }

    @Test("A feature names no other feature")
    func strangers() throws {
        let names = try Self.listed()
        for file in Self.features where file.name != "AllFeatures.swift" {
            let own = file.path.split(separator: "/")[2].replacingOccurrences(
                of: ".swift", with: "")
            let words = Set(
                file.code.split { !$0.isLetter && !$0.isNumber }.map(String.init))
            for name in names where name != own && words.contains(name) {
                // Types of the engine may carry a feature's word, the feature itself may not.
                Issue.record("\(file) names \(name)")
            }
        }
    }

    @Test("SQL stands in stores only")
    func stores() {
        for file in SourceTree.sources
        where ["Engine", "Features", "Administration", "Listeners", "kinglet"].contains(file.target)
            && !file.name.hasSuffix("Store.swift")
        {
            for word in ["SELECT ", "INSERT INTO", "DELETE FROM", "UPDATE ", "CREATE TABLE"] {
                #expect(!file.text.contains(word), "\(file) has \(word)")
            }
        }
    }
}
