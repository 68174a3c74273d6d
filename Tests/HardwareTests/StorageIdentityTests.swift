// What the disks are, and what eMMC says of its wear.

import Glibc
import Prometheus
import Testing

@testable import Hardware

@Suite("Storage identity")
struct StorageIdentityTests {
    private let tree = ScratchTree()

    private func card(_ file: String, _ text: String) {
        tree.write("sys/block/mmcblk0/device/\(file)", "\(text)\n")
    }

    private func labels(_ samples: [Sample]) -> [String] {
        samples.first?.labels.map { "\($0.0)=\($0.1)" } ?? []
    }

    @Test("A card says by its type which list of manufacturers its number is from")
    func manufacturers() {
        card("type", "SD")
        card("name", "ED4QT")
        card("manfid", "0x00001b")
        #expect(
            labels(tree.read(StorageIdentity()).samples)
                == ["device=mmcblk0", "type=sd", "model=ED4QT", "manufacturer=Samsung"])
        card("type", "MMC")
        #expect(labels(tree.read(StorageIdentity()).samples).last == "manufacturer=0x1b")
        card("manfid", "0x000015")
        #expect(labels(tree.read(StorageIdentity()).samples).last == "manufacturer=Samsung")
        #expect(labels(tree.read(StorageIdentity()).samples)[1] == "type=emmc")
    }

    @Test("The serial number and the cid beside them are not shown")
    func noSerial() {
        card("type", "SD")
        card("serial", "0xdeadbeef")
        card("cid", "035344534333324780deadbeef01533f")
        let shown = tree.read(StorageIdentity()).samples.flatMap { $0.labels.map(\.1) }
        #expect(shown == ["mmcblk0", "sd"])
    }

    @Test(
        "The month of manufacture begins at its first second in UTC",
        arguments: [
            ("01/1970", 0), ("02/2000", 949_363_200), ("03/2000", 951_868_800),
            ("12/2023", 1_701_388_800), ("07/2024", 1_719_792_000),
        ])
    func manufactured(_ text: String, _ time: Int) throws {
        let parts = text.split(separator: "/").compactMap { Int($0) }
        #expect(CivilDate.seconds(parts[1], parts[0], 1) == Double(time))
        guard parts[1] >= 1990 else { return }
        card("date", text)
        #expect(tree.read(StorageIdentity()).samples.map(\.value) == [Double(time)])
    }

    @Test("A card that does not say when it was made is no failure")
    func noDate() {
        card("date", "00/2000")
        let result = tree.read(StorageIdentity())
        #expect(result.samples.isEmpty && result.failure == nil)
    }

    @Test(
        "A date that is none is a failure that leaves the card",
        arguments: ["13/2020", "-1/2020", "03/99999999999999999999", "03", "", "3/2/1", "03/1900"])
    func garbageDate(_ text: String) {
        card("type", "SD")
        card("date", text)
        let (samples, failure) = tree.read(StorageIdentity())
        #expect(samples.count == 1 && failure?.code == .malformed)
    }

    @Test("Steps of wear are tenths; 0 is not defined and 11 is beyond the end")
    func life() {
        card("life_time", "0x01 0x0b")
        #expect(tree.read(StorageIdentity()).samples.map(\.value) == [0.1, 1.1])
        card("life_time", "0x0A 0x00")
        let samples = tree.read(StorageIdentity()).samples
        #expect(samples.map(\.value) == [1])
        #expect(samples.first?.labels.last?.1 == "a")
    }

    @Test("One of the three states of the reserve is 1", arguments: 0...3)
    func reserve(_ state: Int) {
        card("pre_eol_info", "0x0\(state)")
        let expected: [[Double]] = [[], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
        let (samples, failure) = tree.read(StorageIdentity())
        #expect(samples.map(\.value) == expected[state])
        #expect(failure == nil)
    }

    @Test(
        "Registers with other values are failures",
        arguments: [
            ("life_time", "0x0c 0x01"), ("life_time", "0x01"), ("life_time", "-1 1"),
            ("life_time", "0xffffffffff 0x01"), ("pre_eol_info", "0x04"), ("pre_eol_info", "1"),
            ("type", "SDIO?".lowercased()), ("type", ""),
        ])
    func garbage(_ file: String, _ text: String) {
        card(file, text)
        let (samples, failure) = tree.read(StorageIdentity())
        #expect(samples.count <= 1 && failure?.code == .malformed)
    }

    @Test("A manufacturer's number that is none is a failure")
    func garbageManufacturer() {
        card("type", "SD")
        card("manfid", "SanDisk")
        #expect(tree.read(StorageIdentity()).failure?.code == .malformed)
    }

    /// A disk that the kernel found there.
    private func disk(_ name: String, _ place: String, _ files: [String: String] = [:]) {
        tree.write("sys/devices/\(place)/block/\(name)/size", "1\n")
        for (file, text) in files {
            tree.write("sys/devices/\(place)/block/\(name)/device/\(file)", "\(text)\n")
        }
        tree.write("sys/block/uevent", "")
        symlink("../devices/\(place)/block/\(name)", "\(tree.path)/sys/block/\(name)")
    }

    @Test("A disk is USB or SATA by the place in the tree where the kernel found it")
    func buses() {
        disk(
            "sda", "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0",
            ["vendor": "ATA     ", "model": "CT500MX500SSD1  "])
        disk("sdb", "pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host4", ["vendor": "JMicron "])
        disk("sdc", "platform/fd500000.pcie/usb1/ata9/host5", [:])
        disk("sdd", "pci0000:00/0000:00:1f.0/host6/rphy", [:])
        disk("vda", "pci0000:00/0000:00:05.0/virtio1", ["vendor": "0x1af4"])
        let (samples, failure) = tree.read(StorageIdentity())
        #expect(failure == nil)
        #expect(
            samples.map { $0.labels.map(\.1) } == [
                ["sda", "sata", "CT500MX500SSD1"], ["sdb", "usb", "JMicron"], ["sdc", "usb"],
            ])
    }

    @Test("NVMe has a model and no vendor of that name; unprintable bytes become question marks")
    func nvme() {
        tree.write("sys/block/nvme0n1/device/model", "WD\u{7}Blue\u{e9}\n")
        let samples = tree.read(StorageIdentity()).samples
        #expect(labels(samples) == ["device=nvme0n1", "type=nvme", "model=WD?Blue?"])
    }

    @Test("Eight of many are shown, and a machine without any shows nothing")
    func bounded() {
        #expect(tree.read(StorageIdentity()).samples.isEmpty)
        for number in 0..<40 { tree.write("sys/block/nvme\(number)n1/size", "1\n") }
        #expect(tree.read(StorageIdentity()).samples.count == 8)
    }
}
