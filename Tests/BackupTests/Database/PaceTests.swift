import Testing

@testable import Backup

@Suite("The pace of a run")
struct PaceTests {
    /// Runs for some seconds beside others that take a share of a core, and says which share the
    /// run took in the last half of that time.
    func share(beside load: Double, for seconds: Double = 10) -> Double {
        var rule = PaceRule()
        var (own, others, clock) = (0.0, 0.0, 0.0)
        var ownAtHalf: Double?
        while clock < seconds {
            // A piece of work of half a millisecond.
            own += 0.0005
            clock += 0.0005
            others += 0.0005 * load
            while true {
                let pause = rule.pause(own: own, process: own + others, clock: clock)
                if pause < 0.0001 { break }
                clock += pause
                others += pause * load
            }
            if clock >= seconds / 2, ownAtHalf == nil { ownAtHalf = own }
        }
        return (own - (ownAtHalf ?? 0)) / (clock / 2)
    }

    @Test("Beside 500 messages a second, which take 35 ms of each, a run takes at most 12 ms")
    func busy() {
        let share = share(beside: 0.035)
        #expect(share > 0.008 && share < 0.012)
    }

    @Test("A run takes half of a core that nobody needs, and little of a very busy one")
    func ends() {
        #expect(abs(share(beside: 0.0) - 0.5) < 0.03)
        #expect(share(beside: 1) < 0.055)
    }

    @Test("A load that begins is heeded within a second")
    func change() {
        var rule = PaceRule()
        var (own, others, clock) = (0.0, 0.0, 0.0)
        for _ in 0..<200 {
            own += 0.005
            clock += 0.01
            _ = rule.pause(own: own, process: own + others, clock: clock)
        }
        #expect(rule.share == rule.idleShare)
        for _ in 0..<10 {
            clock += 0.1
            others += 0.0035
            _ = rule.pause(own: own, process: own + others, clock: clock)
        }
        #expect(rule.share < 0.012)
    }

    @Test("What a program of the run takes counts as the run's, and not as load")
    func programs() {
        var rule = PaceRule()
        var (programs, others, clock) = (0.0, 0.0, 0.0)
        while clock < 10 {
            programs += 0.0005
            clock += 0.0005
            others += 0.0005 * 0.035
            while true {
                let pause = rule.pause(
                    own: 0, programs: programs, process: others, clock: clock)
                if pause < 0.0001 { break }
                clock += pause
                others += pause * 0.035
            }
        }
        #expect(programs / clock < 0.013)
    }

    @Test("Without a limit on an idle machine nothing waits")
    func unlimited() {
        var rule = PaceRule()
        rule.idleShare = 1
        var (own, clock, waited) = (0.0, 0.0, 0.0)
        for _ in 0..<2000 {
            own += 0.01
            clock += 0.01
            let pause = rule.pause(own: own, process: own, clock: clock)
            clock += pause
            waited += pause
        }
        #expect(waited < 1)
    }
}
