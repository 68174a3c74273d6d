// What rsync writes: lines that end with CR or LF, its progress, its statistics, its complaints.

/// Cuts output into lines. A line that is longer than any that we ask for is left out.
struct LineReader {
    /// Bytes of a line at most: a path whose every byte is escaped, and what stands before it.
    static let longest = 20_000
    private var line: [UInt8] = []
    private var isTooLong = false

    /// Takes more output, gives the lines that it completes, without their ends.
    mutating func read(_ bytes: ArraySlice<UInt8>, _ each: (ArraySlice<UInt8>) -> Void) {
        var rest = bytes
        while let end = rest.firstIndex(where: { $0 == 10 || $0 == 13 }) {
            append(rest[rest.startIndex..<end])
            finish(each)
            rest = rest[(end + 1)...]
        }
        append(rest)
    }

    /// Gives a last line that has no end.
    mutating func finish(_ each: (ArraySlice<UInt8>) -> Void) {
        if !isTooLong, !line.isEmpty { each(line[...]) }
        line.removeAll(keepingCapacity: true)
        isTooLong = false
    }

    private mutating func append(_ bytes: ArraySlice<UInt8>) {
        if line.count + bytes.count > Self.longest {
            isTooLong = true
            line.removeAll(keepingCapacity: true)
        } else if !isTooLong {
            line.append(contentsOf: bytes)
        }
    }
}

/// The last lines of what a program complained about, fit to be shown.
struct Complaints {
    /// Lines that are kept, and characters of each.
    static let most = 12
    static let longest = 300
    private(set) var lines: [String] = []

    mutating func add(_ line: ArraySlice<UInt8>) {
        let plain = line.prefix(Self.longest).map { (0x20..<0x7F).contains($0) ? $0 : 0x3F }
        let text = String(decoding: plain, as: UTF8.self)
        guard text.contains(where: { $0 != " " && $0 != "@" }) else { return }
        if lines.count == Self.most { lines.removeFirst() }
        lines.append(text)
    }
}

/// `--info=progress2`: one line that is written again and again, such as
/// `    1,234,567  45%    1.20MB/s    0:00:12 (xfr#3, to-chk=5/9)`.
struct RsyncProgress: Sendable, Equatable {
    /// Bytes of files that were sent.
    var bytes: Int64
    /// Of all bytes, sent or not; not monotonic while the other side is still being listed.
    var percent: Int
    /// Bytes a second.
    var rate: Double

    /// Nil when the line is something else.
    init?(_ line: ArraySlice<UInt8>) {
        let words = line.split(separator: 0x20, maxSplits: 4)
        guard words.count >= 4, words[1].last == UInt8(ascii: "%"),
            let bytes = number(words[0]), let percent = number(words[1].dropLast()),
            percent <= 100
        else { return nil }
        let rate = String(decoding: words[2], as: UTF8.self)
        guard rate.hasSuffix("/s") else { return nil }
        let units = [("kB/s", 1024.0), ("MB/s", 1_048_576), ("GB/s", 1_073_741_824), ("B/s", 1)]
        guard let unit = units.first(where: { rate.hasSuffix($0.0) }),
            let value = Double(rate.dropLast(unit.0.count)), value.isFinite, value >= 0
        else { return nil }
        self.bytes = bytes
        self.percent = Int(percent)
        self.rate = value * unit.1
    }

    /// As a run's progress.
    ///
    /// - Parameter expected: bytes that are to be sent; nil while unknown.
    func progress(expected: Int64?) -> Progress {
        var progress = Progress(
            .transfer, bytes: bytes, totalBytes: expected.map { max($0, bytes) })
        progress.rate = rate
        if let total = progress.totalBytes, rate > 0 {
            progress.secondsLeft = Double(total - bytes) / rate
        }
        return progress
    }
}

extension TransferReport {
    /// Takes what one line of `--stats` says; other lines, and numbers that are none, say nothing.
    mutating func readStatistics(_ line: ArraySlice<UInt8>) {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return }
        let rest = line[(colon + 1)...].drop { $0 == 0x20 }
        guard let value = number(rest.prefix { $0 != 0x20 }) else { return }
        switch String(decoding: line[..<colon], as: UTF8.self) {
        case "Number of regular files transferred", "Number of files transferred":
            files = Int(clamping: value)
        case "Literal data": literalBytes = value
        case "Matched data": matchedBytes = value
        case "Total bytes sent": bytesSent = value
        default: break
        }
    }

    /// Adds what another call moved.
    mutating func add(_ other: TransferReport) {
        files = files.addingReportingOverflow(other.files).partialValue
        bytesSent = bytesSent.addingReportingOverflow(other.bytesSent).partialValue
        literalBytes = literalBytes.addingReportingOverflow(other.literalBytes).partialValue
        matchedBytes = matchedBytes.addingReportingOverflow(other.matchedBytes).partialValue
        exitStatus = other.exitStatus.map { max($0, exitStatus ?? 0) } ?? exitStatus
    }
}

/// A number in decimal digits, with or without separators of thousands.
private func number(_ digits: ArraySlice<UInt8>) -> Int64? {
    var value: Int64 = 0
    var count = 0
    for digit in digits where digit != UInt8(ascii: ",") && digit != UInt8(ascii: ".") {
        guard (0x30...0x39).contains(digit) else { return nil }
        let (product, first) = value.multipliedReportingOverflow(by: 10)
        let (sum, second) = product.addingReportingOverflow(Int64(digit - 0x30))
        guard !first, !second else { return nil }
        value = sum
        count += 1
    }
    return count > 0 ? value : nil
}
