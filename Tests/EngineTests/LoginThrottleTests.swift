// Failed logins slow down the next ones, by a clock that is passed in.

import Addresses
import NIOCore
import Options
import Testing

@testable import Engine

@Suite struct LoginThrottleTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
    private let juliet = BareJID(preparedLocal: "juliet", preparedDomain: "capulet.example")

    private func throttle(_ longest: Duration = .seconds(20)) -> LoginThrottle {
        LoginThrottle(longestDelay: Setting(longest))
    }

    @Test("The delay begins at a tenth of a second and doubles up to its limit")
    func doubles() {
        let throttle = throttle(.seconds(1))
        var now = start
        var delays: [Int64] = []
        for _ in 0..<6 {
            let delay = throttle.failed(address: "192.0.2.1", account: nil, now: now)
            delays.append(delay.nanoseconds / 1_000_000)
            now = now + delay
        }
        #expect(delays == [100, 200, 400, 800, 1000, 1000])
    }

    @Test("Answers to one address are given one after the other, so connections gain nothing")
    func queues() {
        let throttle = throttle()
        let first = throttle.failed(address: "192.0.2.1", account: nil, now: start)
        let second = throttle.failed(address: "192.0.2.1", account: nil, now: start)
        #expect(first == .milliseconds(100))
        #expect(second == .milliseconds(300))
        let other = throttle.failed(address: "192.0.2.2", account: nil, now: start)
        #expect(other == .milliseconds(100))
    }

    @Test("An account is slowed from whatever address, but never for long")
    func slowsAccount() {
        let throttle = throttle()
        var delay = TimeAmount.zero
        for number in 0..<20 {
            // Each from another address, and long after the answer to the one before.
            delay = throttle.failed(
                address: "192.0.2.\(number)", account: juliet, now: start + .minutes(Int64(number)))
        }
        #expect(delay == .seconds(5))
    }

    @Test("An address with too many failures under way is refused unseen")
    func blocks() {
        let throttle = throttle(.seconds(2))
        #expect(!throttle.isBlocked(address: "192.0.2.1", now: start))
        for _ in 0..<6 { _ = throttle.failed(address: "192.0.2.1", account: nil, now: start) }
        #expect(throttle.isBlocked(address: "192.0.2.1", now: start))
        #expect(!throttle.isBlocked(address: "192.0.2.2", now: start))
        #expect(!throttle.isBlocked(address: "192.0.2.1", now: start + .seconds(10)))
    }

    @Test("A success forgives the address and the account")
    func forgivesAfterSuccess() {
        let throttle = throttle()
        for _ in 0..<5 { _ = throttle.failed(address: "192.0.2.1", account: juliet, now: start) }
        throttle.succeeded(address: "192.0.2.1", account: juliet)
        let delay = throttle.failed(address: "192.0.2.1", account: juliet, now: start)
        #expect(delay == .milliseconds(100))
    }

    @Test("Ten quiet minutes forgive, too")
    func forgivesAfterQuiet() {
        let throttle = throttle()
        for _ in 0..<5 { _ = throttle.failed(address: "192.0.2.1", account: nil, now: start) }
        let later = start + .minutes(11)
        let delay = throttle.failed(address: "192.0.2.1", account: nil, now: later)
        #expect(delay == .milliseconds(100))
    }

    @Test("What is remembered stays bounded")
    func bounded() {
        let throttle = throttle()
        for number in 0..<10_000 {
            _ = throttle.failed(address: "\(number)", account: nil, now: start)
        }
        // The table is full: those that are done are dropped, and the newcomer is noted.
        let later = start + .minutes(2)
        _ = throttle.failed(address: "new", account: nil, now: later)
        let second = throttle.failed(address: "new", account: nil, now: later)
        #expect(second == .milliseconds(300))
        let forgotten = throttle.failed(address: "0", account: nil, now: later)
        #expect(forgotten == .milliseconds(100))
    }

    @Test("No delay at all can be configured")
    func noDelay() {
        let throttle = throttle(.zero)
        for _ in 0..<3 {
            #expect(throttle.failed(address: "192.0.2.1", account: juliet, now: start) == .zero)
        }
        #expect(!throttle.isBlocked(address: "192.0.2.1", now: start))
    }
}
