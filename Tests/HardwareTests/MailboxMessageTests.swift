// The buffer that is exchanged with the firmware.

import Testing

@testable import Hardware

@Suite("Mailbox message")
struct MailboxMessageTests {
    @Test("The throttling question never asks to clear the history")
    func throttledRequest() {
        #expect(MailboxMessage(.throttled).words == [28, 0, 0x0003_0046, 4, 0, 0, 0])
    }

    @Test("The temperature question names sensor 0 and leaves room for two words")
    func temperatureRequest() {
        #expect(MailboxMessage(.temperature).words == [32, 0, 0x0003_0006, 8, 0, 0, 0, 0])
    }

    @Test("A command follows the return code, NUL-terminated, in a value of 4096 bytes")
    func commandRequest() {
        let words = MailboxMessage(.getThrottled).words
        #expect(words.count == 5 + 1024 + 1)
        #expect(words[0] == UInt32(words.count * 4))
        #expect(Array(words[1...5]) == [0, 0x0003_0080, 4096, 0, 0])
        // "get_", "thro", "ttle", "d\0\0\0" in memory order
        #expect(Array(words[6...9]) == [0x5F74_6567, 0x6F72_6874, 0x656C_7474, 0x64])
        #expect(words[10...].allSatisfy { $0 == 0 })
    }

    @Test("Only the listed tags and commands exist")
    func allowList() {
        let properties = PropertyTag.allCases.map { [$0.tag] + $0.request }
        let expected: [[UInt32]] =
            [[0x0000_0001, 0], [0x0003_0006, 0, 0], [0x0003_000A, 0, 0], [0x0003_0046, 0]]
            + [1, 2, 4, 3].map { [0x0003_0003, $0, 0] }
            + [3, 4, 5, 7, 1].map { [0x0003_0047, $0, 0] }
        #expect(properties == expected)
        #expect(
            FirmwareCommand.allCases.map(\.text) == [
                "measure_temp", "measure_temp pmic", "get_throttled", "measure_volts core",
                "measure_volts sdram_c", "measure_volts sdram_i", "measure_volts sdram_p",
                "measure_clock arm", "measure_clock core", "measure_clock v3d",
                "measure_clock isp", "measure_clock emmc", "pmic_read_adc", "version",
                "bootloader_version",
            ])
    }

    @Test("The ioctl number is _IOWR(100, 0, char *)")
    func requestNumber() {
        let expected: UInt =
            MemoryLayout<UnsafeRawPointer>.size == 8 ? 0xC008_6400 : 0xC004_6400
        #expect(DeviceMailbox.propertyRequest == expected)
    }

    @Test("An answered property gives its words; the flag of its length is masked")
    func propertyAnswer() throws {
        var message = MailboxMessage(.temperature)
        message.words[1] = 0x8000_0000
        message.words[4] = 0x8000_0008
        message.words[6] = 47_225
        #expect(try message.propertyAnswer(subject: "test") == [0, 47_225])
    }

    @Test(
        "A property without the answer flag, or of another length, is refused",
        arguments: [0, 4, 0x8000_0000, 0x8000_0003, 0x8000_0008, 0xFFFF_FFFF] as [UInt32])
    func badLength(_ length: UInt32) {
        var message = MailboxMessage(.throttled)
        message.words[1] = 0x8000_0000
        message.words[4] = length
        #expect(throws: ReadingError.self) { try message.propertyAnswer(subject: "test") }
    }

    @Test(
        "A buffer that the firmware did not accept is refused",
        arguments: [0, 1, 0x8000_0001, 0xFFFF_FFFF] as [UInt32])
    func badStatus(_ status: UInt32) {
        var message = MailboxMessage(.throttled)
        message.words[1] = status
        message.words[4] = 0x8000_0004
        #expect(throws: ReadingError.self) { try message.propertyAnswer(subject: "test") }
        var command = MailboxMessage(.getThrottled)
        command.words[1] = status
        #expect(throws: ReadingError.self) { try command.commandAnswer(subject: "test") }
    }

    @Test("The answer to a command ends at its NUL and loses its line end")
    func commandAnswer() throws {
        let message = answered(.getThrottled, text: "throttled=0x50005\n\0left over")
        #expect(try message.commandAnswer(subject: "test") == "throttled=0x50005")
    }

    @Test("An answer without NUL ends with the buffer")
    func unterminatedAnswer() throws {
        let message = answered(.getThrottled, text: String(repeating: "x", count: 4092))
        #expect(try message.commandAnswer(subject: "test")?.utf8.count == 4092)
    }

    @Test("A command that returned a code other than 0 is refused")
    func commandFailed() {
        var message = answered(.getThrottled, text: "error=2 error_msg=\"Invalid arguments\"")
        #expect(throws: ReadingError.self) { try message.commandAnswer(subject: "test") }
        message.words[5] = 1
        #expect(throws: ReadingError.self) { try message.commandAnswer(subject: "test") }
        message = answered(.getThrottled, text: "throttled=0x0")
        message.words[5] = 1
        #expect(throws: ReadingError.self) { try message.commandAnswer(subject: "test") }
    }

    @Test("A command that this firmware does not have is absent, whatever code it returns")
    func commandUnknown() throws {
        var message = answered(.readPowerChip, text: "error=1 error_msg=\"Command not registered\"")
        #expect(try message.commandAnswer(subject: "test") == nil)
        message.words[5] = 1
        #expect(try message.commandAnswer(subject: "test") == nil)
    }

    private func answered(_ command: FirmwareCommand, text: String) -> MailboxMessage {
        var message = MailboxMessage(command)
        message.words[1] = 0x8000_0000
        message.words[4] = 0x8000_0000 | UInt32(text.utf8.count)
        for index in 6..<message.words.count - 1 { message.words[index] = 0 }
        for (offset, byte) in text.utf8.enumerated() {
            message.words[6 + offset / 4] |= UInt32(byte) << UInt32(8 * (offset % 4))
        }
        return message
    }
}
