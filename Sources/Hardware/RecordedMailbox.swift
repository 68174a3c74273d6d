// Scripted answers of the firmware, for recorded trees only: tests, demonstrations, bug reports.
//
// One answer a line; `#` starts a comment line. A question without a line has no device node on
// the recorded machine.
//
//     tag 0x00030046 0x50005               words of the answer
//     tag 0x00030006 errno 110             the system call fails with this number
//     gencmd get_throttled -> throttled=0x50005
//     gencmd measure_temp errno 13

/// A mailbox whose answers stand in a file. The file is read for each question, so that changing
/// it changes what a running program sees. Never used on the machine itself (``HardwareRoots``).
public struct RecordedMailbox: FirmwareMailbox {
    /// The file of answers.
    public let path: String

    /// A mailbox that answers from the file at `path`.
    public init(path: String) {
        self.path = path
    }

    /// The text after `->` on the line of this command.
    public func answer(to command: FirmwareCommand) throws(ReadingError) -> String? {
        guard let answer = try line("gencmd", question: { $0 == command.rawValue }) else {
            return nil
        }
        guard answer.hasPrefix("-> ") else { throw malformed(answer) }
        return String(answer.dropFirst(3))
    }

    /// The words on the line of this tag.
    public func answer(to property: PropertyTag) throws(ReadingError) -> [UInt32]? {
        guard
            let answer = try line(
                "tag", question: { UInt32(hexadecimal: $0) == property.rawValue })
        else { return nil }
        var words: [UInt32] = []
        for text in answer.split(separator: " ") {
            guard let word = UInt32(hexadecimal: text) else { throw malformed(answer) }
            words.append(word)
        }
        return words
    }

    /// What follows the question on the first line that has it.
    private func line(
        _ kind: Substring, question: (Substring) -> Bool
    ) throws(ReadingError) -> Substring? {
        guard let text = try SystemFile.text(path) else { return nil }
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            let parts = line.split(separator: " ", maxSplits: 2)
            guard parts.count == 3, ["tag", "gencmd"].contains(parts[0]) else {
                throw malformed(line)
            }
            guard parts[0] == kind, question(parts[1]) else { continue }
            let failure = parts[2].split(separator: " ")
            if failure.count == 2, failure[0] == "errno", let code = Int32(failure[1]) {
                throw ReadingError(systemError: code, subject: "\(kind) \(parts[1])")
            }
            return parts[2]
        }
        return nil
    }

    private func malformed(_ line: Substring) -> ReadingError {
        ReadingError(
            .malformed, subject: path,
            message: "cannot understand \(SystemFile.quoted(String(line)))",
            advice: "write lines as RecordedMailbox.swift describes them")
    }
}

extension UInt32 {
    /// Reads `0x` and hexadecimal digits.
    init?(hexadecimal text: some StringProtocol) {
        guard text.hasPrefix("0x") else { return nil }
        let digits = text.dropFirst(2)
        // The standard parser would take a sign.
        guard !digits.isEmpty, digits.allSatisfy(\.isHexDigit) else { return nil }
        self.init(digits, radix: 16)
    }
}
