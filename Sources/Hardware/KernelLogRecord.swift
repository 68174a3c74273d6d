// The form of `/dev/kmsg`: records of one line, `priority,sequence,microseconds,flags;text`, each
// followed by lines with its device that begin with a space.

/// One message of the kernel's log.
struct KernelLogRecord: Sendable, Equatable {
    /// Who wrote it: 0 is the kernel; programs that write into its log are given another number.
    var facility: UInt64
    /// Its number in this boot.
    var sequence: UInt64
    /// Without its line end.
    var text: ArraySlice<UInt8>

    /// Reads the first line of a record; nil when it is none.
    init?(line: ArraySlice<UInt8>) {
        guard let semicolon = line.firstIndex(of: UInt8(ascii: ";")) else { return nil }
        let fields = line[..<semicolon].split(
            separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
        guard fields.count >= 4, let priority = KernelTable.number(fields[0]),
            let sequence = KernelTable.number(fields[1]), KernelTable.number(fields[2]) != nil
        else { return nil }
        facility = priority >> 3
        self.sequence = sequence
        text = line[(semicolon + 1)...]
    }
}

/// Cuts a stream of bytes, in pieces of any length, into lines.
struct KernelLogLines: Sendable {
    /// Longer lines are left out; the kernel's own end at 8 KiB.
    static let lengthLimit = 16 * 1024

    private var unfinished: [UInt8] = []
    private var isTooLong = false

    /// Takes the next piece and hands over each line that it ends, without its line feed.
    mutating func receive(_ piece: ArraySlice<UInt8>, line: (ArraySlice<UInt8>) -> Void) {
        var rest = piece
        while let end = rest.firstIndex(of: 0x0A) {
            if isTooLong {
                isTooLong = false
            } else if unfinished.isEmpty {
                line(rest[..<end])
            } else {
                unfinished += rest[..<end]
                line(unfinished[...])
            }
            unfinished.removeAll(keepingCapacity: true)
            rest = rest[(end + 1)...]
        }
        guard !isTooLong else { return }
        unfinished += rest
        if unfinished.count > Self.lengthLimit {
            unfinished = []
            isTooLong = true
        }
    }
}
