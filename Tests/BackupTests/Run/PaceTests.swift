import Testing

@testable import Backup

@Suite("The pace of a run")
struct PaceTests {
    /// A run beside a server; it works whenever it may.
    struct Machine {
        var rule = PaceRule()
        var (own, programs, others, stanzas, clock) = (0.0, 0.0, 0.0, 0.0, 0.0)
        /// CPU time of the server in a second, and stanzas.
        var (load, rate): (Double, Double)
        var isProgram = false

        init(load: Double, rate: Double) { (self.load, self.rate) = (load, rate) }

        mutating func pass(_ time: Double) {
            clock += time
            others += time * load
            stanzas += time * rate
        }

        mutating func pause() -> Double {
            rule.pause(
                PaceRule.Sample(
                    own: own, programs: programs, process: own + others, stanzas: Int(stanzas),
                    clock: clock))
        }

        /// Goes on for some seconds; the share of a core that the run took.
        mutating func share(for seconds: Double = 5) -> Double {
            let (before, began) = (own + programs, clock)
            while clock < began + seconds {
                // A piece of work of half a millisecond.
                if isProgram { programs += 0.0005 } else { own += 0.0005 }
                pass(0.0005)
                while true {
                    let pause = pause()
                    if pause < 0.0001 { break }
                    pass(pause)
                }
            }
            return (own + programs - before) / (clock - began)
        }
    }

    @Test("At 500 messages a second it takes an eighth of what they cost", arguments: [0.15, 0.6])
    func busy(load: Double) {
        var machine = Machine(load: load, rate: 1000)
        _ = machine.share()
        let share = machine.share()
        #expect(share > 0.11 * load && share < 0.13 * load)
    }

    @Test("Next to nothing and nearly all are never its share of a core")
    func ends() {
        var quick = Machine(load: 0.01, rate: 1000)
        _ = quick.share()
        #expect(abs(quick.share() - 0.015) < 0.001)
        var slow = Machine(load: 3.5, rate: 1000)
        _ = slow.share()
        #expect(abs(slow.share() - 0.25) < 0.01)
    }

    @Test("With less to do there is more for a run, without a step", arguments: [150, 300, 600])
    func between(rate: Double) {
        var machine = Machine(load: rate * 0.00015, rate: rate)
        _ = machine.share()
        let share = machine.share()
        let least = 0.015 * 1_000_000 / (rate * rate)
        #expect(share > 0.9 * least && share < 1.1 * max(least, 0.12 * rate * 0.00015))
    }

    @Test("Where few chat nothing waits, whatever the process does", arguments: [0, 0.02, 0.9])
    func idle(load: Double) {
        var machine = Machine(load: load, rate: 20)
        #expect(machine.share() > 0.95)
    }

    @Test("A load that begins is heeded within a second, and so is its end")
    func change() {
        var machine = Machine(load: 0.01, rate: 0)
        _ = machine.share()
        (machine.load, machine.rate) = (0.15, 1000)
        _ = machine.share(for: 1)
        #expect(machine.share(for: 1) < 0.03)
        machine.rate = 0
        _ = machine.share(for: 1)
        #expect(machine.share(for: 1) > 0.95)
    }

    @Test("What a program of the run takes counts as the run's, and not as load")
    func programs() {
        var machine = Machine(load: 0.15, rate: 1000)
        machine.isProgram = true
        _ = machine.share()
        #expect(abs(machine.share() - 0.018) < 0.002)
    }
}
