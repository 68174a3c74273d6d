// Recorded answers of system calls, for recorded trees only: tests, demonstrations, bug reports.
//
// One answer a line; `#` starts a comment line. A question without a line has no answer on the
// recorded machine.
//
//     statvfs /boot/firmware 534765568 460324864 0 0      size, available; inodes, free;
//                                                          a space in the path is \040
//     adjtimex synchronised -0.000123 0.0325 0.000011     or unsynchronised; offset, maximum and
//                                                          estimated error, in seconds
//     timedatectl yes                                     or no: NTPSynchronized
//     clocks 1767225600.5 86400.25                        seconds since 1970, and since the start
//     age /run/kinglet-smart/sda.json 1800                seconds since the file was written
//     statvfs / errno 5                                   the call fails with this number
//
// What `systemctl` prints stands in a file `systemctl` beside it, whatever it is asked: what it
// shows of the manager and of the units, with empty lines between them.

/// System calls whose answers stand in a file, read for each question.
struct RecordedCalls: MachineCalls {
    /// The file of answers.
    let path: String

    func filesystem(
        at mountPoint: String, below root: String
    ) throws(ReadingError) -> FilesystemStatistics? {
        let question = mountPoint.split(separator: " ", omittingEmptySubsequences: false)
            .joined(separator: "\\040")
        guard let words = try answer("statvfs", question) else { return nil }
        let numbers = words.compactMap { Double($0) }
        guard words.count == 4, numbers.count == 4 else { throw malformed(words) }
        return FilesystemStatistics(
            size: numbers[0], available: numbers[1], inodes: numbers[2], inodesFree: numbers[3])
    }

    func age(of path: String, below root: String) throws(ReadingError) -> Double? {
        guard let words = try answer("age", String(path.dropFirst(root.count))) else { return nil }
        guard words.count == 1, let age = Double(words[0]) else { throw malformed(words) }
        return age
    }

    func clock() throws(ReadingError) -> ClockState? {
        guard let words = try answer("adjtimex", nil) else { return nil }
        let numbers = words.dropFirst().compactMap { Double($0) }
        guard words.count == 4, numbers.count == 3,
            ["synchronised", "unsynchronised"].contains(words[0])
        else { throw malformed(words) }
        return ClockState(
            isSynchronised: words[0] == "synchronised", offset: numbers[0],
            maximumError: numbers[1])
    }

    func timeServiceIsSynchronised() throws(ReadingError) -> Bool? {
        guard let words = try answer("timedatectl", nil) else { return nil }
        guard words == ["yes"] || words == ["no"] else { throw malformed(words) }
        return words == ["yes"]
    }

    func times() throws(ReadingError) -> ClockTimes? {
        guard let words = try answer("clocks", nil) else { return nil }
        let numbers = words.compactMap { Double($0) }
        guard words.count == 2, numbers.count == 2 else { throw malformed(words) }
        return ClockTimes(wall: numbers[0], sinceBoot: numbers[1])
    }

    func systemctl(_ arguments: [String]) throws(ReadingError) -> String? {
        try SystemFile.table(Self.systemctlPath(beside: path))
    }

    /// Whether a recorded tree has answers of any of the calls.
    static func exist(at path: String) -> Bool {
        SystemFile.exists(path) || SystemFile.exists(systemctlPath(beside: path))
    }

    private static func systemctlPath(beside path: String) -> String {
        let end = path.lastIndex(of: "/").map { path.index(after: $0) } ?? path.startIndex
        return "\(path[..<end])systemctl"
    }

    /// The words after the question on the first line that has it.
    private func answer(
        _ call: Substring, _ argument: String?
    ) throws(ReadingError) -> [Substring]? {
        guard let text = try SystemFile.text(path) else { return nil }
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            var words = line.split(separator: " ")[...]
            guard words.popFirst() == call else { continue }
            if let argument, words.popFirst().map(String.init) != argument { continue }
            if words.first == "errno", let code = words.last.flatMap({ Int32($0) }) {
                throw ReadingError(systemError: code, subject: "\(call) \(argument ?? "")")
            }
            return Array(words)
        }
        return nil
    }

    private func malformed(_ words: [Substring]) -> ReadingError {
        ReadingError(
            .malformed, subject: path,
            message: "cannot understand \(SystemFile.quoted(words.joined(separator: " ")))",
            advice: "write lines as RecordedCalls.swift describes them")
    }
}
