// Where a NUT server listens.

/// A host and a port: `192.168.1.5:3493`, `[fd00::5]:3493`, `nas.local`.
struct NUTAddress: Sendable, Equatable {
    static let defaultPort: UInt16 = 3493

    /// A name or an IP address, without brackets.
    var host: String
    var port: UInt16

    /// Reads an address; the port may be left out. Nil when the text is none.
    init?(_ text: String) {
        var rest = text[...]
        if rest.hasPrefix("[") {
            guard let end = rest.firstIndex(of: "]") else { return nil }
            host = String(rest[rest.index(after: rest.startIndex)..<end])
            rest = rest[rest.index(after: end)...]
            guard host.contains(":"), host.allSatisfy({ Self.isInAddress($0) }) else { return nil }
        } else {
            let end = rest.firstIndex(of: ":") ?? rest.endIndex
            host = String(rest[..<end])
            rest = rest[end...]
            guard !host.hasPrefix("-"), host.allSatisfy({ Self.isInName($0) }) else { return nil }
        }
        guard (1...253).contains(host.utf8.count) else { return nil }
        port = Self.defaultPort
        guard !rest.isEmpty else { return }
        let digits = rest.dropFirst()
        guard rest.hasPrefix(":"), digits.allSatisfy(\.isWholeNumber),
            let port = UInt16(digits), port > 0
        else { return nil }
        self.port = port
    }

    /// The zone after a link-local address is an interface's name.
    private static func isInAddress(_ character: Character) -> Bool {
        isInName(character) || character == ":" || character == "%"
    }

    private static func isInName(_ character: Character) -> Bool {
        character.isASCII
            && (character.isLetter || character.isNumber || ".-_".contains(character))
    }
}
