// What one stream may ask of the reader. Every count is checked while it is read, before memory
// is spent on it.

/// Bounds on the XML that one stream may send.
public struct ReaderLimits: Sendable, Equatable {
    /// Largest first-level element, in bytes, its tags included.
    public var elementBytes: Int
    /// Largest stream header, in bytes, the XML declaration included.
    public var headerBytes: Int
    /// Deepest nesting below the stream element; a stanza's own tag is level 1.
    public var depth: Int
    /// Most attributes, namespace declarations included, on one element.
    public var attributes: Int
    /// Longest element, attribute or prefix name, in bytes.
    public var nameBytes: Int
    /// Most elements in one first-level element.
    public var elements: Int
    /// Longest namespace name, in bytes as written.
    public static let namespaceBytes = 1024

    /// Creates limits; the defaults fit an authenticated client.
    public init(
        elementBytes: Int = 262_144, headerBytes: Int = 4096, depth: Int = 64,
        attributes: Int = 64, nameBytes: Int = 256, elements: Int = 16_384
    ) {
        self.elementBytes = elementBytes
        self.headerBytes = headerBytes
        self.depth = depth
        self.attributes = attributes
        self.nameBytes = nameBytes
        self.elements = elements
    }

    /// For a stream that has not authenticated: room for a SASL exchange and nothing more.
    public static let unauthenticated = ReaderLimits(
        elementBytes: 16_384, headerBytes: 4096, depth: 8, attributes: 16, nameBytes: 128,
        elements: 64)
}
