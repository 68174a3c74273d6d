// How much may wait for another domain. While it takes stanzas, those who send more than that are
// read more slowly, and nothing is refused; what waits for a domain that is away is limited.

internal import Options
internal import Synchronization

extension ServerRoute.State {
    /// An attempt that may succeed is under way, or stanzas flow.
    private var mayFlow: Bool {
        switch phase {
        case .open: true
        case .connecting: failures == 0
        case .idle, .pausing: false
        }
    }

    /// Whether one more stanza of this size may wait. What was written and not acknowledged is
    /// limited by its bytes alone: it is as much as was on its way to the disk when the senders
    /// were slowed down.
    func hasRoom(for bytes: Int, _ options: FederationOptions) -> Bool {
        var waiting = queue.count
        if case .open = phase { waiting -= queue.writtenCount }
        return waiting < options.queueStanzas.value
            && queue.bytes + bytes <= options.queueBytes.value
    }

    /// So much waits that senders are slowed down.
    func isCrowded(_ options: FederationOptions) -> Bool {
        mayFlow
            && (queue.count > options.queueStanzas.value / 2
                || queue.bytes > options.queueBytes.value / 2)
    }

    /// Who may be read again, now that less waits.
    mutating func takePaused(_ options: FederationOptions) -> [Session] {
        guard !paused.isEmpty, queue.count <= options.queueStanzas.value / 4,
            queue.bytes <= options.queueBytes.value / 4
        else { return [] }
        defer { paused = [:] }
        return Array(paused.values)
    }
}

extension ServerRoute {
    /// Whether one more stanza may wait. Where much does, its sender is read more slowly from here
    /// on; a component is not, whose one stream bears what all its users say to all domains. On the
    /// sender's loop.
    func hasRoom(for sender: Session?) -> Bool {
        let options = federation.options
        let (hasRoom, isCrowded) = state.withLock { state in
            let isCrowded = sender != nil && state.isCrowded(options)
            if let sender, isCrowded { state.paused[sender.number] = sender }
            return (state.hasRoom(for: 0, options), isCrowded)
        }
        if isCrowded { sender?.waitForRoom() }
        return hasRoom
    }
}
