// Finds what somebody may have meant who wrote an unknown name.

/// The search for the nearest known name.
enum NearestName {
    /// The longest name that is compared; nobody mistypes one longer.
    private static let maximumLength = 128

    /// The candidate that differs least from `name`, when few enough letters differ that it can
    /// have been meant; the first of those that differ equally.
    static func nearest(to name: String, among candidates: some Sequence<String>) -> String? {
        let letters = Array(name.utf8)
        guard letters.count <= maximumLength else { return nil }
        var best: (distance: Int, name: String)?
        for candidate in candidates {
            let distance = distance(letters, Array(candidate.utf8))
            let allowed = max(1, min(letters.count, candidate.utf8.count) / 3)
            if distance <= allowed, distance < best?.distance ?? .max {
                best = (distance, candidate)
            }
        }
        return best?.name
    }

    /// The known key that an unknown dotted key may have meant: a sibling with a similar name,
    /// then a key of the same name elsewhere, then a similar path.
    static func key(_ unknown: String, known: [String]) -> String? {
        func parent(_ key: String) -> Substring {
            key.lastIndex(of: ".").map { key[..<$0] } ?? ""
        }
        func name(_ key: String) -> String {
            key.lastIndex(of: ".").map { String(key[key.index(after: $0)...]) } ?? key
        }
        guard unknown.utf8.count <= maximumLength else { return nil }
        let siblings = known.filter { parent($0) == parent(unknown) }
        if let near = nearest(to: name(unknown), among: siblings.map(name)) {
            return siblings.first { name($0) == near }
        }
        return known.first { name($0) == name(unknown) } ?? nearest(to: unknown, among: known)
    }

    /// The least number of letters to insert, remove, replace or swap with their neighbour
    /// (optimal string alignment distance).
    static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var beforeLast: [Int] = []
        var last = Array(0...right.count)
        for row in left.indices {
            var current = [row + 1]
            for column in right.indices {
                let same = left[row] == right[column]
                var least = min(
                    last[column] + (same ? 0 : 1), last[column + 1] + 1, current[column] + 1)
                if row > 0, column > 0, left[row] == right[column - 1],
                    left[row - 1] == right[column]
                {
                    least = min(least, beforeLast[column - 1] + 1)
                }
                current.append(least)
            }
            (beforeLast, last) = (last, current)
        }
        return last[right.count]
    }
}
