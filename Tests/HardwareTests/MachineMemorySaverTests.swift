// What the readings remember, through a real database.

import Glibc
import Prometheus
import Storage
import Testing

@testable import Hardware

@Suite("Machine memory in the database")
struct MachineMemorySaverTests {
    private let folder = ScratchTree()

    private func open() throws -> Database {
        try Database(
            file: "\(folder.path)/kinglet.db", steps: MachineMemoryStore.schema, durability: .full,
            registry: Registry())
    }

    @Test("Totals go on after a restart and after a boot, whatever their size")
    func overRestarts() throws {
        let first = MachineMemory(boot: "a")
        var database = try open()
        var saver = MachineMemorySaver(first)
        try saver.load(from: database)
        #expect(first.add(3, to: "events") == 3)
        #expect(first.total("written", kernelCounter: .max - 1) == UInt64.max - 1)
        first.setPosition("log", 7)
        try saver.finish()
        try database.close()

        let second = MachineMemory(boot: "a")
        database = try open()
        saver = MachineMemorySaver(second)
        try saver.load(from: database)
        #expect(second.add(1, to: "events") == 4)
        #expect(second.total("written", kernelCounter: .max) == UInt64.max)
        #expect(second.position("log") == 7)
        try saver.finish()
        try database.close()

        let third = MachineMemory(boot: "b")
        database = try open()
        saver = MachineMemorySaver(third)
        try saver.load(from: database)
        #expect(third.add(0, to: "events") == 4)
        #expect(third.position("log") == 0)
        try database.close()
    }

    @Test("An event is saved soon; what was saved once is not written again")
    func eventIsSaved() throws {
        let memory = MachineMemory(boot: "a")
        let database = try open()
        let saver = MachineMemorySaver(memory)
        saver.turn()
        try saver.load(from: database)
        _ = memory.total("written", kernelCounter: 5)
        saver.turn()
        // Behind whatever the turn has queued.
        var saved = try database.writeNow { try MachineMemoryStore.entries($0) }
        #expect(saved.isEmpty, "what always grows waits for its hour")
        memory.add(1, to: "events")
        saver.turn()
        saved = try database.writeNow { try MachineMemoryStore.entries($0) }
        #expect(saved.map(\.key).sorted() == ["events", "written"])
        #expect(memory.takeChanges().isEmpty)
        try database.close()
    }

    @Test("What could not be saved is saved later")
    func failure() throws {
        let memory = MachineMemory(boot: "a")
        let database = try Database(
            file: "\(folder.path)/other.db", steps: MachineMemoryStore.schema, durability: .full,
            registry: Registry())
        let saver = MachineMemorySaver(memory)
        try saver.load(from: database)
        try database.writeNow { try $0.execute("DROP TABLE machine_memory") }
        memory.add(1, to: "events")
        saver.turn()
        try database.writeNow { _ in }
        #expect(memory.takeChanges().map(\.key) == ["events"])
        try database.close()
    }
}
