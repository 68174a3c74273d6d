// The buffer that is exchanged with the firmware: words of 32 bits in memory order.
//
//   [0] size of the whole buffer in bytes
//   [1] 0 in a request; 0x80000000 in an answer that succeeded, 0x80000001 in one that failed
//   [2] tag   [3] size of the value in bytes   [4] 0; in an answer its length, top bit set
//   [5…] value, shared by request and answer
//   [last] 0, the end of the tags
//
// The value of a gencmd is a return code, then the command, over which the answer is written.

/// One question to the firmware and, once the kernel has exchanged it, its answer.
struct MailboxMessage: Equatable {
    /// The buffer. Its size never changes after `init`: the kernel copies word 0's many bytes.
    var words: [UInt32]

    private static let succeeded: UInt32 = 0x8000_0000
    private static let answeredFlag: UInt32 = 0x8000_0000
    private static let gencmdTag: UInt32 = 0x0003_0080
    private static let gencmdValueSize = 4096
    private static let headerWords = 5

    /// Asks for a property.
    init(_ property: PropertyTag) {
        self.init(tag: property.tag, value: property.request)
    }

    /// Sends a command.
    init(_ command: FirmwareCommand) {
        var value = [UInt32](repeating: 0, count: Self.gencmdValueSize / 4)
        for (offset, byte) in command.text.utf8.enumerated() {
            value[1 + offset / 4] |= UInt32(byte) << (8 * UInt32(offset % 4))
        }
        self.init(tag: Self.gencmdTag, value: value)
    }

    private init(tag: UInt32, value: [UInt32]) {
        let size = UInt32((Self.headerWords + value.count + 1) * 4)
        words = [size, 0, tag, UInt32(value.count * 4), 0] + value + [0]
    }

    /// The words that answer a property; exactly as many as its request has.
    func propertyAnswer(subject: String) throws(ReadingError) -> [UInt32] {
        let value = try answeredValue(subject)
        let length = Int(words[4] & ~Self.answeredFlag)
        // The length may carry a flag in its lowest bits too; whole words are what counts.
        guard words[4] & Self.answeredFlag != 0, length / 4 == value.count else {
            throw Self.refusal(subject, "answered \(length) bytes where \(value.count * 4) belong")
        }
        return Array(value)
    }

    /// The text that answers a command, without its terminator and line end; nil when the firmware
    /// of this model does not know the command.
    ///
    /// The length of the answer is not relied upon (firmware versions count it differently): the
    /// text ends at its NUL or with the buffer.
    func commandAnswer(subject: String) throws(ReadingError) -> String? {
        let value = try answeredValue(subject)
        var text: [UInt8] = []
        scan: for word in value.dropFirst() {
            for shift in stride(from: UInt32(0), to: 32, by: 8) {
                let byte = UInt8(truncatingIfNeeded: word >> shift)
                if byte == 0 { break scan }
                text.append(byte)
            }
        }
        let answer = String(decoding: text.trimmingASCIISpace, as: UTF8.self)
        guard value.first == 0, !answer.hasPrefix("error=") else {
            if answer.contains("Command not registered") { return nil }
            throw Self.refusal(
                subject, "returned code \(value.first ?? 0), \(SystemFile.quoted(answer))")
        }
        return answer
    }

    private func answeredValue(_ subject: String) throws(ReadingError) -> ArraySlice<UInt32> {
        guard words.count > Self.headerWords, words[1] == Self.succeeded else {
            throw Self.refusal(subject, "did not accept the question")
        }
        return words[Self.headerWords..<words.count - 1]
    }

    private static func refusal(_ subject: String, _ message: String) -> ReadingError {
        ReadingError(
            .firmware, subject: subject, message: "the firmware \(message)",
            advice: "update the firmware ('sudo rpi-eeprom-update', 'sudo apt full-upgrade')")
    }
}
