// What `rsync --list-only` prints, and names as rsync writes them.

/// One line of a listing: `-rw-r--r--          2 2026/11/21 15:17:19 20261121T…/manifest`.
struct RsyncListing: Equatable {
    /// `-` for a file, `d` for a folder, `l` for a link.
    var kind: UInt8
    var size: Int64
    /// As it was printed: in the time zone of this machine, in seconds.
    var modified: String
    /// The name below the folder that was listed.
    var name: [UInt8]

    /// Nil when the line is something else.
    init?(_ line: ArraySlice<UInt8>) {
        let words = line.split(separator: 0x20, maxSplits: 4)
        guard words.count == 5, words[0].count == 10, let kind = words[0].first,
            "-dl".utf8.contains(kind),
            words[2].count == 10, words[3].count == 8
        else { return nil }
        let digits = words[1].filter { $0 != UInt8(ascii: ",") }
        guard let size = Int64(String(decoding: digits, as: UTF8.self)) else { return nil }
        self.kind = kind
        self.size = size
        modified = String(decoding: words[2] + [0x20] + words[3], as: UTF8.self)
        name = RsyncName.decode(words[4])
    }
}

/// Names in rsync's output: bytes that are not printable stand as `\#` and three octal digits.
enum RsyncName {
    static func decode(_ text: ArraySlice<UInt8>) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count)
        var rest = text
        while let byte = rest.first {
            if byte == UInt8(ascii: "\\"), let value = escaped(rest) {
                bytes.append(value)
                rest = rest.dropFirst(5)
            } else {
                bytes.append(byte)
                rest = rest.dropFirst()
            }
        }
        return bytes
    }

    private static func escaped(_ text: ArraySlice<UInt8>) -> UInt8? {
        let five = Array(text.prefix(5))
        guard five.count == 5, five[1] == UInt8(ascii: "#") else { return nil }
        var value = 0
        for digit in five[2...] {
            guard (0x30...0x37).contains(digit) else { return nil }
            value = value * 8 + Int(digit - 0x30)
        }
        return UInt8(exactly: value)
    }
}
