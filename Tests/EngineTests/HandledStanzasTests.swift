import Testing

@testable import Engine

/// The counter behind a reference: expectations cannot change a value.
private final class Counter {
    private var stanzas = HandledStanzas()
    func receive() -> UInt32 { stanzas.receive() }
    func didHandle() { stanzas.didHandle() }
    func hold(_ number: UInt32) -> Bool { stanzas.hold(number) }
    func release(_ number: UInt32) -> Bool { stanzas.release(number) }
    func request() -> UInt32 { stanzas.request() }
    var handled: UInt32 { stanzas.handled }
}

@Suite("What counts as handled (XEP-0198 section 4)")
struct HandledStanzasTests {
    /// A stanza that needs nothing.
    private func pass(_ stanzas: Counter) {
        _ = stanzas.receive()
        stanzas.didHandle()
    }

    private func hold(_ stanzas: Counter) -> UInt32 {
        let number = stanzas.receive()
        #expect(stanzas.hold(number))
        stanzas.didHandle()
        return number
    }

    @Test("The count begins at nothing")
    func beginning() {
        let stanzas = Counter()
        #expect(stanzas.request() == 0)
        pass(stanzas)
        #expect(stanzas.request() == 1)
    }

    @Test("A stanza that waits for the disk holds back those behind it, and one answer follows")
    func holding() {
        let stanzas = Counter()
        pass(stanzas)
        let second = hold(stanzas)
        pass(stanzas)
        let fourth = hold(stanzas)
        #expect(stanzas.request() == 1)
        pass(stanzas)
        #expect(!stanzas.release(second), "the fourth was asked about, too")
        #expect(stanzas.handled == 3)
        #expect(stanzas.release(fourth))
        #expect(stanzas.handled == 5)
        #expect(!stanzas.release(fourth), "once")
    }

    @Test("What comes after the question does not delay the answer that follows")
    func later() {
        let stanzas = Counter()
        let first = hold(stanzas)
        #expect(stanzas.request() == 0)
        let second = hold(stanzas)
        #expect(stanzas.release(first))
        #expect(stanzas.handled == 1)
        #expect(!stanzas.release(second), "nobody asked")
    }

    @Test("Commits that report in another order count when all before them do")
    func order() {
        let stanzas = Counter()
        let first = hold(stanzas)
        let second = hold(stanzas)
        #expect(stanzas.request() == 0)
        #expect(!stanzas.release(second))
        #expect(stanzas.handled == 0)
        #expect(stanzas.release(first))
        #expect(stanzas.handled == 2)
    }

    @Test("A stanza that has counted is not taken back, for h never falls")
    func tooLate() {
        let stanzas = Counter()
        let number = stanzas.receive()
        stanzas.didHandle()
        #expect(!stanzas.hold(number))
        #expect(stanzas.handled == 1)
    }

    @Test("While a stanza is being handled it does not count")
    func current() {
        let stanzas = Counter()
        _ = stanzas.receive()
        #expect(stanzas.handled == 0)
    }
}
