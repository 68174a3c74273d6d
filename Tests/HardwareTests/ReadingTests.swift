// Each reading by itself: its sources, their order, and what is absent or broken.

import Prometheus
import Testing

@testable import Hardware

/// A scratch tree that passes for a Raspberry Pi.
private func piTree() -> ScratchTree {
    let tree = ScratchTree()
    tree.write("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    return tree
}

/// What a reading sampled, and why it failed if it did.
private func read(
    _ reading: some Reading, _ tree: ScratchTree, _ mailbox: any FirmwareMailbox = ScriptedMailbox()
) -> (samples: [Sample], failure: ReadingError?) {
    var samples: [Sample] = []
    do throws(ReadingError) {
        try reading.read(Machine(roots: tree.roots, mailbox: mailbox), into: &samples)
        return (samples, nil)
    } catch {
        return (samples, error)
    }
}

private let denied = ReadingError(systemError: 13, subject: "/dev/vcio_gencmd")

@Suite("All readings")
struct AllReadingsTests {
    @Test("Names of readings and families are unique")
    func unique() {
        let names = allReadings().map { type(of: $0).name }
        #expect(Set(names).count == names.count)
        let families = allReadings().flatMap { type(of: $0).families.map(\.name) }
        #expect(Set(families).count == families.count)
    }

    @Test(
        "Every sample belongs to a declared family, and no PC has one of a Pi",
        arguments: RecordedTree.allCases)
    func declared(_ tree: RecordedTree) throws {
        for reading in allReadings() {
            var samples: [Sample] = []
            try reading.read(Machine(roots: tree.roots), into: &samples)
            let declared = Set(type(of: reading).families.map(\.name))
            #expect(samples.allSatisfy { declared.contains($0.name) })
            #expect(tree != .pc || samples.allSatisfy { !$0.name.hasPrefix("rpi_") })
