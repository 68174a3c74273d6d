// What of a message can be searched, and how a user's words become a query (XEP-0431, which leaves
// both to the server).
//
// Text is cut into tokens here, the same way for messages and for queries, and SQLite's FTS5 has
// only to fold their letters. Scripts that write no spaces between words (Chinese, Japanese, Thai)
// give a token per character, and Korean does, whose words carry their grammar with them; a word
// of theirs is then a phrase, found wherever it stands.

/// The text side of full-text search.
enum SearchText {
    /// The `tokenize` option of the FTS5 table; marks belong to words, as Hindi needs it.
    static let tokenizer = "unicode61 remove_diacritics 2 categories 'L* N* Co M*'"
    /// Of one message so many bytes are indexed.
    static let longestText = 16_384
    /// Words and phrases of one query; those that follow are not looked for.
    static let mostTerms = 16
    /// Tokens of one query, those in phrases included.
    static let mostTokens = 64

    /// What the table is given for a message: its tokens with spaces between them; "" for a body
    /// in which nothing can be searched.
    static func indexed(from body: String) -> String {
        if let text = indexedASCII(body) { return text }
        var text = ""
        for token in SearchTokens(body.unicodeScalars) {
            guard text.utf8.count + 1 + token.utf8.count <= longestText else { break }
            if !text.isEmpty { text += " " }
            text += token
        }
        return text
    }

    /// The same for a text of ASCII alone, byte by byte; nil for any other, or for one so long that
    /// it has to be cut.
    private static func indexedASCII(_ body: String) -> String? {
        guard body.utf8.count <= longestText, body.utf8.allSatisfy({ $0 < 0x80 }) else {
            return nil
        }
        return String(unsafeUninitializedCapacity: body.utf8.count) { text in
            var count = 0
            var length = 0
            for byte in body.utf8 {
                switch byte {
                case UInt8(ascii: "0")...UInt8(ascii: "9"),
                    UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "a")...UInt8(ascii: "z"):
                    length += 1
                    guard length <= SearchTokens.longest else { continue }
                    if length == 1, count > 0 {
                        text[count] = UInt8(ascii: " ")
                        count += 1
                    }
                    text[count] = byte
                    count += 1
                default: length = 0
                }
            }
            return count
        }
    }

    /// The `MATCH` expression for what a user typed: all words are required, "words in quotation
    /// marks" stand together, and a star at the end stands for the rest of a word. Nil when
    /// nothing of it can be searched.
    ///
    /// Every term comes out in quotation marks and made of tokens alone, so nothing in it is an
    /// operator of FTS5.
    static func query(_ words: String) -> String? {
        var terms: [String] = []
        var tokensLeft = mostTokens
        for term in SearchTerms(words.unicodeScalars) {
            guard terms.count < mostTerms, tokensLeft > 0 else { break }
            let tokens = Array(SearchTokens(term.text).prefix(tokensLeft))
            guard let last = tokens.last else { continue }
            tokensLeft -= tokens.count
            // What begins with one letter is nearly everything.
            let isPrefix = term.isPrefix && last.unicodeScalars.count > 1
            terms.append("\"\(tokens.joined(separator: " "))\"\(isPrefix ? "*" : "")")
        }
        return terms.isEmpty ? nil : terms.joined(separator: " ")
    }
}

/// The words and phrases of what a user typed.
private struct SearchTerms: Sequence, IteratorProtocol {
    struct Term {
        var text = String.UnicodeScalarView()
        /// Whether a star follows.
        var isPrefix = false
    }

    private var rest: String.UnicodeScalarView.SubSequence

    init(_ text: String.UnicodeScalarView) { rest = text[...] }

    mutating func next() -> Term? {
        while rest.first?.properties.isWhitespace == true { rest.removeFirst() }
        guard let first = rest.first else { return nil }
        var term = Term()
        if Self.isQuotationMark(first) {
            rest.removeFirst()
            let phrase = rest.prefix { !Self.isQuotationMark($0) }
            term.text.append(contentsOf: phrase)
            // Without a closing mark everything that follows is the phrase.
            rest = rest[phrase.endIndex...].dropFirst()
            if rest.first == "*" {
                term.isPrefix = true
                rest.removeFirst()
            }
        } else {
            let word = rest.prefix {
                !$0.properties.isWhitespace && !Self.isQuotationMark($0)
            }
            term.text.append(contentsOf: word)
            term.isPrefix = word.last == "*"
            rest = rest[word.endIndex...]
        }
        return term
    }

