// Failed logins slow down the next ones, by a clock that is passed in.

import Addresses
import NIOCore
import Options
import Testing

@testable import Engine

@Suite("Failed logins slow down the next ones") struct LoginThrottleTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
    private let juliet = BareJID(preparedLocal: "juliet", preparedDomain: "capulet.example")
    private let romeo = BareJID(preparedLocal: "romeo", preparedDomain: "capulet.example")

    private func throttle(_ longest: Duration = .seconds(20)) -> LoginThrottle {
        LoginThrottle(longestDelay: Setting(longest))
    }

    /// The wait in milliseconds, nil for a refusal.
    private func wait(
        _ throttle: LoginThrottle, _ network: String, _ account: BareJID, _ now: NIODeadline
    ) -> Int64? {
        guard case .after(let delay) = throttle.turn(network: network, account: account, now: now)
        else { return nil }
        return delay.nanoseconds / 1_000_000
    }

    @Test("The wait begins at a tenth of a second and doubles up to its limit")
    func doubles() {
        let throttle = throttle(.seconds(1))
        var now = start
        var waits: [Int64] = []
        for _ in 0..<7 {
            let wait = wait(throttle, "192.0.2.1", juliet, now) ?? -1
            waits.append(wait)
            now = now + .milliseconds(wait)
            throttle.failed(network: "192.0.2.1", account: juliet, now: now)
        }
        #expect(waits == [0, 100, 200, 400, 800, 1000, 1000])
    }

    @Test("A right password waits as long as a wrong one, so hanging up early gains nothing")
    func waitsBeforeTheCheck() {
        let throttle = throttle()
        for _ in 0..<5 { throttle.failed(network: "192.0.2.1", account: juliet, now: start) }
        #expect(wait(throttle, "192.0.2.1", juliet, start) == 1600)
    }

    @Test("Turns come one after the other, and too many are refused without a trace")
    func queues() {
        let throttle = throttle(.seconds(4))
        for _ in 0..<10 { throttle.failed(network: "192.0.2.1", account: juliet, now: start) }
        #expect(wait(throttle, "192.0.2.1", juliet, start) == 4000)
        for _ in 0..<100 { #expect(wait(throttle, "192.0.2.1", juliet, start) == nil) }
        #expect(wait(throttle, "192.0.2.1", juliet, start + .seconds(4)) == 4000)
    }

    @Test("Somebody else behind the same address waits a tenth of that")
    func sharesAddress() {
        let throttle = throttle()
        for _ in 0..<30 { throttle.failed(network: "192.0.2.1", account: juliet, now: start) }
        #expect(wait(throttle, "192.0.2.1", romeo, start) == 2000)
        #expect(wait(throttle, "192.0.2.1", romeo, start + .seconds(2)) == 2000)
        #expect(wait(throttle, "192.0.2.9", romeo, start) == 0)
    }

    @Test("Guesses at many accounts from one address slow down, too")
    func slowsAddress() {
        let throttle = throttle()
        for number in 0..<8 {
            let account = BareJID(preparedLocal: "user\(number)", preparedDomain: "capulet.example")
            throttle.failed(network: "192.0.2.1", account: account, now: start)
        }
        #expect(wait(throttle, "192.0.2.1", juliet, start) == 2000)
    }

    @Test("Guesses at one account from many addresses slow down, but its owner not for long")
    func slowsAccount() {
        let throttle = throttle()
        for number in 0..<40 {
            throttle.failed(network: "192.0.2.\(number)", account: juliet, now: start)
        }
        #expect(wait(throttle, "198.51.100.1", juliet, start) == 5000)
    }

    @Test("A success forgives this account here, and opens no way to guess at others'")
    func forgivesAfterSuccess() {
        let throttle = throttle()
        for _ in 0..<12 { throttle.failed(network: "192.0.2.1", account: juliet, now: start) }
        throttle.succeeded(network: "192.0.2.1", account: romeo)
        #expect(wait(throttle, "192.0.2.1", juliet, start) == 20_000)
    }

    @Test("The household of who mistyped comes back to speed with its next logins")
    func forgivesNetwork() {
        let throttle = throttle()
        for _ in 0..<12 { throttle.failed(network: "192.0.2.1", account: juliet, now: start) }
        var now = start
        var waits: [Int64] = []
        for _ in 0..<5 {
            let wait = wait(throttle, "192.0.2.1", romeo, now) ?? -1
            waits.append(wait)
            now = now + .milliseconds(wait)
            throttle.succeeded(network: "192.0.2.1", account: romeo)
        }
        #expect(waits == [2000, 2000, 800, 100, 0])
    }

    @Test("Ten quiet minutes forgive, too")
    func forgivesAfterQuiet() {
        let throttle = throttle()
        for _ in 0..<9 { throttle.failed(network: "192.0.2.1", account: juliet, now: start) }
        let later = start + .minutes(11)
        #expect(wait(throttle, "192.0.2.1", juliet, later) == 0)
        throttle.failed(network: "192.0.2.1", account: juliet, now: later)
        #expect(wait(throttle, "192.0.2.1", juliet, later) == 100)
    }

    @Test("However many accounts are tried, only so many are remembered")
    func bounded() {
        let throttle = throttle()
        for number in 0..<12_000 {
            let account = BareJID(preparedLocal: "user\(number)", preparedDomain: "capulet.example")
            throttle.failed(network: "192.0.2.1", account: account, now: start)
        }
        // The address is still known: it was the last to be noted.
        #expect(wait(throttle, "192.0.2.1", juliet, start) == 2000)
    }
}
