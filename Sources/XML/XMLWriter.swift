// From trees and values to bytes. Everything that goes in as text comes out escaped; characters
// that XML cannot hold come out as U+FFFD, so that no text of ours can break a stream.

/// Writes XML into a byte array.
public struct XMLWriter {
    /// What was written so far.
    public private(set) var bytes: [UInt8] = []
    private let contentNamespace: String
    private let limit: Int

    /// - Parameters:
    ///   - contentNamespace: the default namespace in force where the output will stand.
    ///   - limit: once more bytes than this are written, further elements are left out.
    public init(contentNamespace: String, limit: Int = .max) {
        self.contentNamespace = contentNamespace
        self.limit = limit
    }

    /// Appends an element; its namespaces are declared where they change.
    public mutating func write(_ element: Element) {
        write(element, default: contentNamespace)
    }

    /// Appends ready-made XML.
    public mutating func raw(_ xml: StaticString) {
        xml.withUTF8Buffer { bytes.append(contentsOf: $0) }
    }

    /// Appends ready-made XML.
    public mutating func raw(_ xml: some Sequence<UInt8>) {
        bytes.append(contentsOf: xml)
    }

    /// Appends character data.
    public mutating func text(_ text: String) {
        escape(text, isAttribute: false)
    }

    /// Appends a space and an attribute.
    public mutating func attribute(_ name: StaticString, _ value: String) {
        bytes.append(ASCII.space)
        raw(name)
        bytes.append(ASCII.equals)
        bytes.append(ASCII.singleQuote)
        escape(value, isAttribute: true)
        bytes.append(ASCII.singleQuote)
    }

    /// An element as bytes.
    public static func bytes(_ element: Element, contentNamespace: String) -> [UInt8] {
        var writer = XMLWriter(contentNamespace: contentNamespace)
        writer.write(element)
        return writer.bytes
    }

    private mutating func write(_ element: Element, default inherited: String) {
        guard bytes.count <= limit else { return }
        bytes.append(ASCII.less)
        bytes.append(contentsOf: element.name.utf8)
        if !equal(element.namespace, inherited) { attribute("xmlns", element.namespace) }
        var prefixes: [String] = []
        for item in element.attributes {
            var prefix = ""
            if item.namespace == "http://www.w3.org/XML/1998/namespace" {
                prefix = "xml:"
            } else if !item.namespace.isEmpty {
                let index = prefixes.firstIndex { equal($0, item.namespace) } ?? prefixes.count
                if index == prefixes.count {
                    prefixes.append(item.namespace)
                    namedAttribute("xmlns:n\(index)", item.namespace)
                }
                prefix = "n\(index):"
            }
            namedAttribute(prefix + item.name, item.value)
        }
        guard !element.children.isEmpty else {
            bytes.append(ASCII.slash)
            bytes.append(ASCII.greater)
            return
        }
        bytes.append(ASCII.greater)
        for child in element.children {
            switch child {
            case .element(let child): write(child, default: element.namespace)
            case .text(let text): escape(text, isAttribute: false)
            }
        }
        bytes.append(ASCII.less)
        bytes.append(ASCII.slash)
        bytes.append(contentsOf: element.name.utf8)
        bytes.append(ASCII.greater)
    }

    private mutating func namedAttribute(_ name: String, _ value: String) {
        bytes.append(ASCII.space)
        bytes.append(contentsOf: name.utf8)
        bytes.append(ASCII.equals)
        bytes.append(ASCII.singleQuote)
        escape(value, isAttribute: true)
        bytes.append(ASCII.singleQuote)
    }

    private mutating func escape(_ text: String, isAttribute: Bool) {
        for scalar in text.unicodeScalars {
            switch scalar {
            case "<": raw("&lt;")
            case ">": raw("&gt;")
            case "&": raw("&amp;")
            case "'" where isAttribute: raw("&apos;")
            case "\"" where isAttribute: raw("&quot;")
            case "\t" where isAttribute: raw("&#9;")
            case "\n" where isAttribute: raw("&#10;")
            case "\r": raw("&#13;")
            default:
                guard isXMLCharacter(scalar.value) else {
                    bytes.append(contentsOf: UTF8.encodedReplacementCharacter)
                    continue
                }
                if scalar.isASCII {
                    bytes.append(UInt8(scalar.value))
                } else {
                    bytes.append(
                        contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
                }
            }
        }
    }
}

/// Text as an attribute value holds it, quotes excluded.
public func escapedAttribute(_ text: String) -> [UInt8] {
    // Addresses and ids hardly ever need it.
    let isPlain = text.utf8.allSatisfy { byte in
        byte >= ASCII.space && byte < 0x7F && byte != ASCII.less && byte != ASCII.ampersand
            && byte != ASCII.singleQuote && byte != ASCII.doubleQuote && byte != ASCII.greater
    }
    if isPlain { return Array(text.utf8) }
    var writer = XMLWriter(contentNamespace: "")
    writer.attribute("a", text)
    return Array(writer.bytes.dropFirst(4).dropLast())
}
