// What a device or another program says about itself, made fit for a label.

extension String {
    /// At most `limit` characters, all of printable ASCII; others become question marks.
    func printable(_ limit: Int) -> String {
        String(unicodeScalars.prefix(limit).map { (0x20...0x7E) ~= $0.value ? Character($0) : "?" })
    }
}