    /// Keyboards of phones turn straight ones into others.
    private static func isQuotationMark(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "\"", "\u{201C}"..."\u{201F}": true
        default: false
        }
    }
}

/// The tokens of a text, without anything that stands between them.
private struct SearchTokens: Sequence, IteratorProtocol {
    /// Longer words, such as keys in base 64, are found by so many of their first characters.
    static let longest = 64

    private var rest: String.UnicodeScalarView.SubSequence

    init(_ text: String.UnicodeScalarView) { rest = text[...] }

    mutating func next() -> String? {
        var token = String.UnicodeScalarView()
        var length = 0
        var standsAlone = false
        scan: while let scalar = rest.first {
            switch CharacterUse(scalar) {
            case .separator:
                if length > 0 { break scan }
            case .letter:
                if standsAlone { break scan }
                if length < Self.longest { token.append(scalar) }
                length += 1
            case .word:
                if length > 0 { break scan }
                token.append(scalar)
                length += 1
                standsAlone = true
            case .mark:
                if length > 0, length < Self.longest { token.append(scalar) }
                if length > 0 { length += 1 }
            case .nothing:
                break
            }
            rest.removeFirst()
        }
        return length > 0 ? String(token) : nil
    }
}

/// What a character does in a text that is cut into tokens.
private enum CharacterUse {
    /// Part of a word.
    case letter
    /// A word by itself.
    case word
    /// Part of the word before it, if there is one.
    case mark
    /// Not there: some write it and some do not.
    case nothing
    /// Between words.
    case separator

    init(_ scalar: Unicode.Scalar) {
        switch scalar.value {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A:
            self = .letter
            return
        case 0..<0x80:
            self = .separator
            return
        // Soft hyphens; combining accents; the vowel signs of Hebrew and Arabic and Arabic's
        // stretched strokes; how an emoji or a symbol is to look.
        case 0xAD, 0x300...0x36F, 0x591...0x5BD, 0x5BF, 0x5C1...0x5C2, 0x5C4...0x5C5, 0x5C7,
            0x610...0x61A, 0x640, 0x64B...0x65F, 0x670, 0x20D0...0x20FF, 0xFE00...0xFE0F:
            self = .nothing
            return
        default: break
        }
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter,
            .decimalNumber, .letterNumber, .otherNumber, .privateUse:
            self = Self.isUnspaced(scalar.value) ? .word : .letter
        case .nonspacingMark, .spacingMark, .enclosingMark:
            self = .mark
        default:
            self = .separator
        }
    }

    /// Scripts in which spaces do not stand between words, and Hangul.
    private static func isUnspaced(_ scalar: UInt32) -> Bool {
        switch scalar {
        case 0x0E00...0x0EFF,  // Thai, Lao
            0x1000...0x109F,  // Myanmar
            0x1100...0x11FF,  // Hangul Jamo
            0x1780...0x17FF,  // Khmer
            0x3005...0x3007, 0x3021...0x3029, 0x3038...0x303C,  // CJK signs and numerals
            0x3040...0x30FF,  // Hiragana, Katakana
            0x3100...0x318F,  // Bopomofo, Hangul compatibility Jamo
            0x31A0...0x31BF, 0x31F0...0x31FF,  // Bopomofo and Katakana extensions
            0x3400...0x4DBF, 0x4E00...0x9FFF,  // CJK ideographs
            0xA960...0xA97F, 0xAC00...0xD7FF,  // Hangul
            0xF900...0xFAFF,  // CJK compatibility ideographs
            0xFF66...0xFFDC,  // halfwidth Katakana and Hangul
            0x1B000...0x1B16F,  // further Kana
            0x20000...0x3FFFF:  // further CJK ideographs
            true
        default: false
        }
    }
}
