// Scripted answers of the firmware, for recorded trees only: tests, demonstrations, bug reports.
//
// One answer a line; `#` starts a comment line. A question without a line has no device node on
// the recorded machine.
//
//     tag 0x00030046 0x50005               words of the answer
//     tag 0x00030006 errno 110             the system call fails with this number
//     gencmd get_throttled -> throttled=0x50005
//     tag 0x00030047 0x3 0x59682f00        of several clocks or rails: the one with this number
//     gencmd measure_temp errno 13
//     gencmd version -> Aug 30 2024 19:17:39
//     gencmd version -> Copyright (c) 2012 Broadcom
//
// An answer of several lines has as many lines here.

/// A mailbox whose answers stand in a file. The file is read for each question, so that changing
/// it changes what a running program sees. Never used on the machine itself (``HardwareRoots``).
struct RecordedMailbox: FirmwareMailbox {
    /// The file of answers.
    let path: String

    /// A mailbox that answers from the file at `path`.
    init(path: String) {
        self.path = path
    }

    /// What follows `->` on the lines of this command.
    func answer(to command: FirmwareCommand) throws(ReadingError) -> String? {
        var answer: [Substring] = []
        for line in try lines("gencmd") {
            guard let end = line.firstRange(of: " -> ") ?? line.firstRange(of: " errno ") else {
                throw malformed(line)
            }
            guard line[..<end.lowerBound] == command.text else { continue }
            try throwFailure(line[end.lowerBound...].dropFirst(), subject: command.text)
            answer.append(line[end.upperBound...])
        }
        return answer.isEmpty ? nil : answer.joined(separator: "\n")
    }

    /// The words on the line of this tag and, where there are several of a kind, of its number.
    func answer(to property: PropertyTag) throws(ReadingError) -> [UInt32]? {
        for line in try lines("tag") {
            let parts = line.split(separator: " ", maxSplits: 1)
            guard parts.count == 2 else { throw malformed(line) }
            guard UInt32(hexadecimal: parts[0]) == property.tag else { continue }
            try throwFailure(parts[1], subject: "tag \(parts[0])")
            var words: [UInt32] = []
            for text in parts[1].split(separator: " ") {
                guard let word = UInt32(hexadecimal: text) else { throw malformed(line) }
                words.append(word)
            }
            if property.identifier == nil || words.first == property.identifier { return words }
        }
        return nil
    }

    /// What follows `kind` on its lines.
    private func lines(_ kind: Substring) throws(ReadingError) -> [Substring] {
        guard let text = try SystemFile.table(path) else { return [] }
        var lines: [Substring] = []
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            let parts = line.split(separator: " ", maxSplits: 1)
            guard parts.count == 2, ["tag", "gencmd"].contains(parts[0]) else {
                throw malformed(line)
            }
            if parts[0] == kind { lines.append(parts[1]) }
        }
        return lines
    }

    private func throwFailure(_ answer: Substring, subject: String) throws(ReadingError) {
        let failure = answer.split(separator: " ")
        if failure.count == 2, failure[0] == "errno", let code = Int32(failure[1]) {
            throw ReadingError(systemError: code, subject: subject)
        }
    }

    private func malformed(_ line: Substring) -> ReadingError {
        ReadingError(
            .malformed, subject: path,
            message: "cannot understand \(SystemFile.quoted(String(line)))",
            advice: "write lines as RecordedMailbox.swift describes them")
    }
}
