// A client takes its session to a new stream (XEP-0198 section 5), which may be on another event
// loop. The state is taken from the old loop, together with everything that was posted there; what
// is posted meanwhile waits and follows. So nothing overtakes anything.
//
// What the client sent on its old stream and waits for the disk comes first: the client sends again
// what `<resumed/>` does not cover, and would be stored twice.

internal import NIOCore
internal import Synchronization
internal import XMPP

extension Session {
    /// What became of an attempt.
    enum Resumption: Sendable {
        /// On the new loop, before anything else reaches the state.
        case resumed(NIOLoopBound<SessionState>)
        case notFound
        /// The client says that it got more than it was sent.
        case tooHigh(sent: UInt32)
    }

    /// Moves the session to a loop; `then` is called there. Any thread.
    ///
    /// - Parameter handled: the last number that the client handled.
    func resume(
        handled: UInt32, on destination: Loop, then: @escaping @Sendable (Resumption) -> Void
    ) {
        let present: Loop? = place.withLock { place in
            switch place {
            case .at(let loop, _): return loop
            case .moving(let events):
                // Somebody else is resuming it; this one comes after.
                let again = Event.run { _ in
                    self.resume(handled: handled, on: destination, then: then)
                }
                place = .moving(events + [again])
                return nil
            case .ended:
                destination.eventLoop.execute { then(.notFound) }
                return nil
            }
        }
        guard let here = present else { return }
        // In a turn of its own, so that the loop is not in the middle of its mailbox.
        here.eventLoop.execute {
            self.leave(here, handled, for: destination, then)
        }
    }

    private func leave(
        _ loop: Loop, _ handled: UInt32, for destination: Loop,
        _ then: @escaping @Sendable (Resumption) -> Void
    ) {
        switch place.withLock({ $0 }) {
        case .at(let present, _) where present === loop: break
        // Somebody else has resumed it, or is about to; this one comes after.
        case .at, .moving: return resume(handled: handled, on: destination, then: then)
        case .ended: break
        }
        var refusal: Resumption? = .notFound
        let contents = loop.depart(self) { state in
            guard state.isResumable else { return false }
            if case .tooHigh(let sent) = state.acknowledge(handled) {
                refusal = .tooHigh(sent: sent)
                return false
            }
            state.stream?.giveUpSession()
            guard state.inbound.openCount > 0 else { return true }
            refusal = nil
            if !self.isHibernating { state.hibernate() }
            state.whenHandled { self.resume(handled: handled, on: destination, then: then) }
            return false
        }
        destination.eventLoop.execute { [refusal] in
            if let contents {
                self.arrive(contents, destination, then)
            } else if let refusal {
                then(refusal)
            }
        }
    }

    private func arrive(
        _ contents: SessionState.Contents, _ loop: Loop,
        _ then: @escaping @Sendable (Resumption) -> Void
    ) {
        let state = NIOLoopBound(
            SessionState(self, contents, host: host, loop: loop), eventLoop: loop.eventLoop)
        let events: [Event] = place.withLock { place in
            defer { place = .at(loop, state) }
            guard case .moving(let events) = place else { return [] }
            return events
        }
        then(.resumed(state))
        for event in events { state.value.handle(event) }
    }
}
