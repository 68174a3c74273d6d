// A dialogue as a file of Tests/Scenarios tells it; CONTRIBUTING.md describes the form.

import Foundation
import Testing
import XML

/// The steps of one file.
struct Scenario {
    /// One line that is not indented, and the indented lines after it.
    struct Step {
        var subject: String
        var action: Action
        var line: SourceLocation
    }

    enum Action {
        /// Logs in, gets the roster, sends presence.
        case isOnline(as: String)
        /// Logs in.
        case isConnected(as: String)
        /// Logs in and binds nothing, to resume its stream (XEP-0198).
        case comesBack(as: String)
        case opensStream
        /// Each sees the other's presence from now on (RFC 6121 section 3.1).
        case befriends(String)
        case sends(String)
        case receives([Element], inAnyOrder: Bool)
        case receivesNothing
        /// The client ends its stream.
        case leaves
        /// The server ends the stream and closes.
        case isDisconnected
        /// The connection breaks.
        case isCutOff
    }

    struct Malformed: Error {}

    static let directory = URL(filePath: #filePath).appending(path: "../../../Scenarios")
        .standardized

    /// The names of all files, sorted.
    static let files: [String] = {
        let names = try? FileManager.default.contentsOfDirectory(atPath: directory.path)
        return (names ?? []).filter { $0.hasSuffix(".scenario") }.sorted()
    }()

    var steps: [Step] = []

    /// Everybody who does something; they have accounts from the beginning.
    var people: Set<String> {
        Set(steps.map { String($0.subject.prefix { $0 != "/" }) })
    }

    /// Reads a file; what is wrong with it is recorded at its line.
    init(file: String) throws {
        let path = Self.directory.appending(path: file).path
        let lines = try String(contentsOfFile: path, encoding: .utf8)
            .split(separator: "\n", omittingEmptySubsequences: false)
        var index = 0
        while index < lines.count {
            let text = lines[index]
            let line = SourceLocation(
                fileID: "Scenarios/\(file)", filePath: path, line: index + 1, column: 1)
            index += 1
            if text.isEmpty || text.hasPrefix("#") { continue }
            var block = ""
            while index < lines.count, lines[index].isEmpty || lines[index].hasPrefix(" ") {
                block += lines[index].drop { $0 == " " } + "\n"
                index += 1
            }
            while block.hasSuffix("\n") { block.removeLast() }
            do {
                let words = text.split(separator: " ", maxSplits: 1)
                guard words.count == 2 else { throw Malformed() }
                let action = try Action(String(words[1]), block)
                steps.append(Step(subject: String(words[0]), action: action, line: line))
            } catch {
                Issue.record("no such step: \(text)", sourceLocation: line)
                throw error
            }
        }
    }
}

extension Scenario.Action {
    /// Reads what follows the name of the one who acts.
    fileprivate init(_ text: String, _ block: String) throws {
        let words = text.split(separator: " ").map(String.init)
        switch (text, block.isEmpty) {
        case ("sends:", false): self = .sends(block)
        case ("receives:", false): self = .receives(try elements(in: block), inAnyOrder: false)
        case ("receives in any order:", false):
            self = .receives(try elements(in: block), inAnyOrder: true)
        case ("receives nothing", true): self = .receivesNothing
        case ("opens a stream", true): self = .opensStream
        case ("leaves", true): self = .leaves
        case ("is disconnected", true): self = .isDisconnected
        case ("is cut off", true): self = .isCutOff
        case (_, true) where words.count == 4 && words.starts(with: ["is", "online", "as"]):
            self = .isOnline(as: words[3])
        case (_, true) where words.count == 4 && words.starts(with: ["is", "connected", "as"]):
            self = .isConnected(as: words[3])
        case (_, true) where words.count == 4 && words.starts(with: ["comes", "back", "as"]):
            self = .comesBack(as: words[3])
        case (_, true) where words.count == 2 && words[0] == "befriends":
            self = .befriends(words[1])
        default: throw Scenario.Malformed()
        }
    }
}

/// The elements of a stream that contains such text.
private func elements(in text: String) throws -> [Element] {
    var reader = StreamReader(limits: ReaderLimits())
    let chunk = Array((TestClient.header() + text).utf8)
    var offset = 0
    var elements: [Element] = []
    while let event = try reader.next(in: chunk.span, at: &offset) {
        if case .element(let fragment) = event { elements.append(fragment.element()) }
    }
    guard !reader.isInsideElement, !elements.isEmpty else { throw Scenario.Malformed() }
    return elements
}
