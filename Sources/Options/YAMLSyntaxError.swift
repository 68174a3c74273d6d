// Turns the parser's errors into sentences that name the line and what to change there.

import Yams

/// The reading of Yams errors.
enum YAMLSyntaxError {
    /// The error to show for an error of the parser.
    static func error(for error: any Error, text: String, file: String) -> ConfigurationError {
        func made(_ line: Int?, _ sentence: Sentence, key: String = "") -> ConfigurationError {
            ConfigurationError(
                file: file, line: file == ConfigurationError.commandLine ? nil : line, key: key,
                problem: sentence.problem, advice: sentence.advice)
        }
        switch error as? YamlError {
        case .scanner(let context, let problem, let mark, _),
            .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            let (sentence, place) = sentence(
                problem: problem, context: context, at: mark, in: text)
            return made(line(of: place, in: text), sentence)
        case .reader(_, let offset, _, _):
            let line = offset.map { text.prefix($0).count { $0.isNewline } + 1 }
            return made(line, Sentence("a character that YAML does not allow", "remove it"))
        case .duplicatedKeysInMapping(let names, let context):
            return duplicate(names.first ?? "", first: context.mark, text, made)
        case .memory:
            return made(nil, Sentence("not enough memory to read the file"))
        default:
            return made(nil, Sentence("not valid YAML"))
        }
    }

    private struct Sentence {
        let problem: String
        let advice: String

        init(_ problem: String, _ advice: String = "") {
            self.problem = problem
            self.advice = advice
        }
    }

    /// The sentence for a problem of libYAML, and the place to show for it: where something was
    /// opened when it is not closed, else where the parser stopped.
    private static func sentence(
        problem: String, context: YamlError.Context?, at mark: Mark, in text: String
    ) -> (Sentence, Mark) {
        let opened = context?.mark ?? mark
        let scanned = context?.text ?? ""
        switch problem {
        case let tab where tab.contains("tab character"):
            return (tabs, mark)
        case "found character that cannot start any token":
            guard let character = character(at: mark, in: text), character != "\t" else {
                return (tabs, mark)
            }
            return (quotesNeeded(String(character)), mark)
        case "found undefined alias":
            return (quotesNeeded("*"), mark)
        case _ where scanned.contains("alias") || scanned.contains("anchor"):
            let character = character(at: opened, in: text) ?? "*"
            return (quotesNeeded(String(character)), opened)
        case _ where scanned.contains("tag"):
            return (quotesNeeded("!"), opened)
        case "found unexpected end of stream", "found unexpected document indicator":
            return (Sentence("a quoted text is not closed", "add the missing quote"), opened)
        case "did not find expected ',' or ']'":
            return (Sentence("a list in [ ] is not closed or lacks a comma"), opened)
        case "did not find expected ',' or '}'":
            return (Sentence("a group of keys in { } is not closed or lacks a comma"), opened)
        case "did not find expected node content":
            return (Sentence("expected a value"), mark)
        case "mapping values are not allowed in this context":
            return (
                Sentence(
                    "a colon where no key can stand",
                    "put a value that contains \": \" in quotes, or correct the indentation"),
                mark
            )
        case "found unexpected ':'":
            return (Sentence("a colon without a space behind it", "add the space"), mark)
        case "could not find expected ':'":
            return (Sentence("expected a key with a colon, such as \"domain: \""), opened)
        case "did not find expected key", "did not find expected '-' indicator",
            "block sequence entries are not allowed in this context":
            return (
                Sentence(
                    "this does not fit what stands above it",
                    "align it with the keys or items above; quote a text as a whole or not at all"),
                mark
            )
        case "found unknown escape character", "did not find expected hexdecimal number",
            "found invalid Unicode character escape code":
            return (
                Sentence(
                    "an unknown escape in a text in double quotes",
                    "write \\\\ for a backslash, or use single quotes"), mark
            )
        case "did not find expected comment or line break":
            return (
                Sentence(
                    "text behind a \"|\" or \">\" that begins a value",
                    "put the value in quotes"),
                mark
            )
        case "did not find expected <document start>":
            return (
                Sentence(
                    "this does not belong to what stands above it",
                    "correct the brackets or the indentation"),
                mark
            )
        case "but found another document":
            return (Sentence("a second document begins here", "remove the line \"---\""), mark)
        case let depth where depth.hasPrefix("Maximum nesting level"):
            return (
                Sentence("nested more than \(YAMLReader.maximumDepth) levels deep"), mark
            )
        default:
            return (Sentence("not valid YAML: \(problem)"), mark)
        }
    }

    private static let tabs = Sentence(
        "a tab where YAML allows only spaces", "indent with spaces")

    private static func quotesNeeded(_ character: String) -> Sentence {
        Sentence(
            "a value cannot begin with \(Printable.quoted(character)) in YAML",
            "put the value in quotes")
    }

    /// Yams tells the names and where the first of them stood first; the line to correct is the
    /// later one. In a block mapping all keys start in the same column, which finds it.
    private static func duplicate(
        _ name: String, first mark: Mark, _ text: String,
        _ made: (Int?, Sentence, String) -> ConfigurationError
    ) -> ConfigurationError {
        let lines = text.split(omittingEmptySubsequences: false) { $0.isNewline }
        let later = lines.indices.dropFirst(mark.line).first { index in
            let rest = lines[index].dropFirst(mark.column - 1)
            let indentation = lines[index].prefix(mark.column - 1)
            return indentation.allSatisfy { $0 == " " || $0 == "-" }
                && rest.drop { $0 == "\"" || $0 == "'" }.hasPrefix(name)
                && rest.drop { $0 == "\"" || $0 == "'" }.dropFirst(name.count)
                    .drop { $0 == "\"" || $0 == "'" || $0 == " " }.first == ":"
        }
        let sentence = Sentence(
            "set twice, first at line \(mark.line)", "remove one, or join what is below them")
        return made(later.map { $0 + 1 } ?? mark.line, sentence, Printable.key(name))
    }

    private static func character(at mark: Mark, in text: String) -> Unicode.Scalar? {
        let lines = text.split(omittingEmptySubsequences: false) { $0.isNewline }
        guard lines.indices.contains(mark.line - 1) else { return nil }
        return lines[mark.line - 1].unicodeScalars.dropFirst(mark.column - 1).first
    }

    /// The parser stops behind the end of the text where something is missing there; the last
    /// line is what a reader can look at.
    private static func line(of mark: Mark, in text: String) -> Int {
        min(mark.line, max(1, text.count { $0.isNewline } + (text.last?.isNewline == true ? 0 : 1)))
    }
}
