import Foundation
import Glibc
import Testing

@testable import Backup

/// Every attempt has a folder of its own, and they must not fill the target.
@Suite("Attempts that end before they are snapshots")
struct FolderAttemptTests {
    let rig: FolderRig

    init() throws { rig = try FolderRig(.copy) }

    private var attempts: [Int] {
        rig.names.compactMap {
            $0.hasPrefix(".partial-") ? SnapshotID(String($0.dropFirst(9))) : nil
        }
        .map(\.sequence).sorted()
    }

    /// One that ends when its files are there.
    private func fail(_ sequence: Int) throws {
        rig.target.atStep = { (step) throws(BackupError) in
            if step == .extraSent || step == .listed { throw Fault.error() }
        }
        #expect(throws: BackupError.self) { try rig.back(up: sequence) }
        rig.target.atStep = { _ in }
    }

    @Test("The newest two are kept, whose files the next one shares")
    func newest() throws {
        for sequence in 1...5 {
            try fail(sequence)
            #expect(attempts == Array(max(1, sequence - 2)...sequence))
        }
        try rig.target.cleanUp(rig.context)
        #expect(attempts == [4, 5])
        #expect(try rig.back(up: 6).files == 0)
        #expect(attempts == [])
        #expect(try rig.verify(6).faults == [])
    }

    @Test("One that ended before anything was sent takes the place of none, and goes")
    func databaseOnly() throws {
        try rig.back(up: 1)
        try rig.scratch.write("data/uploads/new", "something new")
        try fail(2)
        for sequence in 3...8 {
            let place = try rig.target.placeForDatabase(of: FolderRig.id(sequence), rig.context)
            try Files.replace(try #require(place) + "/part", [1, 2, 3], mode: 0o600)
            #expect(attempts == [2, sequence])
        }
        try rig.target.cleanUp(rig.context)
        #expect(attempts == [2])
        #expect(try rig.back(up: 9).files == 0)
    }

    @Test("One that was damaged goes at once, and all go when nothing is to be shared")
    func damaged() throws {
        for sequence in 1...2 { try fail(sequence) }
        #expect(throws: BackupError.self) {
            try rig.back(up: 3) { (_) throws(BackupError) in
                throw BackupError(.damaged, subject: "test", "a bit was turned")
            }
        }
        #expect(attempts == [1, 2])
        var snapshot = try rig.prepare(FolderRig.id(4))
        snapshot.sharesNothing = true
        let (place, others) = (rig.place, Notes())
        rig.target.atStep = { (step) throws(BackupError) in
            guard step == .begun else { return }
            for name in try Files.names(in: place) {
                others.add(String(decoding: name, as: UTF8.self))
            }
        }
        _ = try rig.target.store(snapshot, rig.context) { (_) throws(BackupError) in }
        #expect(
            try others.all.filter { $0.hasPrefix(".partial") } == [".partial-\(FolderRig.id(4))"])
    }

    @Test("Another installation's stay, however many there are")
    func others() throws {
        for sequence in 1...4 {
            try Files.makeFolder("\(rig.place)/.partial-\(FolderRig.id(sequence))/uploads")
        }
        try rig.target.open(rig.context, forWriting: true)
        var marker = TargetMarker(instance: String(repeating: "2e", count: 16))
        let known = try #require(try rig.target.marker())
        marker.target = known.target
        marker.instances += known.instances
        try Files.replace("\(rig.place)/\(TargetMarker.name)", marker.bytes, mode: 0o600)
        try fail(5)
        try rig.target.cleanUp(rig.context)
        #expect(attempts == [1, 2, 3, 4, 5])
    }
}
