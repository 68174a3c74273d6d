// What is remembered across restarts and boots.

import Testing

@testable import Hardware

@Suite("Machine memory")
struct MachineMemoryTests {
    private func memory(_ boot: String, _ saved: [MachineMemory.Entry] = []) -> MachineMemory {
        let memory = MachineMemory(boot: boot)
        memory.load(saved)
        return memory
    }

    @Test("Nothing counts before it was loaded, so that no total starts again from 0")
    func notLoaded() {
        let memory = MachineMemory(boot: "a")
        #expect(memory.total("written", kernelCounter: 5) == nil)
        #expect(memory.add(1, to: "events") == nil)
        #expect(memory.position("log") == nil)
        memory.setPosition("log", 3)
        #expect(memory.takeChanges().isEmpty)
        memory.load([])
        #expect(memory.total("written", kernelCounter: 5) == 5)
        #expect(memory.add(1, to: "events") == 1)
        #expect(memory.position("log") == 0)
    }

    @Test("A kernel counter's total goes on over boots")
    func overBoots() {
        let first = memory("a")
        #expect(first.total("written", kernelCounter: 100) == 100)
        #expect(first.total("written", kernelCounter: 150) == 150)
        let second = memory("b", first.takeChanges())
        #expect(second.total("written", kernelCounter: 20) == 170)
        #expect(second.total("written", kernelCounter: 21) == 171)
    }

    @Test("A restart within a boot loses and doubles nothing, whatever was not saved")
    func withinABoot() {
        let first = memory("a")
        #expect(first.total("written", kernelCounter: 100) == 100)
        let saved = first.takeChanges()
        #expect(first.total("written", kernelCounter: 250) == 250)
        #expect(memory("a", saved).total("written", kernelCounter: 260) == 260)
    }

    @Test("A kernel counter that falls within a boot began again: another device of the same name")
    func beganAgain() {
        let memory = memory("a")
        #expect(memory.total("written", kernelCounter: 100) == 100)
        #expect(memory.total("written", kernelCounter: 7) == 107)
    }

    @Test("A boot whose name cannot be read doubles nothing, then or later")
    func unknownBoot() {
        let first = memory("a")
        #expect(first.total("written", kernelCounter: 100) == 100)
        let second = memory("", first.takeChanges())
        #expect(second.total("written", kernelCounter: 120) == 120)
        #expect(second.position("written") == 120)
        let third = memory("a", second.takeChanges())
        #expect(third.total("written", kernelCounter: 130) == 130)
    }

    @Test("A place is known in its own boot only; a total in all")
    func positions() {
        let first = memory("a")
        first.setPosition("log", 42)
        first.add(3, to: "log")
        let saved = first.takeChanges()
        #expect(memory("a", saved).position("log") == 42)
        let second = memory("b", saved)
        #expect(second.position("log") == 0)
        #expect(second.add(0, to: "log") == 3)
        #expect(second.position("log") == 0, "a total that goes on brings no place of another boot")
    }

    @Test("Only what changed is to be saved; events are urgent, numbers that always grow are not")
    func changes() {
        let memory = memory("a")
        _ = memory.total("written", kernelCounter: 5)
        #expect(!memory.isUrgent)
        memory.add(0, to: "events")
        #expect(!memory.isUrgent)
        memory.add(1, to: "events")
        #expect(memory.isUrgent)
        #expect(memory.takeChanges().map(\.key) == ["events", "written"])
        #expect(!memory.isUrgent)
        #expect(memory.takeChanges().isEmpty)
        _ = memory.total("written", kernelCounter: 5)
        #expect(memory.takeChanges().isEmpty)
        memory.putBack([MachineMemory.Entry(key: "written", total: 0, position: 0, boot: "a")])
        #expect(memory.takeChanges().map(\.total) == [5])
    }

    @Test("Media that come and go are not remembered without end, and huge numbers do not trap")
    func limits() {
        let memory = memory("a")
        for number in 0..<MachineMemory.entryLimit {
            #expect(memory.add(1, to: "key \(number)") == 1)
        }
        #expect(memory.add(1, to: "one more") == nil)
        #expect(memory.total("key 0", kernelCounter: .max) != nil)
        #expect(memory.total("key 0", kernelCounter: 0) != nil)
        #expect(memory.total("key 0", kernelCounter: .max) != nil)
    }
}

@Suite("Saving what is remembered")
struct SavingRhythmTests {
    private let start = ContinuousClock.now

    @Test("Once an hour")
    func hourly() {
        var rhythm = SavingRhythm(start: start)
        let isDue1 = rhythm.isDue(at: start + .seconds(3599), isUrgent: false)
        #expect(!isDue1)
        let isDue2 = rhythm.isDue(at: start + .seconds(3600), isUrgent: false)
        #expect(isDue2)
        let isDue3 = rhythm.isDue(at: start + .seconds(7199), isUrgent: false)
        #expect(!isDue3)
        let isDue4 = rhythm.isDue(at: start + .seconds(7200), isUrgent: false)
        #expect(isDue4)
    }

    @Test("Events at once, but no more than 40 times a day, whatever happens")
    func urgent() {
        var rhythm = SavingRhythm(start: start)
        let isDue5 = rhythm.isDue(at: start, isUrgent: true)
        #expect(isDue5)
        var saves = 0
        for second in stride(from: 0, to: 10 * 86_400, by: 2)
        where rhythm.isDue(at: start + .seconds(second), isUrgent: true) {
            saves += 1
        }
        #expect(saves <= 400)
        #expect(saves >= 240, "hourly at the least")
    }

    @Test("A save that failed is tried again after a minute, whatever else is due")
    func afterFailure() {
        var rhythm = SavingRhythm(start: start)
        _ = rhythm.isDue(at: start, isUrgent: true)
        rhythm.failed(at: start)
        let isDue1 = rhythm.isDue(at: start + .seconds(59), isUrgent: true)
        #expect(!isDue1, "a full disk is not asked at each turn")
        let isDue2 = rhythm.isDue(at: start + .seconds(60), isUrgent: false)
        #expect(isDue2)
        let isDue3 = rhythm.isDue(at: start + .seconds(61), isUrgent: false)
        #expect(!isDue3, "it went well")
    }
}
