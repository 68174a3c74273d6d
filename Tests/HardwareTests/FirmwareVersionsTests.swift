// Revisions and build times of firmware and boot loader.

import Prometheus
import Testing

@testable import Hardware

@Suite("Firmware versions")
struct FirmwareVersionsTests {
    private let tree = piTree()
    private let text = """
        Aug 30 2024 19:17:39
        Copyright (c) 2012 Broadcom
        version 2808975b80149bbfe86844655fe45c7de66fc078 (clean) (release) (start)
        """

    @Test("The firmware says its revision and its date by one command")
    func firmware() {
        let mailbox = ScriptedMailbox(command: { [text] in $0 == .firmwareVersion ? text : nil })
        let result = read(FirmwareVersions(), tree, mailbox)
        #expect(result.failure == nil)
        #expect(
            result.samples == [
                Sample(
                    "rpi_firmware_info",
                    labels: [("version", "2808975b80149bbfe86844655fe45c7de66fc078")], value: 1),
                Sample("rpi_firmware_build_timestamp_seconds", value: 1_725_045_459),
            ])
        #expect(!mailbox.questions.contains("tag firmware revision"))
    }

    @Test("Where only property tags are answered, the build time is what is known")
    func byProperty() {
        let mailbox = ScriptedMailbox(property: { _ in [1_725_045_459] })
        #expect(
            read(FirmwareVersions(), tree, mailbox).samples == [
                Sample("rpi_firmware_build_timestamp_seconds", value: 1_725_045_459)
            ])
    }

    @Test(
        "A build time before there were Raspberry Pis is none",
        arguments: [[], [0], [1_262_303_999], [4_294_967_295], [1, 2]] as [[UInt32]])
    func badTime(_ words: [UInt32]) {
        let result = read(FirmwareVersions(), tree, ScriptedMailbox(property: { _ in words }))
        #expect(result.samples.isEmpty)
        #expect(result.failure?.code == .malformed)
    }

    @Test("The boot loader is in the device tree, and only asked for where it is not")
    func bootloader() {
        tree.write("proc/device-tree/chosen/bootloader/version", "8ba17717\0")
        tree.write("proc/device-tree/chosen/bootloader/build-timestamp", "\u{30}\0\0\0")
        let mailbox = ScriptedMailbox()
        let result = read(FirmwareVersions(), tree, mailbox)
        #expect(result.failure?.code == .malformed)
        #expect(!mailbox.questions.contains("gencmd bootloader_version"))

        tree.write("proc/device-tree/chosen/bootloader/build-timestamp", "d\0\0\0")
        let samples = read(FirmwareVersions(), tree, mailbox).samples
        #expect(samples.value("rpi_bootloader_info", "8ba17717") == 1)
        #expect(samples.value("rpi_bootloader_build_timestamp_seconds") == 0x6400_0000)
    }

    @Test("A boot loader that is asked says its build time as a number")
    func askedBootloader() {
        let mailbox = ScriptedMailbox(command: { command in
            command == .bootloaderVersion
                ? "2023/01/11 17:40:52\nversion 8ba17717 (release)\ntimestamp 1673458853\n" : nil
        })
        let samples = read(FirmwareVersions(), tree, mailbox).samples
        #expect(samples.value("rpi_bootloader_info", "8ba17717") == 1)
        #expect(samples.value("rpi_bootloader_build_timestamp_seconds") == 1_673_458_853)
        let old = read(FirmwareVersions(), piTree(processor: "brcm,bcm2837"), mailbox)
        #expect(old.samples.isEmpty)
    }

    @Test(
        "Dates are read in both forms, leap days included",
        arguments: [
            ("2024/09/23 14:02:56", 1_727_100_176), ("Feb 29 2024 00:00:00", 1_709_164_800),
            ("Mar  1 2024 00:00:00", 1_709_251_200), ("Dec 31 2023 23:59:59", 1_704_067_199),
        ])
    func dates(_ date: String, _ seconds: Double) {
        #expect(BuiltVersion("\(date)\nversion 1")?.time == seconds)
    }

    @Test(
        "What is no date leaves the revision",
        arguments: [
            "", "2024/09 14:02:56", "2024/13/01 00:00:00", "2024/01/32 00:00:00",
            "2024/09/23 24:00:00", "1970/01/01 00:00:00", "65535/01/01 00:00:00",
            "Foo 30 2024 19:17:39", "Aug 30 2024", "Aug 99999999999999999999 2024 19:17:39",
            "timestamp 99999999999", "timestamp -1",
        ])
    func noDates(_ line: String) {
        #expect(BuiltVersion("\(line)\nversion 1") == BuiltVersion(revision: "1"))
    }

    @Test(
        "What has no revision is malformed",
        arguments: [
            "", "version", "version ", "version \"x\"", "version \u{1}", "garbage",
            "version " + String(repeating: "a", count: 65),
        ])
    func noRevision(_ text: String) {
        let mailbox = ScriptedMailbox(command: { $0 == .firmwareVersion ? text : nil })
        let result = read(FirmwareVersions(), tree, mailbox)
        #expect(result.samples.isEmpty)
        #expect(result.failure?.code == .malformed)
    }
}
