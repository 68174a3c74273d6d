// What is left out below the paths that the owner added, in rsync's language.

/// A pattern of what is left out.
///
/// `*.log` means a name at any depth, `cache/tmp` the end of a path, `/srv/site/cache` one path of
/// this machine; a slash at the end means folders only. `*` and `?` stop at slashes, `**` does not.
struct ExcludePattern: Sendable {
    /// As the owner wrote it.
    let text: String
    private let pattern: [UInt8]
    private let onlyFolders: Bool
    private let isAbsolute: Bool

    init(_ text: String) {
        self.text = text
        onlyFolders = text.hasSuffix("/") && text.utf8.count > 1
        isAbsolute = text.hasPrefix("/")
        pattern = Array(onlyFolders ? text.utf8.dropLast() : text.utf8[...])
    }

    /// Whether a file or folder is left out.
    ///
    /// - Parameter place: absolute.
    func matches(_ place: [UInt8], isFolder: Bool) -> Bool {
        if onlyFolders && !isFolder { return false }
        var steps = 10_000
        if isAbsolute { return Self.matches(pattern[...], place[...], &steps) }
        var end = place[...]
        // One that crosses slashes may begin and end in different names.
        let crosses = zip(pattern, pattern.dropFirst()).contains { $0 == 0x2A && $1 == 0x2A }
        if !crosses, !pattern.contains(UInt8(ascii: "/")) {
            let slash = place.lastIndex(of: UInt8(ascii: "/"))
            return Self.matches(pattern[...], place[(slash.map { $0 + 1 } ?? 0)...], &steps)
        }
        while let slash = end.firstIndex(of: UInt8(ascii: "/")) {
            end = end[(slash + 1)...]
            if Self.matches(pattern[...], end, &steps) { return true }
        }
        return false
    }

    /// The same for rsync, which takes absolute patterns from the folder that it starts in.
    ///
    /// - Parameter top: that folder, absolute and without a slash at the end; nil comes back when
    ///   the pattern is for something elsewhere.
    func forRsync(below top: String) -> String? {
        guard isAbsolute else { return text }
        guard text.hasPrefix(top + "/") else { return nil }
        return String(text.dropFirst(top.count))
    }

    /// For `--exclude`, where brackets and backslashes mean more, and some beginnings are orders.
    var rsyncArgument: String {
        let bytes = Self.escaped(Array(text.utf8)[...], also: "[")
        let isOrder = text == "!" || text.hasPrefix("+ ") || text.hasPrefix("- ")
        return (isOrder ? "- " : "") + String(decoding: bytes, as: UTF8.self)
    }

    /// A pattern of rsync's that fits one path only.
    static func literal(_ path: ArraySlice<UInt8>) -> [UInt8] { escaped(path, also: "[*?") }

    /// A backslash is one of these for rsync, unless there is a wildcard in the pattern.
    private static func escaped(_ pattern: ArraySlice<UInt8>, also special: String) -> [UInt8] {
        guard pattern.contains(where: { "*?[".utf8.contains($0) }) else { return Array(pattern) }
        var bytes: [UInt8] = []
        for byte in pattern {
            if byte == UInt8(ascii: "\\") || special.utf8.contains(byte) {
                bytes.append(UInt8(ascii: "\\"))
            }
            bytes.append(byte)
        }
        return bytes
    }

    private static func matches(
        _ pattern: ArraySlice<UInt8>, _ text: ArraySlice<UInt8>, _ steps: inout Int
    ) -> Bool {
        var pattern = pattern
        var text = text
        while let first = pattern.first {
            steps -= 1
            guard steps > 0 else { return false }
            switch first {
            case UInt8(ascii: "*"):
                let crosses = pattern.dropFirst().first == UInt8(ascii: "*")
                let rest = pattern.drop { $0 == UInt8(ascii: "*") }
                while true {
                    if matches(rest, text, &steps) { return true }
                    guard steps > 0, let next = text.first,
                        crosses || next != UInt8(ascii: "/")
                    else { return false }
                    text = text.dropFirst()
                }
            case UInt8(ascii: "?"):
                guard let next = text.first, next != UInt8(ascii: "/") else { return false }
                pattern = pattern.dropFirst()
                text = text.dropFirst()
            default:
                guard text.first == first else { return false }
                pattern = pattern.dropFirst()
                text = text.dropFirst()
            }
        }
        return text.isEmpty
    }
}
