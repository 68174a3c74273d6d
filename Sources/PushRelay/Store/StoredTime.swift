// Times in the database that may be absent.

internal import Storage

extension ResultRow {
    /// A time; nil for NULL, which reads as 0: what is kept here did not happen in 1970. (Whether a
    /// number is NULL cannot be told by its text: it has none.)
    func time(_ column: Int) -> Int64? {
        let time = integer(column)
        return time == 0 ? nil : time
    }
}
