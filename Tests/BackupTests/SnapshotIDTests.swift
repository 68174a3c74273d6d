import Testing

@testable import Backup

@Suite("Names of snapshots")
struct SnapshotIDTests {
    @Test(
        "A name is read back as it was written",
        arguments: [0, 951_782_399, 4_107_542_399, 253_402_300_799] as [Int64])
    func roundTrip(_ time: Int64) throws {
        let id = try #require(SnapshotID(time: time, sequence: 17))
        #expect(SnapshotID(id.description) == id)
    }

    @Test("The time is in UTC, the number has six digits")
    func form() {
        #expect(
            SnapshotID(time: 1_795_230_000, sequence: 17)?.description == "20261121T030000Z-000017")
    }

    @Test(
        "Nothing else is a name",
        arguments: [
            "", "20261121T030000Z", "20261121T030000Z-000000", "20261121T250000Z-000001",
            "20260230T030000Z-000001", "2026112¹T030000Z-000001", "20261121T030000Z-00001 ",
            ".partial-20261121T030000Z-000017", "20261121T030000Z-000017/",
        ])
    func others(_ text: String) { #expect(SnapshotID(text) == nil) }

    @Test("The number decides the order, whatever the clock said")
    func order() throws {
        let early = try #require(SnapshotID(time: 2_000_000_000, sequence: 1))
        let late = try #require(SnapshotID(time: 0, sequence: 2))
        #expect(early < late)
    }
}

@Suite("Paths in snapshots")
struct SnapshotPathTests {
    @Test(
        "A path that could lead outside cannot be made",
        arguments: [
            "", "/etc/passwd", "..", "../x", "a/../../x", "a/..", ".", "./a", "a/./b", "a//b", "a/",
            "a\0b", String(repeating: "a/", count: 101) + "b", String(repeating: "n", count: 256),
        ])
    func outside(_ text: String) { #expect(SnapshotPath(text) == nil) }

    @Test(
        "Any other bytes are a path", arguments: ["a", "a/b", "...", "..a/b..", " ", "uploads/é"])
    func inside(_ text: String) { #expect(SnapshotPath(text)?.description == text) }

    @Test("Bytes that are no UTF-8 are kept")
    func bytes() { #expect(SnapshotPath([0xFF, 0x2F, 0x80])?.bytes == [0xFF, 0x2F, 0x80]) }
}
