// The path of a file in a snapshot. What is read from a target may have been written by anybody:
// a path that could lead outside of its place cannot be made.

internal import Glibc

/// A relative path of bytes, as Linux has them: no empty, `.` or `..` component, no NUL.
public struct SnapshotPath: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// Bytes of a path, and of one component, at most (PATH_MAX, NAME_MAX).
    static let longest = 4095
    static let longestName = 255
    /// Components at most.
    static let deepest = 100

    /// The bytes, `/` between components.
    public let bytes: [UInt8]

    /// Nil when it could lead outside, or is longer than the kernel takes.
    public init?(_ bytes: some Collection<UInt8>) {
        let bytes = Array(bytes)
        guard !bytes.isEmpty, bytes.count <= Self.longest, !bytes.contains(0) else { return nil }
        let components = bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard components.count <= Self.deepest else { return nil }
        for component in components {
            let isDots =
                component.count <= 2 && component.allSatisfy { $0 == UInt8(ascii: ".") }
            guard !isDots, component.count <= Self.longestName else { return nil }
        }
        self.bytes = bytes
    }

    /// - Parameter bytes: known to be a path, such as a constant.
    init(valid bytes: [UInt8]) { self.bytes = bytes }

    /// The same from text.
    public init?(_ text: String) { self.init(text.utf8) }

    /// The components from the top.
    public var components: [ArraySlice<UInt8>] { bytes.split(separator: UInt8(ascii: "/")) }

    /// Whether it lies below a folder, given without a slash at its end.
    public func isBelow(_ folder: String) -> Bool {
        bytes.count > folder.utf8.count && bytes.starts(with: folder.utf8)
            && bytes[folder.utf8.count] == UInt8(ascii: "/")
    }

    /// For messages and for paths that are ours; other bytes than UTF-8 are replaced.
    public var description: String { String(decoding: bytes, as: UTF8.self) }

    /// Byte by byte.
    public static func < (left: SnapshotPath, right: SnapshotPath) -> Bool {
        precedes(left.bytes, right.bytes)
    }

    /// The order of paths.
    static func precedes(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        let order = memcmp(left, right, min(left.count, right.count))
        return order == 0 ? left.count < right.count : order < 0
    }
}
