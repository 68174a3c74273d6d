// A look at the bytes before the YAML parser sees them, for what it would be harmed by.

/// Finds constructs that must not reach the parser.
///
/// Yams resolves aliases while it parses and compares the keys of each mapping by their whole
/// content. A few lines of nested aliases used as a key ("billion laughs") would keep it busy for
/// ever, and so would `?` keys that hold each other. It offers no events to stop at, so they are
/// searched for here, without a grammar: rather a comment that looks like an alias is refused
/// than an alias overlooked.
struct YAMLScan {
    private let bytes: [UInt8]

    init(_ text: String) {
        bytes = Array(text.utf8)
    }

    /// The error for the first construct that is refused; nil when the text may be parsed.
    func refused(file: String) -> ConfigurationError? {
        var anchors: Set<ArraySlice<UInt8>> = []
        var line = 1
        for (index, byte) in bytes.enumerated() {
            func error(_ problem: String, _ advice: String) -> ConfigurationError {
                ConfigurationError(
                    file: file, line: line, key: "", problem: problem, advice: advice)
            }
            switch byte {
            case UInt8(ascii: "\n"):
                line += 1
            case 0..<0x20 where byte != 0x09 && byte != 0x0D, 0x7F:
                return error(
                    "a control character (byte \(byte)); the file may be damaged", "remove it")
            case UInt8(ascii: "&") where !isWord(before: index):
                let name = word(after: index)
                if !name.isEmpty { anchors.insert(name) }
            case UInt8(ascii: "*") where !isWord(before: index):
                if anchors.contains(word(after: index)) {
                    return error("YAML aliases (*) are not used here", "write the value out")
                }
            case UInt8(ascii: "?") where isExplicitKey(index):
                return error(
                    "YAML's \"?\" keys are not used here",
                    "put a value that begins with \"?\" in quotes")
            default:
                break
            }
        }
        return nil
    }

    /// The characters of an anchor's name, as libYAML takes them.
    private func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    private func word(after index: Int) -> ArraySlice<UInt8> {
        bytes[(index + 1)...].prefix(while: isNameByte)
    }

    /// Within a word `&` and `*` are part of it, as in `R&D`. A hyphen does not count as a word:
    /// after it a list item may begin.
    private func isWord(before index: Int) -> Bool {
        guard index > 0 else { return false }
        return isNameByte(bytes[index - 1]) && bytes[index - 1] != UInt8(ascii: "-")
    }

    /// A question mark alone, where a key may begin: first in its line or behind an indicator.
    private func isExplicitKey(_ index: Int) -> Bool {
        let next = index + 1 < bytes.count ? bytes[index + 1] : UInt8(ascii: "\n")
        guard " \t\r\n".utf8.contains(next) else { return false }
        let before = bytes[..<index].last { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\t") }
        guard let before else { return true }
        return "\n\r-?:[{,".utf8.contains(before)
    }
}
