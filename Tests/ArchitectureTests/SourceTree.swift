// The source tree as text, for the rules that the compiler does not hold.

import Foundation
import Testing

struct SourceFile: CustomStringConvertible {
    let target: String
    /// Relative to the package.
    let path: String
    let text: String

    var name: String { String(path.split(separator: "/").last ?? "") }
    var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }
    var description: String { path }

    /// The modules that it imports.
    var imports: [String] {
        lines.compactMap { line in
            let words = line.split(separator: " ")
            guard let index = words.firstIndex(of: "import"), index <= 1, words.count > index + 1,
                index == 0 || ["public", "internal", "private", "@testable"].contains(words[0])
            else { return nil }
            return String(words[index + 1])
        }
    }

    /// Without comments and without what stands in quotes.
    var code: String {
        lines.map { line in
            var code = ""
            var isQuoted = false
            var previous: Character = " "
            for character in line {
                if character == "\"", previous != "\\" { isQuoted.toggle() }
                if !isQuoted, character == "/", previous == "/" { break }
                if !isQuoted { code.append(character) }
                previous = character
            }
            return code
        }.joined(separator: "\n")
    }
}

enum SourceTree {
    static let root: URL = {
        var url = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
        while url.path != "/",
            !FileManager.default.fileExists(
                atPath: url.appendingPathComponent("Package.swift").path)
        {
            url.deleteLastPathComponent()
        }
        return url
    }()

    static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
    }

    /// Every Swift file below `Sources`.
    static let sources: [SourceFile] = {
        let sources = root.appendingPathComponent("Sources")
        let files = FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil)
        var result: [SourceFile] = []
        while let url = files?.nextObject() as? URL {
            guard url.pathExtension == "swift",
                let text = try? String(contentsOf: url, encoding: .utf8)
            else { continue }
            let path = String(url.path.dropFirst(root.path.count + 1))
            let target = String(path.split(separator: "/")[1])
            result.append(SourceFile(target: target, path: path, text: text))
        }
        return result.sorted { $0.path < $1.path }
    }()
}
